import frames
import pytest

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"
_HEAD = "00:11:22:33:44:55 > ff:ee:dd:cc:bb:aa ethertype"
_ICMP = frames.ipv4(1, b"\x08\0\0\0")
_ICMP_TEXT = "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len 24 proto ICMP (1) type 8 code 0"
_IPV6_TEXT = "::1 > ::2 ttl 64 label 0x0 len 4 proto ICMPv6 (58) type 128 code 0"


def _text(packet: bytes, *, ethertype: int = 0x8847, link_layer: bool = False) -> str:
    frame = frames.ethernet(ethertype, packet)
    return text(frame, len(frame), link_layer=link_layer)


def test_stack() -> None:
    packet = frames.mpls(0xFFFFF, 16, inner=_ICMP)
    expected = f"mpls [label 1048575 tc 5 ttl 64,label 16 tc 5 ttl 64] {_ICMP_TEXT}"
    assert _text(packet) == expected
    assert _text(packet, ethertype=0x8848) == expected
    assert _text(packet, link_layer=True) == f"{_HEAD} MPLS unicast (0x8847) {expected}"


def test_ipv6_below() -> None:
    packet = frames.mpls(16, inner=frames.ipv6(58, b"\x80\0\0\0"))
    assert _text(packet) == f"mpls [label 16 tc 5 ttl 64] {_IPV6_TEXT}"


@pytest.mark.parametrize("label", [0, 2])
def test_null_labels_say_what_is_below(label: int) -> None:
    assert _text(frames.mpls(label)) == f"mpls [label {label} tc 5 ttl 64] {_TRUNCATED}"
    line = _text(frames.mpls(label, inner=b"\0" * 40))
    assert line.startswith(f"mpls [label {label} tc 5 ttl 64] 0.0.0.0 > " if label == 0 else "mpls [label 2")
    assert (" :: > :: ttl 0 " in line) == (label == 2)


def test_what_nobody_can_know() -> None:
    """The control word of a pseudowire begins with 0, that of an associated channel with 1 (RFC 4385)."""
    for first in (b"\0", b"\x10", b"\xff"):
        assert _text(frames.mpls(16, inner=first + bytes(30))) == "mpls [label 16 tc 5 ttl 64]"


def test_cut() -> None:
    packet = frames.mpls(16, 17, inner=_ICMP)
    first = "mpls [label 16 tc 5 ttl 64"
    assert _text(packet[:3]) == _TRUNCATED
    assert _text(packet[:7]) == f"{first}]{_TRUNCATED}"
    assert _text(packet[:8]) == f"{first},label 17 tc 5 ttl 64]{_TRUNCATED}"
    assert _text(packet[:9]) == f"{first},label 17 tc 5 ttl 64] {_TRUNCATED}"


@pytest.mark.parametrize(
    ("outer", "head"),
    [
        (frames.ipv4(137, frames.mpls(16, inner=_ICMP)), " len 48 proto MPLS (137)"),
        (frames.ipv4(47, frames.gre(0x8847, frames.mpls(16, inner=_ICMP))), " proto GRE (47) gre []"),
    ],
)
def test_in_ip(outer: bytes, head: str) -> None:
    assert _text(outer, ethertype=0x800).endswith(f"{head} mpls [label 16 tc 5 ttl 64] {_ICMP_TEXT}")
