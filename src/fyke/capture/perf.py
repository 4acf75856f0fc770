"""Kprobes and uprobes one at a time, as perf events (perf_event_open(2)); works without tracefs."""

from __future__ import annotations

import ctypes as ct
import fcntl
import os
import struct
from pathlib import Path

from fyke.kernel import syscall_bpf
from fyke.kernel.syscalls import number_of, syscall

_DEVICES = Path("/sys/bus/event_source/devices")
_ATTR_BYTES = 112  # PERF_ATTR_SIZE_VER5
_FD_CLOEXEC = 8
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408


def open_kprobe(function: str, cpu: int, *, returns: bool = False) -> int:
    """Open a perf event at a function's entry, or its return. Raises OSError.

    Programs run at it on all CPUs, but one that is online must be named.
    """
    return _open("kprobe", int(returns), function.encode(), 0, -1, cpu)


def open_uprobe(file: str, offset: int, semaphore: int, cpu: int, pid: int | None = None) -> int:
    """Open a perf event at an offset in a file, in all processes or in that of one thread. Raises OSError.

    semaphore: offset of a counter in the file, which the kernel raises in memory while the event is open.
    """
    # Linux kernel commit a6ca88b241d5 ("trace_uprobe: support reference counter in fd-based uprobe")
    # (in v4.20).
    config = semaphore << 32
    return _open("uprobe", config, os.fsencode(file), offset, -1 if pid is None else pid, cpu)


def _open(pmu: str, config: int, name: bytes, offset: int, pid: int, cpu: int) -> int:
    text = ct.create_string_buffer(name)
    # struct perf_event_attr: type, size, config (bit 0: the return), sample_period, sample_type,
    # read_format, flags, wakeup_events, bp_type, config1 (kprobe_func, uprobe_path), config2 (probe_offset)
    kind = int((_DEVICES / pmu / "type").read_text())
    attr = struct.pack(
        "=IIQQQQQIIQQ", kind, _ATTR_BYTES, config, 1, 0, 0, 0, 0, 0, ct.addressof(text), offset
    ).ljust(_ATTR_BYTES, b"\0")
    return syscall(number_of("perf_event_open"), attr, pid, cpu, -1, _FD_CLOEXEC)


def attach(event_fd: int, program_fd: int, cookie: int | None) -> int | None:
    """Run a program at a perf event: with a cookie over a link, which is returned, else by ioctl."""
    if cookie is not None:
        return syscall_bpf.link_create_perf(program_fd, event_fd, cookie)
    fcntl.ioctl(event_fd, _IOC_SET_BPF, program_fd)
    fcntl.ioctl(event_fd, _IOC_ENABLE, 0)
    return None
