"""TCP headers with their options (RFC 9293, RFC 7323, RFC 2018, RFC 7413)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from fyke.packets.layer import END, TRUNCATED, Cursor

_HEADER = Struct("!4xIIHH4x")
_TWO_WORDS = Struct("!II")
_USUAL = b"\1\1\x08\x0a"  # what most segments have: two nop, and timestamps of ten bytes


def _flag_text(bits: int) -> str:
    """Flags in the low 8 bits, FIN first; bit 8 is AE, once NS (RFC 9768)."""
    return "".join(letter for n, letter in enumerate("FSRP.UEWe") if bits >> n & 1)


FLAGS: Final = tuple(_flag_text(bits) for bits in range(512))
ACK: Final = 0x10

_MSS, _WSCALE, _SACK, _TIMESTAMPS, _TFO = 2, 3, 5, 8, 34
_WORD: Final = frozenset((6, 7, 11, 12, 13))
"""Options whose value is one 32-bit number."""
_OPTIONS: Final[dict[int, str]] = {
    0: "eol",
    1: "nop",
    _MSS: "mss",
    _WSCALE: "wscale",
    4: "sackOK",
    _SACK: "sack",
    6: "echo",
    7: "echoreply",
    _TIMESTAMPS: "TS",
    11: "cc",
    12: "ccnew",
    13: "ccecho",
    19: "md5",
    20: "scps",
    28: "uto",
    29: "tcp-ao",
    30: "mptcp",
    _TFO: "tfo",
    254: "exp",
}


def dissect(c: Cursor) -> int:
    """` flags [..] seq A[:B][ ack N] win N[ [options]]`; B: A plus the payload's claimed length."""
    at = c.at
    if c.end - at < 20:
        return TRUNCATED
    seq, ack, bits, window = _HEADER.unpack_from(c.data, at)
    header = (bits >> 12) * 4
    payload = c.until - at - header
    # Sequence numbers wrap.
    until = f":{seq + payload & 0xFFFFFFFF}" if payload > 0 else ""
    acked = f" ack {ack}" if bits & ACK else ""
    extra = f" [{options(c.data, at + 20, min(at + header, c.end))}]" if header > 20 else ""
    c.out.append(f" flags [{FLAGS[bits & 0x1FF]}] seq {seq}{until}{acked} win {window}{extra}")
    return END


def options(data: bytes, at: int, end: int) -> str:
    """The options in `data[at:end]`. A length below two counts as two; a value ends where the options do."""
    if end - at == 12 and data[at : at + 4] == _USUAL:
        val, ecr = _TWO_WORDS.unpack_from(data, at + 4)
        return f"nop,nop,TS val {val} ecr {ecr}"
    found: list[str] = []
    while at < end:
        kind = data[at]
        at += 1
        if kind <= 1:
            found.append("nop" if kind else "eol")
            continue
        size = max(data[at] - 2, 0) if at < end else 0
        value = data[at + 1 : min(at + 1 + size, end)]
        found.append(_OPTIONS.get(kind, "?") + _value(kind, size, value))
        at += 1 + size
    return ",".join(found)


def _value(kind: int, size: int, value: bytes) -> str:
    """Text of an option's value, which claims to have `size` bytes; none when too short for its kind."""
    if kind == _TIMESTAMPS:
        if len(value) >= 8:
            val, ecr = _TWO_WORDS.unpack_from(value)
            return f" val {val} ecr {ecr}"
    elif kind == _MSS:
        if len(value) >= 2:
            return f" {value[0] << 8 | value[1]}"
    elif kind == _WSCALE:
        if value:
            return f" {value[0]}"
    elif kind == _SACK:
        if size % 8:
            return " invalid"
        whole = value[: len(value) // 8 * 8]
        return f" {size // 8} " + "".join(
            f"{{{left}:{right}}}" for left, right in _TWO_WORDS.iter_unpack(whole)
        )
    elif kind == _TFO:
        if not size:
            return " cookiereq"
        return f" cookie 0x{value.hex()}{'??' * (size - len(value))}"
    elif kind in _WORD and len(value) >= 4:
        return f" {int.from_bytes(value[:4], 'big')}"
    return ""
