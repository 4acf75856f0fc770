"""A large file as Retis writes it, made of a small one: NAT, TCP and ARP past a dozen probes."""

from __future__ import annotations

import base64
import heapq
import json
import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# 281 events of 34 packets, recorded by Retis 1.7.0 with its profile `generic`.
RECORDED = Path(__file__).with_name("nat_tcp.jsonl.xz")
_TOGETHER = 8  # replicas whose events are mixed, so that there is something to sort
_APART_NS = 1_000_003
_ETHERNET, _IPV4, _TCP = 14, b"\x08\x00", 6


def write_retis(path: Path, wanted: int) -> int:
    """Write replicas until there are `wanted` events; return how many there are, without the first line.

    Each has later times, ids of its own, and packets that differ from the others': what is the same again
    and again is remembered, or compresses to nothing.
    """
    first, *recorded = lzma.decompress(RECORDED.read_bytes()).splitlines()
    templates = [_Template.of(json.loads(line)) for line in recorded]
    span_ns = templates[-1].time_ns - templates[0].time_ns + 1_000_000_000
    written = 0
    with open(path, "wb") as out:
        out.write(first + b"\n")
        while written < wanted:
            group = written // len(templates) // _TOGETHER
            replicas = [
                _replica(templates, group * _TOGETHER + n, group * span_ns + n * _APART_NS)
                for n in range(_TOGETHER)
            ]
            for _, line in heapq.merge(*replicas):
                out.write(line)
                written += 1
    return written


def _replica(templates: list[_Template], number: int, later_ns: int) -> Iterator[tuple[int, bytes]]:
    for template in templates:
        yield template.time_ns + later_ns, template.line(number, later_ns).encode()


@dataclass(frozen=True)
class _Template:
    """An event: the text between what differs from replica to replica, and what that is."""

    text: str
    time_ns: int
    seen_ns: int
    packet: bytes

    @classmethod
    def of(cls, event: dict[str, Any]) -> _Template:
        time_ns, packet = event["common"]["timestamp"], base64.b64decode(event["packet"]["data"])
        seen_ns = event["skb-tracking"]["timestamp"]
        event["common"]["timestamp"] = event["skb-tracking"]["timestamp"] = event["packet"]["data"] = "\0"
        text = json.dumps(event, separators=(",", ":")).replace("%", "%%")
        text = text.replace('"\\u0000"', "%d", 2).replace("\\u0000", "%s")
        return cls(text + "\n", time_ns, seen_ns, packet)

    def line(self, number: int, later_ns: int) -> str:
        packet = base64.b64encode(_other(self.packet, number)).decode()
        return self.text % (self.time_ns + later_ns, self.seen_ns + later_ns, packet)


def _other(packet: bytes, number: int) -> bytes:
    """Return a packet like this one with another IP id and other TCP numbers: those of one connection's."""
    if packet[12:_ETHERNET] != _IPV4:
        return packet
    data = bytearray(packet)
    (own,) = struct.unpack_from("!H", data, _ETHERNET + 4)
    struct.pack_into("!H", data, _ETHERNET + 4, (own + 41 * number) & 0xFFFF)
    if data[_ETHERNET + 9] == _TCP:
        at = _ETHERNET + 4 * (data[_ETHERNET] & 15) + 4
        numbers = struct.unpack_from("!II", data, at)
        struct.pack_into("!II", data, at, *((n + 2_654_435_761 * number) & 0xFFFFFFFF for n in numbers))
    return bytes(data)
