"""Files of tracefs, debugfs and securityfs, whether or not anybody has mounted them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from fyke.kernel.syscalls import syscall

TRACEFS = Path("/sys/kernel/tracing")
DEBUGFS = Path("/sys/kernel/debug")
PLACES = {
    "tracefs": (TRACEFS, DEBUGFS / "tracing"),
    "debugfs": (DEBUGFS,),
    "securityfs": (Path("/sys/kernel/security"),),
}
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432


def read_file(filesystem: str, name: str) -> bytes:
    """Read a file where the filesystem is mounted, else through a mount of our own. Raises OSError."""
    for directory in PLACES[filesystem]:
        with contextlib.suppress(FileNotFoundError):
            return (directory / name).read_bytes()
    root = open_detached(filesystem)
    try:
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=root), "rb") as file:
            return file.read()
    finally:
        os.close(root)


def open_detached(filesystem: str) -> int:
    """Open the root of a filesystem that need not be mounted; returns a directory descriptor.

    The mount belongs to the descriptor and is in no mount table, so that it is gone when the descriptor is,
    whatever happens to the process (fsopen(2), fsmount(2), Linux 5.2). Raises OSError.
    """
    create, cloexec = 6, 1  # FSCONFIG_CMD_CREATE, FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
    context = syscall(_FSOPEN, filesystem.encode(), cloexec)
    try:
        syscall(_FSCONFIG, context, create, None, None, 0)
        root = syscall(_FSMOUNT, context, cloexec, 0)
    finally:
        os.close(context)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    finally:
        os.close(root)
