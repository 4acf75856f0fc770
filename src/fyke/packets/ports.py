"""Ports of the transport protocols: the text shows them beside the addresses, before the transport header."""

from __future__ import annotations

from typing import Final

from fyke.packets.assigned import IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP
from fyke.packets.layer import Cursor

HEADERS: Final[dict[int, int]] = {IPPROTO_TCP: 20, IPPROTO_UDP: 8, IPPROTO_SCTP: 12}
"""Smallest header in bytes of the protocols whose first four bytes are the two ports."""


def endpoints(c: Cursor, source: str, destination: str, protocol: int) -> str:
    """`S[.sp] > D[.dp]`, for the transport header at the cursor; no ports when it isn't there as a whole."""
    header = HEADERS.get(protocol)
    at = c.at
    if header is None or c.end - at < header:
        return f"{source} > {destination}"
    data = c.data
    sport, dport = data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]
    return f"{source}.{sport} > {destination}.{dport}"
