import re

import frames
import pytest
from hypothesis import assume, given
from packet_strategies import ethernets

from fyke.packets import text

_HEAD = "00:11:22:33:44:55 > ff:ee:dd:cc:bb:aa ethertype"
_ICMP = frames.ipv4(1, b"\x08\0\0\0")
_ICMP_TEXT = "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len 24 proto ICMP (1) type 8 code 0"
_TRUNCATED = "... (truncated or incomplete packet)"


def both(packet: bytes) -> tuple[str, str]:
    return text(packet, len(packet)), text(packet, len(packet), link_layer=True)


def test_link_layer() -> None:
    plain, linked = both(frames.ethernet(0x800, _ICMP))
    assert plain == _ICMP_TEXT
    assert linked == f"{_HEAD} IPv4 (0x0800) {_ICMP_TEXT}"


@pytest.mark.parametrize("size", [0, 1, 13])
def test_short_header(size: int) -> None:
    assert both(frames.ethernet(0x800)[:size]) == (_TRUNCATED, _TRUNCATED)


def test_header_alone() -> None:
    assert both(frames.ethernet(0x800)) == (_TRUNCATED, f"{_HEAD} IPv4 (0x0800) {_TRUNCATED}")


def test_known_ethertype_that_nobody_dissects() -> None:
    error = "... (ethertype 0x888e not supported)"
    assert both(frames.ethernet(0x888E)) == (error, f"{_HEAD} EAPOL (0x888e) {error}")


def test_unknown_ethertype_may_be_no_ethernet() -> None:
    error = "... (ethertype 0x0045 not supported)"
    assert both(frames.ethernet(0x45)) == (error, error)


def test_vlan_and_qinq() -> None:
    plain, linked = both(frames.ethernet(0x88A8, b"\xf0\x05\x81\0" + b"\0\x06\x08\0" + _ICMP))
    assert plain == _ICMP_TEXT
    tags = "vlan 5 p 7 DEI ethertype 802.1Q (0x8100) vlan 6 p 0 ethertype IPv4 (0x0800)"
    assert linked == f"{_HEAD} 802.1Q-QinQ (0x88a8) {tags} {_ICMP_TEXT}"


def test_vlan_with_unknown_ethertype() -> None:
    error = "... (ethertype 0x1234 not supported)"
    plain, linked = both(frames.ethernet(0x8100, b"\0\x05\x12\x34"))
    assert plain == error
    assert linked == f"{_HEAD} 802.1Q (0x8100) vlan 5 p 0 ethertype (0x1234) {error}"


def test_short_vlan() -> None:
    assert both(frames.ethernet(0x9100, b"\0\5\x08")) == (
        _TRUNCATED,
        f"{_HEAD} 802.1Q-9100 (0x9100){_TRUNCATED}",
    )


def test_macsec_in_clear() -> None:
    packet = frames.macsec(b"\x08\0" + _ICMP, control=0x21, short=0x30, sci=b"\1\2\3\4\5\6\0\1")
    plain, linked = both(frames.ethernet(0x88E5, packet))
    assert plain == _ICMP_TEXT
    tag = "an 1 pn 7 flags [I] sl 48 sci 0x0102030405060001"
    assert linked == f"{_HEAD} 802.1AE MACsec (0x88e5) {tag} {_ICMP_TEXT}"


def test_macsec_encrypted() -> None:
    plain, linked = both(frames.ethernet(0x88E5, frames.macsec(bytes(20), control=0x5E)))
    assert plain == "802.1AE MACsec frame"
    assert linked == f"{_HEAD} 802.1AE MACsec (0x88e5) an 2 pn 7 flags [ECSB]"


@pytest.mark.parametrize("size", [0, 5, 6, 7, 13, 14, 15])
def test_short_macsec(size: int) -> None:
    packet = frames.macsec(b"\x08\0", control=0x20, sci=bytes(8))[:size]
    plain, linked = both(frames.ethernet(0x88E5, packet))
    assert plain == _TRUNCATED
    assert linked.endswith(_TRUNCATED)


@given(ethernets(depth=0))
def test_link_layer_only_adds_in_front(packet: bytes) -> None:
    """But for tunnels, and for an encrypted MACsec frame, of which nothing else would be shown."""
    plain, linked = both(packet)
    assume(not re.search(r" vxlan | geneve | gre |Ethernet \(143\)", plain))
    assume(plain != "802.1AE MACsec frame")
    assert linked.endswith(plain)
