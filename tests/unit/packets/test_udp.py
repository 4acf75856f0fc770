import frames
import pytest

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"
_ICMP = frames.ipv4(1, b"\x08\0\0\0")
_ICMP_TEXT = "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len 24 proto ICMP (1) type 8 code 0"
_FRAME = frames.ethernet(0x800, _ICMP)
_HEAD = "00:11:22:33:44:55 > ff:ee:dd:cc:bb:aa ethertype IPv4 (0x0800)"


def _text(datagram: bytes, *, link_layer: bool = False) -> str:
    """The text after the length."""
    frame = frames.ethernet(0x800, frames.ipv4(17, datagram))
    line = text(frame, len(frame), link_layer=link_layer).partition(" proto UDP (17)")[2]
    assert line.startswith(f" len {len(datagram) - 8}")
    return line.removeprefix(f" len {len(datagram) - 8}")


@pytest.mark.parametrize(("length", "expected"), [(0, 0), (7, 0), (8, 0), (9, 1), (65535, 65527)])
def test_length_is_the_claimed_payload(length: int, expected: int) -> None:
    frame = frames.ethernet(0x800, frames.ipv4(17, frames.udp(b"abc", length=length)))
    assert text(frame, len(frame)) == (
        f"10.0.0.1.10 > 10.0.0.2.20 tos 0x0 ttl 64 id 7 off 0 len 31 proto UDP (17) len {expected}"
    )


@pytest.mark.parametrize(("length", "expected"), [(0, 69980), (11, 3)])
def test_length_without_that_of_ip(length: int, expected: int) -> None:
    """The header's own counts unless it is 0 too."""
    frame = frames.ethernet(0x800, frames.ipv4(17, frames.udp(b"abc", length=length), length=0))
    assert text(frame, 14 + 28 + 69980).endswith(f" off 0 proto UDP (17) len {expected}")


def test_lengths_in_a_tunnel() -> None:
    """An inner packet without a length ends where the outer one says."""
    inner = frames.ethernet(0x800, frames.ipv4(6, frames.tcp(b"abc"), length=0))
    datagram = frames.udp(frames.vxlan(inner), port=4789)
    for length, seq in ((None, "100:103"), (28 + 8 + 14 + 40 + 1000, "100:1100")):
        frame = frames.ethernet(0x800, frames.ipv4(17, datagram, length=length))
        assert f" seq {seq} " in text(frame, len(frame))
    frame = frames.ethernet(0x800, frames.ipv4(17, datagram, length=0))
    assert " seq 100:70100 " in text(frame, len(frame) - 3 + 70000)


def test_short_header() -> None:
    frame = frames.ethernet(0x800, frames.ipv4(17, frames.udp()[:7]))
    assert text(frame, len(frame)).endswith(f" proto UDP (17){_TRUNCATED}")


@pytest.mark.parametrize("port", [4789, 8472])
def test_vxlan(port: int) -> None:
    datagram = frames.udp(frames.vxlan(_FRAME), port=port)
    assert _text(datagram) == f" vxlan [I] vni 0x5 {_ICMP_TEXT}"
    assert _text(datagram, link_layer=True) == f" vxlan [I] vni 0x5 {_HEAD} {_ICMP_TEXT}"


def test_vxlan_without_a_valid_vni_or_frame() -> None:
    assert _text(frames.udp(frames.vxlan(b"", flags=0), port=4789)) == f" vxlan [] vni 0x5 {_TRUNCATED}"
    assert _text(frames.udp(frames.vxlan(b"")[:7], port=4789)) == _TRUNCATED


def test_geneve_with_a_frame() -> None:
    datagram = frames.udp(frames.geneve(_FRAME, flags=0xC0), port=6081)
    assert _text(datagram) == f" geneve [OC] vni 0xabcdef {_ICMP_TEXT}"
    assert _text(datagram, link_layer=True) == (
        f" geneve [OC] vni 0xabcdef proto TEB (0x6558) {_HEAD} {_ICMP_TEXT}"
    )


def test_geneve_with_a_packet() -> None:
    datagram = frames.udp(frames.geneve(_ICMP, ethertype=0x800), port=6081)
    assert _text(datagram) == f" geneve [] vni 0xabcdef {_ICMP_TEXT}"
    linked = f" geneve [] vni 0xabcdef proto IPv4 (0x0800) {_ICMP_TEXT}"
    assert _text(datagram, link_layer=True) == linked


def test_geneve_options() -> None:
    options = frames.geneve_option(0x102, 0x80, bytes(8)) + frames.geneve_option(0xFFFF, 2)
    assert _text(frames.udp(frames.geneve(_FRAME, options=options), port=6081)) == (
        f" geneve [] vni 0xabcdef [class 0x102 type 0x80(C) len 8,class 0xffff type 0x2 len 0] {_ICMP_TEXT}"
    )


@pytest.mark.parametrize(("first", "expected"), [(0xF9, "proto 1 v4"), (0x07, "proto 3 v6")])
def test_geneve_gro_hint(first: int, expected: str) -> None:
    options = frames.geneve_option(0x100, 1, bytes([first, 14, 34, 54]))
    assert _text(frames.udp(frames.geneve(_FRAME, options=options), port=6081)) == (
        f" geneve [] vni 0xabcdef [class 0x100 type 0x1 len 4 ({expected} nh 14 tp 34 hlen 54)] {_ICMP_TEXT}"
    )


def test_short_geneve() -> None:
    options = frames.geneve_option(0x102, 1, bytes(4))
    packet = frames.geneve(b"", options=options)
    assert _text(frames.udp(packet[:7], port=6081)) == _TRUNCATED
    assert _text(frames.udp(packet[:11], port=6081)) == f" geneve [] vni 0xabcdef [] {_TRUNCATED}"
    assert _text(frames.udp(packet[:13], port=6081)) == (
        f" geneve [] vni 0xabcdef [class 0x102 type 0x1 len 4] {_TRUNCATED}"
    )
