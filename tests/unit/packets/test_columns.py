"""Texts made by columns are those made one by one, and plain packets have them."""

from __future__ import annotations

from random import Random

import frames
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_strategies import ethernets
from wire_packets import frame

from fyke.packets import columns, text
from fyke.packets.layer import ECN

_USUAL = bytes.fromhex("0101080a 0000002a ffffffff")
_OF_SYN = bytes.fromhex("020405b4 0402080a 0000002a 00000000 01030307")


def _compare(packets: list[bytes | None], wire: list[int | None], *, link_layer: bool) -> list[str | None]:
    """Return the texts by columns, which are right or missing."""
    made = columns.texts(pa.array(packets, pa.binary()), pa.array(wire, pa.uint32()), link_layer=link_layer)
    found: list[str | None] = made.to_pylist()
    for line, packet, size in zip(found, packets, wire, strict=True):
        if line is not None:
            assert packet
            assert line == text(packet, size or len(packet), link_layer=link_layer)
    return found


def _plain() -> dict[str, bytes]:
    tcp = {
        "no options": frames.tcp(b"abc"),
        "usual options": frames.tcp(b"abc", options=_USUAL),
        "options of a first segment": frames.tcp(options=_OF_SYN, flags=2),
        "other options": frames.tcp(options=b"\2\4\5\xb4\5\x0a\0\0\0\1\0\0\0\2\1\1", flags=0x1FF),
        "a sequence number that wraps": frames.tcp(b"abc", seq=0xFFFFFFFE),
        "no bit of ACK": frames.tcp(flags=4),
    }
    packets = {what: frames.ipv4(6, payload) for what, payload in tcp.items()}
    packets |= {
        "UDP": frames.ipv4(17, frames.udp(b"abc")),
        "ICMP": frames.ipv4(1, b"\x08\0abcd"),
        "no length": frames.ipv4(6, frames.tcp(b"abc"), length=0),
        "a claim of more": frames.ipv4(6, frames.tcp(b"abc"), length=400),
        "padding": frames.ipv4(17, frames.udp(b"abc")) + bytes(18),
        **{f"tos {n}": frames.ipv4(17, frames.udp(), tos=8 | n) for n in range(len(ECN))},
        **{f"flags {n}": frames.ipv4(17, frames.udp(), fragment=n << 13) for n in range(8)},
    }
    packets = {what: frames.ethernet(0x800, packet) for what, packet in packets.items()}
    for protocol, payload in ((6, tcp["usual options"]), (17, frames.udp(b"abc")), (58, b"\x80\0abcd")):
        for traffic_class, label in ((0, 0), (0xB9, 0xABCDE)):
            packet = frames.ipv6(protocol, payload, traffic_class=traffic_class, label=label)
            packets[f"IPv6, {protocol}, {label:x}"] = frames.ethernet(0x86DD, packet)
    return packets


def _odd() -> list[bytes]:
    """Packets that differ from plain ones in a field."""
    tcp, udp = frames.tcp(b"abc", options=_USUAL), frames.udp(b"abcd")
    syn = frames.tcp(options=_OF_SYN.replace(b"\3\3\7", b"\3\2\7"))
    packets = [
        *(frames.ipv4(protocol, tcp, length=length) for protocol in (6, 17, 1) for length in range(60)),
        *(frames.ipv4(17, udp, fragment=1 << n) for n in range(16)),
        *(frames.ipv4(17, frames.udp(b"abcd", length=n), length=t) for n in range(14) for t in (None, 0)),
        *(frames.ipv4(6, tcp, words=n) for n in range(16)),
        *(frames.ipv4(6, frames.tcp(b"abc" * 20, words=n)) for n in range(16)),
        *(frames.ipv4(17, frames.udp(bytes(40), port=port)) for port in (4789, 8472, 6081)),
        frames.ipv4(6, syn),
    ]
    six = [frames.ipv6(protocol, tcp, length=n) for protocol in (6, 17, 58, 59, 0, 44) for n in range(40)]
    return [*(frames.ethernet(0x800, p) for p in packets), *(frames.ethernet(0x86DD, p) for p in six)]


@pytest.mark.parametrize("wire", [None, 40, 400])
def test_packets_that_are_almost_plain(wire: int | None) -> None:
    packets = _odd()
    _compare([*packets], [wire] * len(packets), link_layer=False)


@pytest.mark.parametrize("link_layer", [False, True])
def test_plain_packets_all_have_texts(link_layer: bool) -> None:
    packets = _plain()
    found = _compare([*packets.values()], [0] * len(packets), link_layer=link_layer)
    assert None not in dict(zip(packets, found, strict=True)).values()
    # Cut anywhere, many of them at once, in memory that begins and ends elsewhere.
    cut: list[bytes | None] = [p[:size] for p in packets.values() for size in range(len(p))]
    _compare(cut, [None] * len(cut), link_layer=link_layer)
    part = pa.array([b"before", *packets.values(), b"behind"], pa.binary()).slice(1, len(packets))
    assert columns.texts(part, pa.nulls(len(part), pa.uint32()), link_layer=link_layer).to_pylist() == found


@given(
    st.lists(st.tuples(st.none() | ethernets(), st.sampled_from([None, 0, 70, 9000])), max_size=8),
    st.booleans(),
)
def test_as_one_by_one(packets: list[tuple[bytes | None, int | None]], link_layer: bool) -> None:
    data, wire = [p for p, _ in packets], [w for _, w in packets]
    _compare(data, wire, link_layer=link_layer)
    _compare([p and p[: len(p) * 2 // 3] for p in data], wire, link_layer=link_layer)


def test_much_traffic() -> None:
    random = Random(5)
    packets: list[bytes | None] = [frame(random) for _ in range(3000)]
    found = _compare(packets, [None] * len(packets), link_layer=True)
    assert sum(line is not None for line in found) > 100


def test_nothing_at_all() -> None:
    assert _compare([], [], link_layer=False) == []
    assert _compare([None, b""], [None, 5], link_layer=False) == [None, None]
