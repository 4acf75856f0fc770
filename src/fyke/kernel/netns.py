"""Network namespaces: names, inodes, and the devices in them. See network_namespaces(7), ip-netns(8)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

NAMES = Path("/run/netns")
_OWN = "/proc/thread-self/ns/net"
_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703  # include/uapi/linux/nsfs.h
_libc = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


def names(directory: Path = NAMES) -> list[str]:
    """Return the names that `ip netns` knows, sorted."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def inode_of(path: str) -> int | None:
    """Return the inode by which the kernel knows a namespace; None for a file of another kind. OSError."""
    # What isn't a namespace must not be waited for (a FIFO) nor come to know of us (a device).
    if os.stat(path).st_dev != os.stat(_OWN).st_dev:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            return None
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def own_inode() -> int:
    """Return the inode of the namespace this thread is in."""
    return os.stat(_OWN).st_ino


def devices(inode: int | None) -> dict[str, int]:
    """Return name -> index of the devices in a namespace (None: ours).

    LookupError when no process is in it and no file is mounted for it; OSError when it can't be entered.
    """
    if inode is None or inode == own_inode():
        return {name: index for index, name in socket.if_nameindex()}
    return inside(inode, lambda: {name: index for index, name in socket.if_nameindex()})


def inside(inode: int, work: Callable[[], Result]) -> Result:
    """Return what `work` does in a thread that is in a namespace; what it raises is raised here.

    LookupError when no process is in it and no file is mounted for it; OSError when it can't be entered.
    """
    descriptor = open_namespace(inode)
    found: list[Result] = []
    failed: list[BaseException] = []

    def begin() -> None:
        # Only this thread changes its namespace, and it ends here.
        try:
            enter(descriptor)
            found.append(work())
        except BaseException as error:
            failed.append(error)

    try:
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
    finally:
        os.close(descriptor)
    if failed:
        raise failed[0]
    return found[0]


def enter(descriptor: int) -> None:
    """Move the calling thread into a namespace. Raises OSError."""
    if _libc.setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def open_namespace(inode: int) -> int:
    """Open a namespace by its inode: a descriptor, which keeps it alive. LookupError when it isn't found."""
    for path in _places(inode):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
        if os.fstat(descriptor).st_ino == inode:
            return descriptor
        os.close(descriptor)
    raise LookupError(inode)


def _places(inode: int) -> Iterator[str]:
    """Yield files that are a namespace: ours, mounted ones, then those of processes."""
    if inode == own_inode():
        yield _OWN
    name = f"net:[{inode}]"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        # 4026532 ... ROOT MOUNTPOINT ..., with \040 for a blank (proc_pid_mountinfo(5))
        words = line.split(" ")
        if len(words) > 4 and words[3] == name:
            yield re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[4])
    for process in os.listdir("/proc"):
        if process.isdigit():
            path = f"/proc/{process}/ns/net"
            try:
                if os.readlink(path) == name:
                    yield path
            except OSError:
                continue
