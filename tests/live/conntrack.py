"""The connections of a namespace as conntrack(8) lists them: a second source for what fyke says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from live.monitor import Monitor, monitor
from live.netns import Netns

Row = dict[str, Any]
_NFNLGRP_CONNTRACK_DESTROY = 3  # include/uapi/linux/netfilter/nfnetlink.h


@dataclass(frozen=True, slots=True)
class Way:
    """One direction. ports: source and destination; of ICMP type, code and id."""

    src: str
    dst: str
    protocol: int
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection. state: of TCP and SCTP, "" for others. seconds: until it is forgotten."""

    orig: Way
    reply: Way
    state: str
    mark: int
    zone: int
    seconds: int
    assured: bool
    unreplied: bool


def connections(ns: Netns) -> dict[Way, Connection]:
    """Return the connections of a namespace by their original direction."""
    lines = ns.run("conntrack", "-L", "-o", "extended").stdout.splitlines()
    lines += ns.run("conntrack", "-L", "-f", "ipv6", "-o", "extended").stdout.splitlines()
    found = map(_connection, lines)
    return {connection.orig: connection for connection in found}


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a connection. event: created or destroyed."""

    event: str
    orig: Way
    reply: Way


class Events:
    """`conntrack -E`, running."""

    def __init__(self, running: Monitor) -> None:
        self._running = running

    def events(self, at_least: int) -> list[Event]:
        """Return all events so far, in order, once no more come; wait for that many."""
        return [_event(line) for line in self._running.lines(at_least)]


@contextmanager
def conntrack_events(ns: Netns) -> Iterator[Events]:
    """Watch the connections of a namespace."""
    options = ("-e", "NEW,DESTROY", "-o", "extended")
    with monitor(ns, "conntrack", "-E", *options, group=_NFNLGRP_CONNTRACK_DESTROY) as running:
        yield Events(running)


def event(row: Row) -> Event:
    """Return what a row says of a connection."""
    return Event(row["ct_event"]["event"], way(row["ct"], "orig"), way(row["ct"], "reply"))


def way(ct: Row, name: str) -> Way:
    """Return a direction of a connection as an event has it. name: orig, reply."""
    keys = ("icmp_type", "icmp_code", "icmp_id") if ct["protocol"] in (1, 58) else ("sport", "dport")
    ports = tuple(ct[f"{name}_{key}"] for key in keys)
    return Way(ct[f"{name}_src"], ct[f"{name}_dst"], ct["protocol"], ports)


def _event(line: str) -> Event:
    """Read `    [NEW] ipv4 2 udp 17 30 src=.. dst=.. sport=.. dport=.. [UNREPLIED] src=.. ..`."""
    words = line.replace("[NEW]", "created").replace("[DESTROY]", "destroyed").split()
    first, second = _ways(words)
    protocol = int(words[4])
    return Event(words[0], _way(first, protocol), _way(second, protocol))


def _ways(words: list[str]) -> list[dict[str, str]]:
    """Return the `name=value` words of each direction."""
    begins = [n for n, word in enumerate(words) if word.startswith("src=")]
    parts = words[begins[0] : begins[1]], words[begins[1] :]
    return [dict(word.split("=", 1) for word in part if "=" in word) for part in parts]


def _connection(line: str) -> Connection:
    """Read `ipv4 2 tcp 6 119 TIME_WAIT src=.. dst=.. sport=.. dport=.. src=.. .. [ASSURED] mark=0 use=1`."""
    words = line.split()
    protocol = int(words[3])
    orig, reply = _ways(words)
    state = "" if words[5].startswith("src=") else words[5]
    return Connection(
        _way(orig, protocol),
        _way(reply, protocol),
        state,
        int(reply.get("mark", "0")),
        int(reply.get("zone", orig.get("zone", "0"))),
        int(words[4]),
        "[ASSURED]" in words,
        "[UNREPLIED]" in words,
    )


def _way(pairs: dict[str, str], protocol: int) -> Way:
    keys = ("type", "code", "id") if protocol in (1, 58) else ("sport", "dport")
    return Way(pairs["src"], pairs["dst"], protocol, tuple(int(pairs[key]) for key in keys))
