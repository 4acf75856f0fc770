"""IPsec: the authentication header (RFC 4302) and encapsulated payload (RFC 4303)."""

from __future__ import annotations

from struct import Struct

from fyke.packets.assigned import protocol
from fyke.packets.layer import END, PROTOCOL, TRUNCATED, Cursor

_AH = Struct("!BBxxII")
_ESP = Struct("!II")


def authenticated(c: Cursor) -> int:
    """` spi 0x%08x seq 0xN icv 0xHEX proto NAME (N)` and what the header protects."""
    at = c.at
    if c.end - at < _AH.size:
        return TRUNCATED
    number, words, spi, seq = _AH.unpack_from(c.data, at)
    # The length counts 32-bit words, minus two (RFC 4302 2.2).
    size = (words + 2) * 4
    c.at = min(at + max(size, _AH.size), c.end)
    # A length shorter than the fixed fields counts as it is for what follows, as in Retis.
    c.until += c.at - at - size
    icv = c.data[at + _AH.size : c.at].hex()
    c.out.append(f" spi 0x{spi:08x} seq 0x{seq:x} icv 0x{icv} proto {protocol(number)}")
    return PROTOCOL | int(number)


def encrypted(c: Cursor) -> int:
    """` spi 0x%08x seq 0xN`; the rest is encrypted."""
    if c.end - c.at < _ESP.size:
        return TRUNCATED
    spi, seq = _ESP.unpack_from(c.data, c.at)
    c.out.append(f" spi 0x{spi:08x} seq 0x{seq:x}")
    return END
