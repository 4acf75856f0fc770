"""MPLS label stacks (RFC 3032)."""

from __future__ import annotations

from fyke.packets.assigned import ETH_P_IP, ETH_P_IPV6
from fyke.packets.layer import END, TRUNCATED, Cursor

_ENTRY = 4
_BOTTOM = 0x100
_IPV4_NULL, _IPV6_NULL = 0, 2
"""Labels that tell what is below the stack (RFC 3032 2.1)."""


def dissect(c: Cursor) -> int:
    """`mpls [label N tc N ttl N,..]`, top of the stack first, and the packet below it.

    No field says what that is: it is IPv4 or IPv6 by the last label, or by the version in its first byte, as
    routers tell them apart. Anything else, a pseudowire's frame say, is known to the two ends only.
    """
    data, at, end = c.data, c.at, c.end
    found: list[str] = []
    entry = 0
    while not entry & _BOTTOM and end - at >= _ENTRY:
        entry = int.from_bytes(data[at : at + _ENTRY], "big")
        found.append(f"label {entry >> 12} tc {entry >> 9 & 7} ttl {entry & 0xFF}")
        at += _ENTRY
    c.at = at
    if found:
        c.out.append(f"mpls [{','.join(found)}]")
    if not entry & _BOTTOM:
        return TRUNCATED
    label = entry >> 12
    version = data[at] >> 4 if at < end else 0
    if label == _IPV4_NULL or version == 4:
        follows = ETH_P_IP
    elif label == _IPV6_NULL or version == 6:
        follows = ETH_P_IPV6
    else:
        return END if at < end else TRUNCATED
    c.out.append(" ")
    return follows
