"""VXLAN (RFC 7348)."""

from __future__ import annotations

from fyke.packets.layer import ETHERNET, TRUNCATED, Cursor

_HEADER = 8


def dissect(c: Cursor) -> int:
    """` vxlan [I] vni 0xN ` and the frame inside; I: the VNI is valid."""
    at = c.at
    if c.end - at < _HEADER:
        return TRUNCATED
    valid = "I" if c.data[at] & 0x08 else ""
    c.out.append(f" vxlan [{valid}] vni 0x{int.from_bytes(c.data[at + 4 : at + 7], 'big'):x} ")
    c.at = at + _HEADER
    return ETHERNET
