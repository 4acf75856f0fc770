"""Addresses and ports of packets against the text that `fyke.packets` makes of the same bytes."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fyke.events.schema import arrow_schema
from fyke.journeys.tuples import FLOW, flows
from fyke.packets import text
from fyke.packets.assigned import PROTOCOLS

sys.path.append(str(Path(__file__).parents[1] / "packets"))
import frames

_ENDS = re.compile(r"(\S+) > (\S+) (?:tos|ECT|CE|ttl) ?")
_PROTO = re.compile(r" proto (?:\S+ )?\((\d+)\)")
_ICMP = re.compile(r" type (\d+) code (\d+)")
_NO_PORTS = {"sport": None, "dport": None}


def parsed(*packets: bytes | None, tag: int | None = None) -> list[dict[str, Any] | None]:
    rows = []
    for data in packets:
        packet = None if data is None else {"len": len(data), "capture_len": len(data), "data": data}
        accelerated = None if tag is None else {"proto": 0x8100, "pcp": 0, "dei": False, "vid": tag}
        rows.append({"timestamp_ns": 1, "packet": packet, "vlan_accel": accelerated})
    found = flows(pa.RecordBatch.from_pylist(rows, schema=arrow_schema()))
    assert found.type == FLOW
    found.validate(full=True)
    result: list[dict[str, Any] | None] = found.to_pylist()
    return result


def told(data: bytes) -> tuple[Any, ...] | None:
    """Return protocol, addresses and ports as the text of a packet has them; None when it has none."""
    line = text(data, len(data))
    ends = _ENDS.match(line)
    if ends is None:
        return None
    number = _PROTO.search(line)
    proto = None if number is None else PROTOCOLS.get(int(number[1]), number[1])
    return (proto, *_end(ends[1]), *_end(ends[2]))


def _end(word: str) -> tuple[str, int | None]:
    dotted = word.count(".")
    if (":" in word and "." in word and not word.startswith("::ffff:")) or dotted == 4:
        address, _, port = word.rpartition(".")
        return address, int(port)
    return word, None


def ours(flow: dict[str, Any] | None) -> tuple[Any, ...] | None:
    return None if flow is None else tuple(flow[k] for k in ("proto", "saddr", "sport", "daddr", "dport"))


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet without IPv6 extension headers, of any protocol, with any tags, damaged and cut anywhere."""
    protocol = draw(st.sampled_from([1, 6, 17, 58, 132, 2, 47, 99]))
    payload = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        length = draw(st.none() | st.integers(0, 100))
        options = bytes(draw(st.sampled_from([0, 4, 12])))
        fragment = draw(st.sampled_from([0, 0, 0x4000, 0x2000, 7, 0x2007]))
        words = draw(st.none() | st.integers(0, 15))
        ip = frames.ipv4(protocol, payload, options=options, fragment=fragment, length=length, words=words)
        kind = 0x800
    else:
        source = draw(st.binary(min_size=16, max_size=16).filter(lambda a: a[:10] != bytes(10)))
        ip = frames.ipv6(protocol, payload, length=draw(st.none() | st.integers(0, 60)), source=source)
        kind = 0x86DD
    for tag in draw(st.lists(st.sampled_from([0x8100, 0x88A8, 0x9100]), max_size=3)):
        ip = struct.pack("!HH", draw(st.integers(0, 0xFFFF)), kind) + ip
        kind = tag
    data = frames.ethernet(kind, ip)
    return data[: draw(st.integers(0, len(data)) | st.just(len(data)))]


@given(st.lists(packets(), min_size=1, max_size=8))
def test_as_the_text_has_them(several: list[bytes]) -> None:
    assert [ours(flow) for flow in parsed(*several)] == [told(data) for data in several]


@given(st.lists(st.none() | st.binary(max_size=120), max_size=6))
def test_any_bytes(several: list[bytes | None]) -> None:
    assert len(parsed(*several)) == len(several)


@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, 0xFFF), max_size=40))
def test_tags_are_stepped_over(port: int, tags: list[int]) -> None:
    payload, kind = frames.ipv4(17, frames.udp(port=port)), 0x800
    for tag in tags:
        payload, kind = struct.pack("!HH", tag | 0xE000, kind) + payload, 0x8100
    data = frames.ethernet(kind, payload)
    (flow,) = parsed(data)
    assert flow is not None
    assert (flow["proto"], flow["dport"]) == ("UDP", port)
    assert flow["vlan"] == (tags[-1] if tags else None)
    (beside,) = parsed(data, tag=7)
    assert beside is not None
    assert beside["vlan"] == 7


@given(st.lists(st.sampled_from([0, 43, 60, 135, 139, 140]), max_size=5), st.integers(0, 3))
def test_ports_behind_ipv6_extensions(headers: list[int], words: int) -> None:
    payload, follows = frames.udp(port=53), 17
    for header in headers:
        payload, follows = frames.extension(follows, bytes(6 + 8 * words)) + payload, header
    (flow,) = parsed(frames.ethernet(0x86DD, frames.ipv6(follows, payload)))
    assert flow is not None
    assert (flow["proto"], flow["sport"], flow["dport"]) == ("UDP", 10, 53)


def test_fragments_have_no_ports_after_the_first() -> None:
    first = frames.ipv6(44, frames.fragment(17, frames.udp(), offset=0))
    later = frames.ipv6(44, frames.fragment(17, frames.udp(), offset=8))
    one, two = parsed(*(frames.ethernet(0x86DD, ip) for ip in (first, later)))
    assert one is not None
    assert (one["sport"], one["dport"]) == (10, 20)
    assert two is not None
    assert two["proto"] == "UDP"
    assert {k: two[k] for k in _NO_PORTS} == _NO_PORTS


def test_icmp() -> None:
    data = frames.ethernet(0x800, frames.ipv4(1, bytes([3, 4, 0, 0])))
    (flow,) = parsed(data)
    assert flow is not None
    found = _ICMP.search(text(data, len(data)))
    assert found is not None
    assert (flow["icmp_type"], flow["icmp_code"]) == (int(found[1]), int(found[2])) == (3, 4)
    assert {k: flow[k] for k in _NO_PORTS} == _NO_PORTS


def test_equal_packets_and_rows_without() -> None:
    data = frames.ethernet(0x800, frames.ipv4(6, frames.tcp()))
    one, none, other, two = parsed(data, None, frames.ethernet(0x806, frames.arp(1)), data)
    assert none is None
    assert other is None
    assert one == two
    assert one is not None
    assert one["dport"] == 20
