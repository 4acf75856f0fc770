"""Geneve with its options (RFC 8926)."""

from __future__ import annotations

from struct import Struct

from fyke.packets.assigned import ETH_P_TEB, ethertype
from fyke.packets.layer import ETHERNET, TRUNCATED, Cursor

_HEADER = Struct("!BBHI")
_OPTION = Struct("!HBB")

_GRO_HINT = (0x100, 1)
"""Class (Linux) and type of the option in which a Linux sender tells the receiver's GRO about a nested
tunnel (struct geneve_opt_gro_hint, drivers/net/geneve.c)."""


def dissect(c: Cursor) -> int:
    """` geneve [OC] vni 0xN[ [options]] ` and the payload; O: control packet, C: critical options present.

    With the link layer, ` proto NAME (0x6558)` after the VNI. A VLAN tag without a frame isn't dissected.
    """
    at = c.at
    if c.end - at < _HEADER.size:
        return TRUNCATED
    first, flags, number, vni = _HEADER.unpack_from(c.data, at)
    marks = ("O" if flags & 0x80 else "") + ("C" if flags & 0x40 else "")
    c.out.append(f" geneve [{marks}] vni 0x{vni >> 8:x}")
    if c.link_layer:
        c.out.append(f" proto {ethertype(number)}")
    size = (first & 0x3F) * 4
    at += _HEADER.size
    c.at = min(at + size, c.end)
    if size:
        c.out.append(f" [{_options(c.data, at, c.at)}]")
    c.out.append(" ")
    return ETHERNET if number == ETH_P_TEB else int(number)


def _options(data: bytes, at: int, end: int) -> str:
    """The options in `data[at:end]`: `class 0xN type 0xN[(C)] len N`; C: critical."""
    found: list[str] = []
    while end - at >= _OPTION.size:
        cls, kind, size = _OPTION.unpack_from(data, at)
        size = (size & 0x1F) * 4
        at += _OPTION.size
        value = data[at : min(at + size, end)]
        hint = _gro_hint(value) if (cls, kind) == _GRO_HINT and len(value) >= 4 else ""
        found.append(f"class 0x{cls:x} type 0x{kind:x}{'(C)' if kind & 0x80 else ''} len {size}{hint}")
        at += size
    return ",".join(found)


def _gro_hint(value: bytes) -> str:
    """Inner protocol id, family, offsets of the nested network and transport header, and of their end."""
    version = 6 if value[0] & 4 else 4
    return f" (proto {value[0] & 3} v{version} nh {value[1]} tp {value[2]} hlen {value[3]})"
