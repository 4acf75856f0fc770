"""Two network namespaces on one wire, made for a measurement and gone with it, and what floods them."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PORT = 9
A4, B4 = "10.99.0.1", "10.99.0.2"
_CLONE_NEWNET = 0x40000000
_HERE = Path(__file__).parent


def run(*command: str) -> str:
    """Run a command for at most two minutes and return what it printed. Raises RuntimeError."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Sent:
    """What the flood sent. cpu_seconds: of all senders; hardly more on a busy machine, unlike `seconds`."""

    packets: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Wire:
    """Namespaces a (10.99.0.1) and b (10.99.0.2); flood: the program that sends."""

    a: str
    b: str
    flood: str

    def flood_command(self, packets: int, *, size: int = 100, flows: int = 16, rate: float = 0) -> list[str]:
        """Return the command that floods b from a with datagrams; rate in packets per second, 0: no limit."""
        words = (self.flood, B4, PORT, packets, size, flows, rate)
        return ["ip", "netns", "exec", self.a, *map(str, words)]

    def send(self, packets: int, *, size: int = 100, rate: float = 0, senders: int = 1) -> Sent:
        """Flood by so many processes at once, and wait until it is over."""
        command = self.flood_command(packets // senders, size=size, rate=rate / senders)
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(senders)]
        try:
            said = [process.communicate(timeout=120)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if any(process.returncode for process in processes):
            raise RuntimeError("the flood failed")
        counts, seconds, cpu = zip(*(text.split() for text in said), strict=True)
        return Sent(sum(map(int, counts)), max(map(float, seconds)), sum(map(float, cpu)))


@contextmanager
def conntrack(space: str) -> Iterator[None]:
    """Have the kernel track connections of what a namespace sends: one rule of nftables asks for it."""
    nft = ("ip", "netns", "exec", space, "nft")
    run(*nft, "table ip bench { chain c { type filter hook output priority 0; ct state new accept; }; }")
    try:
        yield
    finally:
        run(*nft, "delete table ip bench")


@contextmanager
def wire() -> Iterator[Wire]:
    """Make a Wire. Datagrams to b go to a socket that nobody reads: the kernel drops what is too much."""
    with ExitStack() as stack:
        flood = stack.enter_context(compiled("flood"))
        a, b = (stack.enter_context(_namespace(side)) for side in "ab")
        run(*("ip", "link", "add", "va", "netns", a, "type", "veth", "peer", "name", "vb", "netns", b))
        for space, device, address in ((a, "va", A4), (b, "vb", B4)):
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", space, "link", "set", device, "up")
        # They know each other, so that no ARP comes between.
        for space, device, other, other_device, address in ((a, "va", b, "vb", B4), (b, "vb", a, "va", A4)):
            mac = _link(other, other_device)["address"]
            neighbour = (address, "lladdr", mac, "dev", device, "nud", "permanent")
            run("ip", "-n", space, "neigh", "replace", *neighbour)
        stack.enter_context(inside(b, _unread_socket))
        yield Wire(a, b, flood)


def inside(namespace: str, function: Callable[[], T]) -> T:
    """Call a function in a thread that is in a namespace: the sockets it opens belong there."""
    results: list[T] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(fd, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(fd)
            results.append(function())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _unread_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((B4, PORT))
    return sock


@contextmanager
def _namespace(side: str) -> Iterator[str]:
    name = f"fyke-bench-{os.getpid()}-{side}"
    run("ip", "netns", "add", name)
    try:
        for which in ("all", "default"):  # IPv6 talks by itself
            run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{which}.disable_ipv6=1")
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "del", name)


def _link(namespace: str, device: str) -> dict[str, Any]:
    (link,) = json.loads(run("ip", "-n", namespace, "-j", "link", "show", "dev", device))
    return dict(link)


@contextmanager
def compiled(name: str) -> Iterator[str]:
    """Compile NAME.c of this folder; yields the program's path."""
    compiler = shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(f"{name} is written in C: install clang, which fyke is built with anyway")
    with tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        program = f"{folder}/{name}"
        run(compiler, "-O2", "-Wall", "-Werror", "-o", program, str(_HERE / f"{name}.c"))
        yield program
