"""System calls that Python has no function for, through libc's syscall(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

# bpf, perf_event_open: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Calls
# since Linux 5.1 have one number everywhere.
_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}

_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call a system call; integers are passed as 64 bits. Raises OSError with its errno."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def number_of(name: str) -> int:
    """Return the number of `bpf` or `perf_event_open` on this machine; OSError(ENOSYS) when unknown."""
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, f"fyke does not know {platform.machine()} machines")
    return numbers[("bpf", "perf_event_open").index(name)]


def mount(source: str, target: str, filesystem: str) -> None:
    """Mount a filesystem that needs no options (mount(2)). Raises OSError."""
    if _libc.mount(source.encode(), target.encode(), filesystem.encode(), 0, None) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)
