"""Network namespaces: made, entered by one thread, and removed."""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Netns", "ip", "unique_names"]

_CLONE_NEWNET = 0x40000000
made_here: set[str] = set()
"""Names that were given out, to tell our namespaces from those of others on the machine."""
_libc = ctypes.CDLL(None, use_errno=True)


class Netns:
    """A named network namespace. What is started or opened while it is entered belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns") / name

    @property
    def inode(self) -> int:
        """The number by which the kernel and `ls -L /proc/PID/ns/net` know it."""
        return self.path.stat().st_ino

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the namespace; processes it starts there begin there."""
        with open("/proc/thread-self/ns/net") as home, self.path.open() as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket of this namespace, wherever it is used from. To be closed by the caller."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def run(self, *command: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it and return what it printed. CalledProcessError has its stderr in notes."""
        with self.entered():
            return _run(command, stdin, check=check)

    def popen(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in it, with pipes for stdout and stderr."""
        with self.entered():
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )

    def ip(self, *lines: str) -> None:
        """Run lines of `ip`'s language (`addr add ... dev ...`) in it, in one process."""
        ip(lines, netns=self.name)

    def sysctl(self, values: dict[str, int]) -> None:
        """Set `net.` sysctls (`ipv4.ip_forward`) of the namespace."""
        with self.entered():
            for name, value in values.items():
                Path("/proc/sys/net", *name.split(".")).write_text(str(value))

    def ifindex(self, device: str) -> int:
        """Return the index of a device. OSError when there is none of that name."""
        with self.entered():
            return socket.if_nametoindex(device)


def ip(lines: Iterable[str], netns: str | None = None) -> None:
    """Run lines of `ip`'s language in one process: emulated, a process costs a tenth of a second."""
    _run(("ip", *(("-netns", netns) if netns else ()), "-batch", "-"), "\n".join(lines), check=True)


def unique_names(*letters: str) -> list[str]:
    """Return `fyke-XXXX-a` for `a`: no namespace of another test, run or checkout has these names.

    With up to five letters they are also short enough for devices (15 characters).
    """
    while True:
        run = f"fyke-{secrets.token_hex(2)}"
        names = [f"{run}-{letter}" for letter in letters]
        if not any((Path("/run/netns") / name).exists() for name in names):
            made_here.update(names)
            return names


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


def _run(command: tuple[str, ...], stdin: str, *, check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(done.stderr.strip())
        raise error
    return done
