"""ICMP and ICMPv6 (RFC 792, RFC 4443)."""

from __future__ import annotations

from fyke.packets.layer import END, TRUNCATED, Cursor


def dissect(c: Cursor) -> int:
    """` type T code C`."""
    if c.end - c.at < 4:
        return TRUNCATED
    c.out.append(f" type {c.data[c.at]} code {c.data[c.at + 1]}")
    return END
