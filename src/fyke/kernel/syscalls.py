"""System calls that Python has no function for, through libc's syscall(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

# bpf, perf_event_open: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Calls
# since Linux 5.1 have one number everywhere.
_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432

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


def open_detached(filesystem: str) -> int:
    """Open the root of a filesystem that nobody mounted; returns a directory descriptor.

    The mount belongs to the descriptor and is in no mount table, so that it is gone when the descriptor is,
    whatever happens to the process (fsopen(2), fsmount(2), Linux 5.2). Raises OSError.
    """
    created_cmd, cloexec = 6, 1  # FSCONFIG_CMD_CREATE, FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
    context = syscall(FSOPEN, filesystem.encode(), cloexec)
    try:
        syscall(FSCONFIG, context, created_cmd, None, None, 0)
        root = syscall(FSMOUNT, context, cloexec, 0)
    finally:
        os.close(context)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    finally:
        os.close(root)
