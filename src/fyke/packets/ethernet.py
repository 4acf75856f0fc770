"""Ethernet II frames (IEEE 802.3, ethertype form)."""

from __future__ import annotations

from fyke.packets import vlan
from fyke.packets.assigned import ETHERTYPES, ethertype
from fyke.packets.layer import TRUNCATED, Cursor

_HEADER = 14


def address(raw: bytes) -> str:
    """A MAC address: `00:11:22:aa:bb:cc`."""
    return raw.hex(":")


def dissect(c: Cursor) -> int:
    """`SRC > DST ethertype NAME (0x0800)`, with the link layer only. An ethertype without a name says that
    this may be no Ethernet at all (tun, raw IP), so its addresses aren't printed."""
    data, at = c.data, c.at
    if c.end - at < _HEADER:
        return TRUNCATED
    number = data[at + 12] << 8 | data[at + 13]
    if number not in ETHERTYPES:
        return number
    if c.link_layer:
        source, destination = address(data[at + 6 : at + 12]), address(data[at : at + 6])
        c.out.append(f"{source} > {destination} ethertype {ethertype(number)}")
    c.at = at + _HEADER
    return vlan.untag(c, number)
