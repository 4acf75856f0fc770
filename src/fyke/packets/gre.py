"""GRE (RFC 2784, RFC 2890), its source routes (RFC 1701) and the version of PPTP (RFC 2637)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from fyke.packets.assigned import ETH_P_TEB, ethertype
from fyke.packets.layer import END, ETHERNET, TRUNCATED, Cursor

_HEADER = Struct("!HH")
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _STRICT, _ACK = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0080
_VERSION, _PPTP = 7, 1
_MARKS: Final = (
    (_CHECKSUM, "C"), (_ROUTING, "R"), (_KEY, "K"), (_SEQUENCE, "S"), (_STRICT, "s"), (_ACK, "A"),
)  # fmt: skip
_WORD = 4
"""Bytes of each optional field; checksum and offset share one."""
_ROUTE = Struct("!HxB")
"""Before each source route: address family and size; both are 0 in the last."""


def dissect(c: Cursor) -> int:
    """` gre [CRKSsA][ vN][ key 0xN][ seq N][ ack N] ` and what is inside.

    The letters are checksum, routing, key, sequence, strict (RFC 1701) and, in version 1 (PPTP), ack. Its key
    is ` call N len N`, a length in bytes. With the link layer, ` proto NAME (0x0800)` before the payload.
    Nothing more is said of versions that nobody has defined. A VLAN tag without a frame isn't dissected.
    """
    data, at, end = c.data, c.at, c.end
    if end - at < _HEADER.size:
        return TRUNCATED
    bits, number = _HEADER.unpack_from(data, at)
    version = bits & _VERSION
    if version != _PPTP:
        bits &= ~_ACK  # reserved there, to be ignored (RFC 2784 2.3)
    marks = f" gre [{''.join(letter for bit, letter in _MARKS if bits & bit)}]"
    if version > _PPTP:
        c.out.append(f"{marks} v{version}")
        return END
    at += _HEADER.size
    if bits & (_CHECKSUM | _ROUTING):
        at += _WORD
    fields = f" v{version}" if version else ""
    for bit, name in ((_KEY, "key"), (_SEQUENCE, "seq"), (_ACK, "ack")):
        if bits & bit:
            fields += _field(name, version, int.from_bytes(data[at : at + _WORD], "big"))
            at += _WORD
    if at > end:
        return TRUNCATED
    c.out.append(marks + fields)
    if c.link_layer:
        c.out.append(f" proto {ethertype(number)}")
    if version == _PPTP and not bits & _SEQUENCE:
        return END  # an acknowledgement alone
    c.out.append(" ")
    c.at = _behind_routes(data, at, end) if bits & _ROUTING else at
    if c.at > end:
        c.at = end
        return TRUNCATED
    return ETHERNET if number == ETH_P_TEB else int(number)


def _field(name: str, version: int, value: int) -> str:
    if name != "key":
        return f" {name} {value}"
    return f" call {value & 0xFFFF} len {value >> 16}" if version == _PPTP else f" key 0x{value:x}"


def _behind_routes(data: bytes, at: int, end: int) -> int:
    """Where the payload begins, given where the source routes do; beyond `end` when they aren't all there."""
    while end - at >= _ROUTE.size:
        family, size = _ROUTE.unpack_from(data, at)
        at += _ROUTE.size + size
        if not family and not size:
            return at
    return end + 1
