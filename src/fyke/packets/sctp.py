"""SCTP and its chunks (RFC 9260)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from fyke.packets.layer import END, TRUNCATED, Cursor

_HEADER = 12
_CHUNK = Struct("!BBH")

_FORMS: Final[dict[int, tuple[Struct, str]]] = {
    0: (Struct("!IHHI"), " TSN {} SID {} SSEQ {} PPID 0x{:x}"),
    1: (Struct("!IIHHI"), " init_tag 0x{:x} rwnd {} OS {} MIS {} init_TSN {}"),
    2: (Struct("!IIHHI"), " init_tag 0x{:x} rwnd {} OS {} MIS {} init_TSN {}"),
    3: (Struct("!IIHH"), " cum_ack {} a_rwnd {} #gap_acks {} #dup_tsns {}"),
}
"""Fixed fields of the chunks whose fields are shown."""

_CHUNKS: Final = (
    "DATA",
    "INIT",
    "INIT_ACK",
    "SACK",
    "HEARTBEAT",
    "HEARTBEAT_ACK",
    "ABORT",
    "SHUTDOWN",
    "SHUTDOWN_ACK",
    "ERROR",
    "COOKIE_ECHO",
    "COOKIE_ACK",
    "ECNE",
    "CWR",
    "SHUTDOWN_COMPLETE",
)

_DATA_FLAGS = ("", " (E)", " (B)", " (BE)", " (U)", " (UE)", " (UB)", " (UBE)")


def dissect(c: Cursor) -> int:
    """` vtag 0xN`, then ` [CHUNK fields]` for each, as far as the IP header says that there are some."""
    data, at, end = c.data, c.at, c.end
    if end - at < _HEADER:
        return TRUNCATED
    c.out.append(f" vtag 0x{int.from_bytes(data[at + 4 : at + 8], 'big'):x}")
    claimed = c.until - at - _HEADER
    at += _HEADER
    while claimed > 0:
        if end - at < _CHUNK.size:
            return TRUNCATED
        kind, flags, size = _CHUNK.unpack_from(data, at)
        # Chunks are padded to four bytes, which their length doesn't count; it does count the chunk's header.
        padded = size + 3 & ~3
        fields = _fields(kind, data, at + _CHUNK.size, min(at + padded, end))
        if fields is None:
            return TRUNCATED
        name = _CHUNKS[kind] if kind < len(_CHUNKS) else f"UNKNOWN:{kind}"
        mark = _DATA_FLAGS[flags & 7] if kind == 0 else ""
        c.out.append(f" [{name}{mark}{fields}]")
        # A length of 0 still steps over the chunk's header, but leaves the packet incomplete.
        at += max(padded, _CHUNK.size)
        claimed -= padded
    return END


def _fields(kind: int, data: bytes, at: int, end: int) -> str | None:
    """Text of the fields in `data[at:end]`; none when they don't fit in there."""
    form = _FORMS.get(kind)
    if form is None:
        return ""
    layout, text = form
    return text.format(*layout.unpack_from(data, at)) if end - at >= layout.size else None
