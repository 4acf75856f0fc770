"""VLAN tags, any number of them (IEEE 802.1Q, 802.1ad and the older 0x9100)."""

from __future__ import annotations

from typing import Final

from fyke.packets.assigned import ETH_P_8021AD, ETH_P_8021Q, ETH_P_QINQ1, ethertype
from fyke.packets.layer import TRUNCATED, Cursor

TAGS: Final = frozenset((ETH_P_8021Q, ETH_P_8021AD, ETH_P_QINQ1))


def untag(c: Cursor, number: int) -> int:
    """Step over the tags at the cursor, given the ethertype of what is there; returns what follows them.

    With the link layer, ` vlan ID p PCP[ DEI] ethertype NAME (0x0800)` for each, and a space behind all.
    """
    while number in TAGS:
        if c.end - c.at < 4:
            return TRUNCATED
        tci = c.data[c.at] << 8 | c.data[c.at + 1]
        number = c.data[c.at + 2] << 8 | c.data[c.at + 3]
        c.at += 4
        if c.link_layer:
            dei = " DEI" if tci & 0x1000 else ""
            c.out.append(f" vlan {tci & 0xFFF} p {tci >> 13}{dei} ethertype {ethertype(number)}")
    if c.link_layer:
        c.out.append(" ")
    return number
