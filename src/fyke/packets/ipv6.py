"""IPv6 headers with their extension headers (RFC 8200, RFC 2474, RFC 2675, RFC 3168)."""

from __future__ import annotations

from socket import AF_INET6, inet_ntoa, inet_ntop
from struct import Struct
from typing import Final

from fyke.packets.assigned import IPPROTO_NONE, protocol
from fyke.packets.layer import ECN, END, PROTOCOL, TRUNCATED, Cursor
from fyke.packets.ports import endpoints

_HEADER = Struct("!IHBB16s16s")
TRAFFIC_CLASS: Final = tuple(f"{f' tos 0x{n >> 2:x}' if n >> 2 else ''}{ECN[n & 3]}" for n in range(256))

_HOP_BY_HOP, _FRAGMENT = 0, 44
_JUMBO = 0xC2
"""The hop-by-hop option with the length of a jumbogram."""
EXTENSIONS: Final[dict[int, str]] = {
    _HOP_BY_HOP: "Hopopt",
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

    The DSCP is there only when it isn't 0, and so is the length: it is 0 while the kernel hasn't filled it in
    yet and in packets too large for it (jumbograms, BIG TCP). `proto` is left out when no next header
    follows, and what comes after it in the fragments after the first, which continue the payload.
    """
    if c.end - c.at < _HEADER.size:
        return TRUNCATED
    first, length, number, hops, source, destination = _HEADER.unpack_from(c.data, c.at)
    c.at += _HEADER.size
    c.unfilled = not length
    if c.unfilled and number == _HOP_BY_HOP:
        length = _jumbo_length(c)
    if length:
        c.until = c.at + length
        c.end = min(c.until, c.end)
    c.out.append(
        f"{endpoints(c, address(source), address(destination), number)}"
        f"{TRAFFIC_CLASS[first >> 20 & 0xFF]} ttl {hops} label 0x{first & 0xFFFFF:x}"
        f"{'' if c.unfilled else f' len {length}'}"
    )
    follows = PROTOCOL | int(number)
    if number in EXTENSIONS:
        number, follows = _extensions(c, number)
    if number == IPPROTO_NONE:
        return END
    if follows != TRUNCATED:
        c.out.append(f" proto {protocol(number)}")
    return follows


def _extensions(c: Cursor, number: int) -> tuple[int, int]:
    """Step over the extension headers, the first of which has this number: ` exts [..]`.

    Returns the number of what follows, which is the extension itself when nothing of it is there, and how to
    go on: a fragment after the first has nothing for a dissector.
    """
    data, end = c.data, c.end
    found: list[str] = []
    while number in EXTENSIONS and end - c.at >= 2:
        at, fragment = c.at, number == _FRAGMENT
        found.append(EXTENSIONS[number])
        # In the fragment header, the byte at the length's place is reserved (RFC 8200 4.5).
        size = 8 if fragment else 8 + data[at + 1] * 8
        if end - at < size:
            follows = TRUNCATED
            break
        number = data[at]
        c.at = at + size
        if fragment and (data[at + 2] or data[at + 3] & 0xF8):
            follows = END
            break
    else:
        follows = PROTOCOL | number
    if found:
        c.out.append(f" exts [{','.join(found)}]")
    return number, follows


def _jumbo_length(c: Cursor) -> int:
    """The payload length in the hop-by-hop options at the cursor (RFC 2675, section 2), or 0."""
    data, at = c.data, c.at + 2
    if at > c.end:
        return 0
    end = min(c.at + 8 + data[at - 1] * 8, c.end)
    while end - at >= 6:
        if data[at] == _JUMBO:
            return int.from_bytes(data[at + 2 : at + 6], "big")
        # Pad1 is the only option without a length.
        at += 2 + data[at + 1] if data[at] else 1
    return 0
