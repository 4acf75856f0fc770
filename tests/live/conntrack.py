"""The connections of a namespace as conntrack(8) lists them: a second source for what fyke says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from live.netns import Netns

Row = dict[str, Any]


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


def way(ct: Row, name: str) -> Way:
    """Return a direction of a connection as an event has it. name: orig, reply."""
    keys = ("icmp_type", "icmp_code", "icmp_id") if ct["protocol"] in (1, 58) else ("sport", "dport")
    ports = tuple(ct[f"{name}_{key}"] for key in keys)
    return Way(ct[f"{name}_src"], ct[f"{name}_dst"], ct["protocol"], ports)


def _connection(line: str) -> Connection:
    """Read `ipv4 2 tcp 6 119 TIME_WAIT src=.. dst=.. sport=.. dport=.. src=.. .. [ASSURED] mark=0 use=1`."""
    words = line.split()
    begins = [n for n, word in enumerate(words) if word.startswith("src=")]
    protocol = int(words[3])
    ways = (words[begins[0] : begins[1]], words[begins[1] :])
    orig, reply = (dict(word.split("=", 1) for word in part if "=" in word) for part in ways)
    state = words[5] if begins[0] == 6 else ""
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
