"""ARP and reverse ARP for IPv4 over Ethernet (RFC 826, RFC 903)."""

from __future__ import annotations

from socket import inet_ntoa
from struct import Struct

from fyke.packets.ethernet import address
from fyke.packets.layer import ARP_OPERATION, END, TRUNCATED, Cursor

_PACKET = Struct("!6xH6s4s6s4s")
"""operation, sender's hardware and protocol address, target's hardware and protocol address. The types and
sizes of the addresses are not looked at, as in Retis."""


def dissect(c: Cursor) -> int:
    """`request who-has T[ (THA)] tell S`, `reply S is-at SHA` and their reverse forms."""
    if c.end - c.at < _PACKET.size:
        return TRUNCATED
    operation, sha, spa, tha, tpa = _PACKET.unpack_from(c.data, c.at)
    if operation == 1:
        known = f" ({address(tha)})" if any(tha) else ""
        c.out.append(f"request who-has {inet_ntoa(tpa)}{known} tell {inet_ntoa(spa)}")
    elif operation == 2:
        c.out.append(f"reply {inet_ntoa(spa)} is-at {address(sha)}")
    elif operation == 3:
        c.out.append(f"reverse request who-is {address(tha)} tell {address(sha)}")
    elif operation == 4:
        c.out.append(f"reverse reply {address(tha)} at {inet_ntoa(tpa)}")
    else:
        return ARP_OPERATION | int(operation)
    return END
