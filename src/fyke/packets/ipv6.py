"""IPv6 headers with their extension headers (RFC 8200, RFC 2474, RFC 3168)."""

from __future__ import annotations

from socket import AF_INET6, inet_ntoa, inet_ntop
from struct import Struct
from typing import Final

from fyke.packets.assigned import IPPROTO_NONE, protocol
from fyke.packets.layer import ECN, END, PROTOCOL, TRUNCATED, Cursor
from fyke.packets.ports import endpoints

_HEADER = Struct("!IHBB16s16s")

_FRAGMENT = 44
EXTENSIONS: Final[dict[int, str]] = {
    0: "Hopopt",
    43: "Ipv6Route",
    _FRAGMENT: "Ipv6Frag",
    60: "Ipv6Opts",
    135: "MobilityHeader",
    139: "Hip",
    140: "Shim6",
    253: "Test1",
    254: "Test2",
}
"""Headers that are stepped over. AH and ESP, which Retis takes for more of these though their length is told
differently or not at all, are protocols of their own here, as they are over IPv4."""


def address(raw: bytes) -> str:
    """An IPv6 address as RFC 5952 has it. An IPv4 address is dotted only when mapped (::ffff:1.2.3.4): libcs
    also write the long deprecated compatible form (::1.2.3.4) so."""
    if raw.startswith(b"\0\0\0\0\0\0\0\0\0\0"):
        if raw.startswith(b"\xff\xff", 10):
            return f"::ffff:{inet_ntoa(raw[12:])}"
        if raw.startswith(b"\0\0", 10) and raw[12:14] != b"\0\0":
            return f"::{raw[12] << 8 | raw[13]:x}:{raw[14] << 8 | raw[15]:x}"
    return inet_ntop(AF_INET6, raw)


def dissect(c: Cursor) -> int:
    """`S[.sp] > D[.dp][ tos 0xDSCP][ ECN] ttl T label 0xN[ len N][ exts [..]] proto NAME (N)`.

    The DSCP is there only when it isn't 0. Nothing comes after `len` when the header says that no next header
    follows.
    """
    if c.end - c.at < _HEADER.size:
        return TRUNCATED
    first, length, number, hops, source, destination = _HEADER.unpack_from(c.data, c.at)
    c.at += _HEADER.size
    c.end = min(c.at + length, c.end)
    c.length = length
    dscp = first >> 22 & 0x3F
    c.out.append(
        f"{endpoints(c, address(source), address(destination), number)}"
        f"{f' tos 0x{dscp:x}' if dscp else ''}{ECN[first >> 20 & 3]} ttl {hops} label 0x{first & 0xFFFFF:x}"
        f"{f' len {length}' if length else ''}"
    )
    if number == IPPROTO_NONE:
        return END
    if number in EXTENSIONS:
        number = _extensions(c, number)
        if number < 0:
            return number
    c.out.append(f" proto {protocol(number)}")
    return PROTOCOL | int(number)


def _extensions(c: Cursor, number: int) -> int:
    """Step over the extension headers, the first of which has this number: ` exts [..]`.

    Returns the number of what follows, which is the extension itself when nothing of it is there.
    """
    data, end = c.data, c.end
    found: list[str] = []
    while number in EXTENSIONS and end - c.at >= 2:
        found.append(EXTENSIONS[number])
        # In the fragment header, the byte at the length's place is reserved (RFC 8200 4.5).
        size = 8 if number == _FRAGMENT else 8 + data[c.at + 1] * 8
        if end - c.at < size:
            number = TRUNCATED
            break
        number = data[c.at]
        c.at += size
        c.length = max(c.length - size, 0)
    if found:
        c.out.append(f" exts [{','.join(found)}]")
    return number
