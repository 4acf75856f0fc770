"""UDP headers (RFC 768), and the tunnels known by their port."""

from __future__ import annotations

from typing import Final

from fyke.packets import geneve, vxlan
from fyke.packets.layer import END, TRUNCATED, Cursor, Dissector

_HEADER = 8

TUNNELS: Final[dict[int, Dissector]] = {4789: vxlan.dissect, 8472: vxlan.dissect, 6081: geneve.dissect}
"""By destination port: VXLAN (RFC 7348, and Linux' own default), Geneve (RFC 8926)."""


def dissect(c: Cursor) -> int:
    """` len PAYLOAD`, then the tunnel if the destination port is one's.

    Where the IP header has no length and this one neither (RFC 2675, section 4), it is what the packet has.
    """
    data, at = c.data, c.at
    if c.end - at < _HEADER:
        return TRUNCATED
    length = data[at + 4] << 8 | data[at + 5]
    if not length and c.unfilled:
        length = c.until - at
    c.out.append(f" len {max(length - _HEADER, 0)}")
    c.at = at + _HEADER
    tunnel = TUNNELS.get(data[at + 2] << 8 | data[at + 3])
    return tunnel(c) if tunnel else END
