"""Kprobes one at a time, as perf events (perf_event_open(2)); works without tracefs."""

from __future__ import annotations

import ctypes as ct
import fcntl
import struct
from pathlib import Path

from fyke.kernel import syscall_bpf
from fyke.kernel.syscalls import number_of, syscall

_PMU_TYPE = Path("/sys/bus/event_source/devices/kprobe/type")
_ATTR_BYTES = 112  # PERF_ATTR_SIZE_VER5
_FD_CLOEXEC = 8
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408


def open_kprobe(function: str, cpu: int, *, returns: bool = False) -> int:
    """Open a perf event at a function's entry, or its return. Raises OSError.

    Programs run at it on all CPUs, but one that is online must be named.
    """
    name = ct.create_string_buffer(function.encode())
    # struct perf_event_attr: type, size, config (bit 0: the return), sample_period, sample_type,
    # read_format, flags, wakeup_events, bp_type, config1 (kprobe_func), config2 (probe_offset)
    attr = struct.pack(
        "=IIQQQQQIIQQ",
        int(_PMU_TYPE.read_text()),
        _ATTR_BYTES,
        int(returns),
        1,
        0,
        0,
        0,
        0,
        0,
        ct.addressof(name),
        0,
    ).ljust(_ATTR_BYTES, b"\0")
    return syscall(number_of("perf_event_open"), attr, -1, cpu, -1, _FD_CLOEXEC)


def attach(event_fd: int, program_fd: int, cookie: int | None) -> int | None:
    """Run a program at a perf event: with a cookie over a link, which is returned, else by ioctl."""
    if cookie is not None:
        return syscall_bpf.link_create_perf(program_fd, event_fd, cookie)
    fcntl.ioctl(event_fd, _IOC_SET_BPF, program_fd)
    fcntl.ioctl(event_fd, _IOC_ENABLE, 0)
    return None
