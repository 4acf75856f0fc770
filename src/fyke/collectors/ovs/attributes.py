"""Netlink attributes in the bytes of an action: type, length, value, one behind the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=HH")  # struct nlattr
_TYPE = 0x3FFF  # NLA_TYPE_MASK


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of each; the last may be cut short."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind & _TYPE, data[at + _HEADER.size : at + length]
        at += length + 3 & ~3
