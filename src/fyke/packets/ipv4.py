"""IPv4 headers with their options (RFC 791, RFC 2474, RFC 3168)."""

from __future__ import annotations

from socket import inet_ntoa
from struct import Struct
from typing import Final

from fyke.packets.assigned import IPPROTO_NONE, protocol
from fyke.packets.layer import ECN, END, PROTOCOL, TRUNCATED, Cursor
from fyke.packets.ports import endpoints

_HEADER = Struct("!BBHHHBB2x4s4s")
FLAGS = ("", " [+]", " [DF]", " [+,DF]", " [rsvd]", " [+,rsvd]", " [DF,rsvd]", " [+,DF,rsvd]")
"""By the three flag bits: 1 more fragments, 2 don't fragment, 4 reserved."""

TOS: Final = tuple(f" tos 0x{tos >> 2:x}{ECN[tos & 3]}" for tos in range(256))
_PROTOCOLS: Final = tuple(f" proto {protocol(number)}" for number in range(256))

_OPTIONS: Final[dict[int, str]] = {
    0: "eol",
    1: "nop",
    7: "rr",
    68: "ts",
    130: "sec",
    131: "lsrr",
    136: "sid",
    137: "ssrr",
    148: "ra",
}
"""By the whole type, copied flag and class included (RFC 791, RFC 1108, RFC 2113)."""


def dissect(c: Cursor) -> int:
    """`S[.sp] > D[.dp] tos 0xDSCP[ ECN] ttl T id I off N[ [FLAGS]][ len N][ opts [..]] proto NAME (N)`.

    Offset and length are in bytes; the length is left out when it is 0, which it is while the kernel hasn't
    filled it in yet and in packets too large for it (BIG TCP). Ports and what follows are left out in the
    fragments after the first, which continue the payload.
    """
    at = c.at
    if c.end - at < 20:
        return TRUNCATED
    first, tos, total, ident, fragment, ttl, number, source, destination = _HEADER.unpack_from(c.data, at)
    header = (first & 15) * 4
    options = ""
    if header > 20:
        options = _options(c.data, at + 20, min(at + header, c.end))
    # A header that claims to be shorter than it can be is taken as 20 bytes long.
    c.at = min(at + max(header, 20), c.end)
    c.unfilled = not total
    if total:
        # The claimed length is trusted over the captured one: behind it is padding (or another's bytes).
        c.until = c.at + max(total - header, 0)
        c.end = min(c.until, c.end)
    offset = (fragment & 0x1FFF) * 8
    c.out.append(
        f"{endpoints(c, inet_ntoa(source), inet_ntoa(destination), IPPROTO_NONE if offset else number)}"
        f"{TOS[tos]} ttl {ttl} id {ident} off {offset}"
        f"{FLAGS[fragment >> 13]}{f' len {total}' if total else ''}{options}{_PROTOCOLS[number]}"
    )
    return END if offset else PROTOCOL | int(number)


def _options(data: bytes, at: int, end: int) -> str:
    """` opts [..]` by name, up to the end of the options, which is left out when nothing is before it."""
    found: list[str] = []
    while at < end:
        kind = data[at]
        # Copied flag and class say nothing about an option's form: their other bits are the number.
        number = kind & 0x1F
        if number or found:
            found.append(_OPTIONS.get(kind) or f"opt-{kind}")
        if number == 0:
            break
        at += 1
        if number > 1:
            at += max(data[at] - 1, 1) if at < end else 1
    return f" opts [{','.join(found)}]" if found else ""
