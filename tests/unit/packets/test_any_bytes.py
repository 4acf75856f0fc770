"""Nothing that can be captured breaks the dissector or its line of text."""

from __future__ import annotations

import re
import time

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_strategies import ethernets

from fyke.packets import PROTOCOLS, text

_ETHERTYPES = st.sampled_from([0x0800, 0x0806, 0x86DD, 0x8035, 0x8100, 0x8847, 0x88E5])


def _check(packet: bytes) -> None:
    for link_layer in (False, True):
        line = text(packet, len(packet), link_layer=link_layer)
        assert line
        assert line.isascii()
        assert line.isprintable()


@given(st.binary(max_size=400))
def test_arbitrary_bytes(packet: bytes) -> None:
    _check(packet)


@given(_ETHERTYPES, st.binary(max_size=400))
def test_arbitrary_payload(ethertype: int, payload: bytes) -> None:
    _check(frames.ethernet(ethertype, payload))


@given(st.sampled_from([*PROTOCOLS]), st.binary(max_size=400))
def test_arbitrary_payload_of_ip(protocol: int, payload: bytes) -> None:
    _check(frames.ethernet(0x800, frames.ipv4(protocol, payload)))


@given(ethernets(), st.data())
def test_one_byte_changed(packet: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(packet) - 1))
    _check(packet[:at] + bytes([data.draw(st.integers(0, 255))]) + packet[at + 1 :])


@given(ethernets())
def test_cut_anywhere(packet: bytes) -> None:
    for size in range(len(packet)):
        _check(packet[:size])


@given(ethernets())
def test_any_buffer_will_do(packet: bytes) -> None:
    """The event table hands out memoryviews and bytes alike."""
    expected = text(packet, len(packet), link_layer=True)
    assert text(memoryview(packet), len(packet), link_layer=True) == expected  # type: ignore[arg-type]


@given(ethernets())
def test_the_length_on_the_wire_counts_only_where_ip_has_none(packet: bytes) -> None:
    line = text(packet, len(packet))
    assert text(packet, 0) == line
    if text(packet, 1 << 32) != line:
        assert re.search(
            r" off \d+( \[\S+\])?( opts \[\S+\])? proto | label 0x\w+( exts \[\S+\])? proto ", line
        )


def _wrapped(kind: str, count: int) -> bytes:
    """A frame with this many of one header inside each other."""
    if kind == "vlan":
        return frames.ethernet(0x8100, b"\0\1\x81\0" * count)
    if kind == "macsec":
        return frames.ethernet(0x88E5, (frames.macsec(b"\x88\xe5")) * count)
    if kind == "ah":
        headers = frames.ah(51, b"", icv=b"") * count
        return frames.ethernet(0x800, frames.ipv4(51, headers, length=0xFFFF))
    if kind == "gre":
        headers = (frames.ipv4(47, length=0xFFFF) + frames.gre(0x800)) * count
        return frames.ethernet(0x800, headers)
    if kind == "ipip":
        return frames.ethernet(0x800, frames.ipv4(4, length=0xFFFF) * count)
    if kind == "mpls":
        return frames.ethernet(0x8847, frames.mpls(*[16] * count))
    if kind == "igmp":
        return frames.ethernet(0x800, frames.ipv4(2, frames.igmp_report(*[frames.igmp_record(1)] * count)))
    if kind == "extension":
        return frames.ethernet(0x86DD, frames.ipv6(0, frames.extension(0) * count, length=0xFFFF))
    shell = frames.ethernet(0x800, frames.ipv4(17, frames.udp(port=4789), length=0xFFFF)) + frames.vxlan(b"")
    return shell * count


@pytest.mark.parametrize(
    "kind", ["vlan", "macsec", "ah", "extension", "vxlan", "gre", "ipip", "mpls", "igmp"]
)
def test_headers_in_headers_cost_no_stack_and_linear_time(kind: str) -> None:
    packet = _wrapped(kind, 5000)
    begin = time.process_time()
    _check(packet)
    # 50 ms here; a quadratic walk over 5,000 headers takes many seconds.
    assert time.process_time() - begin < 2
