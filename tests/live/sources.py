"""Second sources: what others than fyke say about the same packets, devices, drops and BPF objects."""

from __future__ import annotations

import json
import re
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from live.netns import Netns
from live.waiting import eventually

__all__ = [
    "BpfObject",
    "Capture",
    "Captured",
    "bpf_objects",
    "capture",
    "counters",
    "links",
    "none_but",
    "queues",
]

_SECONDS = 60
"""For a program to start or a packet to be seen, at most, in an emulated machine."""


# ---- tcpdump


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet that tcpdump saw: wall clock, bytes (all of them), and its length on the wire."""

    time_ns: int
    data: bytes
    wire_len: int


class Capture:
    """A tcpdump that is running; its packets come in as they are seen."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        assert process.stderr
        self._process = process
        self._packets: list[Captured] = []
        self._error = ""
        self._listening = False
        self._ended = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read_packets, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_messages, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def packets(self) -> list[Captured]:
        """What was seen so far."""
        with self._changed:
            return list(self._packets)

    def wait(self, count: int, matching: Callable[[Captured], bool] = lambda packet: True) -> list[Captured]:
        """Return the packets that match once there are so many. TimeoutError when they don't come."""
        found: list[Captured] = []

        def enough() -> bool:
            found[:] = [packet for packet in self._packets if matching(packet)]
            return len(found) >= count or self._ended

        with self._changed:
            self._changed.wait_for(enough, _SECONDS)
        if len(found) < count:
            raise TimeoutError(f"tcpdump saw {len(found)} of {count} packets; {self._error.strip()}")
        return found

    def wait_until_listening(self) -> None:
        """Return when it misses nothing any more. RuntimeError with what tcpdump said when it can't start."""
        with self._changed:
            self._changed.wait_for(lambda: self._listening or self._ended, _SECONDS)
            if not self._listening:
                raise RuntimeError(f"tcpdump didn't start: {self._error.strip()}")

    def stop(self) -> None:
        """End it. RuntimeError when it missed packets."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_SECONDS)
        for thread in self._threads:
            thread.join()
        missed = re.search(r"^([0-9]+) packets? dropped by kernel", self._error, re.MULTILINE)
        if missed and int(missed[1]):
            raise RuntimeError(f"tcpdump missed {missed[1]} packets")

    def _read_packets(self, stream: IO[bytes]) -> None:
        with stream:
            for packet in _pcap(stream):
                with self._changed:
                    self._packets.append(packet)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read_messages(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._error += line.decode(errors="replace")
                    self._listening = self._listening or b"listening on" in line
                    self._changed.notify_all()


@contextmanager
def capture(
    ns: Netns, dev: str, expression: str = "", *, direction: str = "inout", snaplen: int = 66_000
) -> Iterator[Capture]:
    """Run tcpdump on a device; the block begins when it listens. direction: in, out or inout.

    snaplen: bytes kept of a packet. The buffer has room for a burst of 256 packets of the default length, and
    for more of shorter ones. RuntimeError at the end when packets were missed: it is no second source then.
    """
    process = ns.popen(
        *("tcpdump", "-Z", "root", "-n", "-i", dev, "-Q", direction, "-s", str(snaplen), "-B", "32768"),
        *("--immediate-mode", "--time-stamp-precision=nano", "-U", "-w", "-"),
        *([expression] if expression else []),
    )
    running = Capture(process)
    try:
        running.wait_until_listening()
        yield running
    finally:
        running.stop()


def _pcap(stream: IO[bytes]) -> Iterator[Captured]:
    """Read a capture as it is written (pcap-savefile(5), nanoseconds, this machine's byte order)."""
    header = stream.read(24)
    if len(header) < 24:
        return
    if struct.unpack_from("=I", header)[0] != 0xA1B23C4D:
        raise ValueError("not a pcap file with nanoseconds")
    while len(record := stream.read(16)) == 16:
        seconds, nanoseconds, length, wire_len = struct.unpack("=IIII", record)
        data = stream.read(length)
        if len(data) < length:
            return
        yield Captured(seconds * 1_000_000_000 + nanoseconds, data, wire_len)


# ---- devices and counters


def links(ns: Netns) -> dict[str, dict[str, Any]]:
    """Return the devices of a namespace by name, as `ip -j -d -s link` has them."""
    rows = json.loads(ns.run("ip", "-j", "-d", "-s", "link", "show").stdout)
    return {row["ifname"]: row for row in rows}


def queues(ns: Netns, dev: str) -> dict[str, dict[str, Any]]:
    """Return the queueing disciplines of a device by kind (`tbf`), as `tc -j -s qdisc` has them."""
    rows = json.loads(ns.run("tc", "-j", "-s", "qdisc", "show", "dev", dev).stdout)
    return {row["kind"]: row for row in rows}


def counters(ns: Netns) -> dict[str, int]:
    """Return the network stack's counters of a namespace: `Udp.NoPorts`, `IpExt.InNoRoutes`, `Udp6InErrors`.

    From /proc/net/snmp, netstat (a table of a protocol is two lines: names, values) and snmp6 (one a line).
    """
    found: dict[str, int] = {}
    # The thread's own: /proc/net is that of the whole process, which need not have entered the namespace.
    folder = Path("/proc/thread-self/net")
    with ns.entered():
        tables = [*(folder / "snmp").read_text().splitlines(), *(folder / "netstat").read_text().splitlines()]
        single = (folder / "snmp6").read_text().splitlines()
    for names, values in zip(tables[::2], tables[1::2], strict=True):
        protocol = names.split(":")[0]
        for name, value in zip(names.split()[1:], values.split()[1:], strict=True):
            found[f"{protocol}.{name}"] = int(value)
    for line in single:
        name, value = line.split()
        found[name] = int(value)
    return found


# ---- bpftool


@dataclass(frozen=True, slots=True)
class BpfObject:
    """A program, map or link in the kernel."""

    kind: str
    id: int
    name: str
    """Of a program or map, as much of it as the kernel keeps (15 characters); a link has none."""


def bpf_objects() -> frozenset[BpfObject]:
    """Return every program, map and link in the kernel, as bpftool lists them."""
    found = set()
    for kind in ("prog", "map", "link"):
        done = subprocess.run(
            [
                shutil.which("bpftool", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "bpftool",
                "-j",
                kind,
                "list",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        found |= {BpfObject(kind, row["id"], row.get("name", "")) for row in json.loads(done.stdout or "[]")}
    return frozenset(found)


def none_but(before: frozenset[BpfObject]) -> None:
    """Return once nothing is in the kernel that wasn't there before. AssertionError when something stays.

    The kernel frees programs and maps a moment after the last that holds them is gone: past a grace period,
    and from a queue of work.
    """
    eventually(lambda: not bpf_objects() - before)
