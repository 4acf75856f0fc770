"""IPv4 headers with their options (RFC 791, RFC 2474, RFC 3168)."""

from __future__ import annotations

from socket import inet_ntoa
from struct import Struct

from fyke.packets.assigned import protocol
from fyke.packets.layer import ECN, PROTOCOL, TRUNCATED, Cursor
from fyke.packets.ports import endpoints

_HEADER = Struct("!BBHHHBB2x4s4s")
_FLAGS = ("", " [+]", " [DF]", " [+,DF]", " [rsvd]", " [+,rsvd]", " [DF,rsvd]", " [+,DF,rsvd]")
"""By the three flag bits: 1 more fragments, 2 don't fragment, 4 reserved."""


def dissect(c: Cursor) -> int:
    """`S[.sp] > D[.dp] tos 0xDSCP[ ECN] ttl T id I off N[ [FLAGS]][ len N][ opts [..]] proto NAME (N)`.

    Offset and length are in bytes; the length is left out while the kernel hasn't filled it in yet.
    """
    at = c.at
    if c.end - at < 20:
        return TRUNCATED
    first, tos, total, ident, fragment, ttl, number, source, destination = _HEADER.unpack_from(c.data, at)
    header = (first & 15) * 4
    options = ""
    if header > 20:
        options = _options(c.data, at + 20, min(at + header, c.end))
    c.length = max(total - header, 0)
    # A header that claims to be shorter than it can be is taken as 20 bytes long.
    c.at = min(at + max(header, 20), c.end)
    # The claimed length is trusted over the captured one: behind it is padding (or another's bytes).
    c.end = min(c.at + c.length, c.end)
    c.out.append(
        f"{endpoints(c, inet_ntoa(source), inet_ntoa(destination), number)}"
        f" tos 0x{tos >> 2:x}{ECN[tos & 3]} ttl {ttl} id {ident} off {(fragment & 0x1FFF) * 8}"
        f"{_FLAGS[fragment >> 13]}{f' len {total}' if total else ''}{options} proto {protocol(number)}"
    )
    return PROTOCOL | int(number)


def _options(data: bytes, at: int, end: int) -> str:
    """` opts [..]` by number, up to the end-of-options option, which is left out when it is the first."""
    found: list[str] = []
    while at < end:
        number = data[at] & 0x1F
        if number == 0:
            if found:
                found.append("Ipv4OptionNumber(0)")
            break
        found.append(f"Ipv4OptionNumber({number})")
        at += 1
        if number > 1:
            at += max(data[at] - 1, 1) if at < end else 1
    return f" opts [{','.join(found)}]" if found else ""
