"""MACsec (IEEE 802.1AE)."""

from __future__ import annotations

from struct import Struct

from fyke.packets import vlan
from fyke.packets.layer import END, TRUNCATED, Cursor

_TAG = Struct("!BBI")
_ENCRYPTED, _CHANGED, _SCB, _SCI, _ES = 0x08, 0x04, 0x10, 0x20, 0x40
"""Bits of the tag control information (802.1AE 9.5); the two lowest bits are the association number."""


def dissect(c: Cursor) -> int:
    """With the link layer, `an N pn N flags [ECSBI][ sl N][ sci 0xHEX]`; then what is inside, if in clear."""
    at = c.at
    if c.end - at < _TAG.size:
        return TRUNCATED
    tci, short, number = _TAG.unpack_from(c.data, at)
    at += _TAG.size
    c.at = min(at + 8, c.end) if tci & _SCI else at
    if c.link_layer:
        marks = ((_ENCRYPTED, "E"), (_CHANGED, "C"), (_ES, "S"), (_SCB, "B"), (_SCI, "I"))
        flags = "".join(letter for bit, letter in marks if tci & bit)
        c.out.append(f"an {tci & 3} pn {number} flags [{flags}]")
        if short & 0x3F:
            c.out.append(f" sl {short & 0x3F}")
        if tci & _SCI:
            c.out.append(f" sci 0x{c.data[at : c.at].hex()}")
    if tci & (_ENCRYPTED | _CHANGED):
        if not c.link_layer:
            c.out.append("802.1AE MACsec frame")
        return END
    if c.end - c.at < 2:
        return TRUNCATED
    inner = c.data[c.at] << 8 | c.data[c.at + 1]
    c.at += 2
    return vlan.untag(c, inner)
