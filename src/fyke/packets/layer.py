"""What all dissectors share: the cursor over a packet, and the codes that say what follows a header.

A dissector reads one header at the cursor, appends its text, moves the cursor behind the header and returns
what follows. It never calls the next dissector: the loop in `fyke.packets` does, so that tunnels in tunnels
in tunnels cost no stack.
"""

from __future__ import annotations

from collections.abc import Callable

# What follows a header: an ethertype (0 to 0xffff), or one of these.
PROTOCOL = 1 << 16
"""Added to an IP protocol number."""
ARP_OPERATION = 1 << 17
"""Added to the operation of an ARP packet that we have no words for."""
ETHERNET = 1 << 18
"""A whole Ethernet frame."""
END = -1
"""Nothing more to say."""
TRUNCATED = -2
"""The captured bytes, or those that the headers claim, end too early."""

ECN = ("", " ECT(1)", " ECT(0)", " CE")
"""Text of the two ECN bits of an IPv4 TOS or IPv6 traffic class (RFC 3168, section 5)."""


class Cursor:
    """Where the dissection stands: the rest of the packet is `data[at:end]`.

    `until` is where the packet claims to end, which may be behind what was captured: `until - at` is how long
    the IP payload at the cursor claims to be, in bytes, or negative. `unfilled` says that the length field of
    the innermost IP header is 0, so that `until` was taken from elsewhere.
    """

    __slots__ = ("at", "data", "end", "link_layer", "out", "unfilled", "until")

    def __init__(self, data: bytes, wire_bytes: int, link_layer: bool) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)
        # What was captured was there, whatever the recorded length says.
        self.until = wire_bytes if wire_bytes > self.end else self.end
        self.unfilled = False
        self.link_layer = link_layer
        self.out: list[str] = []


Dissector = Callable[[Cursor], int]
