"""Tunnels directly over IP: GRE, and packets and frames with nothing between."""

import struct

import frames
import pytest

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"
_ICMP = frames.ipv4(1, b"\x08\0\0\0")
_ICMP_TEXT = "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len 24 proto ICMP (1) type 8 code 0"
_IPV6 = frames.ipv6(17, frames.udp(b"abc"))
_IPV6_TEXT = "::1.10 > ::2.20 ttl 64 label 0x0 len 11 proto UDP (17) len 3"
_HEAD = "00:11:22:33:44:55 > ff:ee:dd:cc:bb:aa ethertype"


def _text(number: int, payload: bytes, *, link_layer: bool = False, cut: int = 0) -> str:
    """The text behind ` proto GRE (47)`; `cut` bytes were not captured."""
    frame = frames.ethernet(0x800, frames.ipv4(number, payload))
    line = text(frame[: len(frame) - cut], len(frame), link_layer=link_layer)
    return line.partition(f" proto {_NAMES[number]} ({number})")[2]


_NAMES = {4: "IPIP", 41: "IPv6", 47: "GRE", 143: "Ethernet"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (frames.gre(0x800), "gre []"),
        (frames.gre(0x800, checksum=True), "gre [C]"),
        (frames.gre(0x800, key=0xDEADBEEF), "gre [K] key 0xdeadbeef"),
        (frames.gre(0x800, seq=7), "gre [S] seq 7"),
        (frames.gre(0x800, checksum=True, key=1, seq=2), "gre [CKS] key 0x1 seq 2"),
        (frames.gre(0x800, routes=struct.pack("!HBB4sI", 0x800, 0, 4, b"abcd", 0)), "gre [R]"),
    ],
)
def test_gre(header: bytes, expected: str) -> None:
    assert _text(47, header + _ICMP) == f" {expected} {_ICMP_TEXT}"
    assert _text(47, header + _ICMP, link_layer=True) == f" {expected} proto IPv4 (0x0800) {_ICMP_TEXT}"
    for size in range(len(header)):
        line = _text(47, header[:size])
        # Of source routes that are cut, the fields before them are shown.
        assert line == (f" {expected} {_TRUNCATED}" if "R" in expected and size >= 8 else _TRUNCATED)


def test_gre_with_a_frame() -> None:
    packet = frames.gre(0x6558, frames.ethernet(0x800, _ICMP), key=5)
    assert _text(47, packet) == f" gre [K] key 0x5 {_ICMP_TEXT}"
    linked = f" gre [K] key 0x5 proto TEB (0x6558) {_HEAD} IPv4 (0x0800) {_ICMP_TEXT}"
    assert _text(47, packet, link_layer=True) == linked


def test_gre_with_what_nobody_dissects() -> None:
    assert _text(47, frames.gre(0x2001)) == " gre [] ... (ethertype 0x2001 not supported)"


def test_gre_of_pptp() -> None:
    data = frames.gre(0x880B, key=5 << 16 | 9, seq=1, ack=2, version=1)
    assert _text(47, data) == " gre [KSA] v1 call 9 len 5 seq 1 ack 2 ... (ethertype 0x880b not supported)"
    assert _text(47, frames.gre(0x880B, key=9, ack=2, version=1)) == " gre [KA] v1 call 9 len 0 ack 2"


def test_gre_has_acknowledgments_in_pptp_only() -> None:
    packet = bytearray(frames.gre(0x800, _ICMP, key=1))
    packet[1] |= 0x80
    assert _text(47, bytes(packet)) == f" gre [K] key 0x1 {_ICMP_TEXT}"


def test_gre_of_another_version() -> None:
    assert _text(47, frames.gre(0x800, _ICMP, key=1, version=2)) == " gre [K] v2"


def test_ip_in_ip() -> None:
    assert _text(4, _ICMP) == f" {_ICMP_TEXT}"
    assert _text(41, _IPV6) == f" {_IPV6_TEXT}"
    assert _text(4, _ICMP[:19]) == f" {_TRUNCATED}"
    outer = frames.ethernet(0x86DD, frames.ipv6(41, frames.ipv6(4, _ICMP)))
    assert text(outer, len(outer)) == (
        "::1 > ::2 ttl 64 label 0x0 len 64 proto IPv6 (41) ::1 > ::2 ttl 64 label 0x0 len 24 proto IPIP (4) "
        + _ICMP_TEXT
    )


def test_ethernet_in_ip() -> None:
    frame = frames.ethernet(0x800, _ICMP)
    assert _text(143, frame) == f" {_ICMP_TEXT}"
    assert _text(143, frame, link_layer=True) == f" {_HEAD} IPv4 (0x0800) {_ICMP_TEXT}"
    assert _text(143, frame[:13]) == f" {_TRUNCATED}"


def test_an_inner_packet_without_a_length_ends_where_the_outer_says() -> None:
    inner = frames.ipv4(6, frames.tcp(b"abc"), length=0)
    assert " seq 100:103 " in _text(4, inner)
    assert " seq 100:103 " in _text(47, frames.gre(0x800, inner, key=1, seq=2), cut=3)


def test_fragments_after_the_first_have_no_inner_packet() -> None:
    frame = frames.ethernet(0x800, frames.ipv4(4, _ICMP, fragment=1))
    assert text(frame, len(frame)).endswith(" off 8 len 44 proto IPIP (4)")
