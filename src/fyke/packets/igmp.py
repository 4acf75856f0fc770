"""IGMP, versions 1 to 3 (RFC 1112, RFC 2236, RFC 9776)."""

from __future__ import annotations

from socket import inet_ntoa
from struct import Struct
from typing import Final

from fyke.packets.layer import END, TRUNCATED, Cursor

_HEADER = Struct("!BBxx4s")
_QUERIER = Struct("!BBH")
"""Behind the header of a version 3 query: suppress flag and robustness, query interval code, sources."""
_RECORD = Struct("!BBH4s")
"""type, size of the auxiliary data in words, sources, group."""
_ADDRESS = 4

_QUERY, _REPORT_V3 = 0x11, 0x22
_FORMS: Final[dict[int, str]] = {0x12: "v1 report", 0x16: "v2 report", 0x17: "leave"}
_RECORDS: Final = ("UNKNOWN:0", "IS_IN", "IS_EX", "TO_IN", "TO_EX", "ALLOW", "BLOCK")
"""What RFC 9776 (4.2.13) calls them for short."""


def dissect(c: Cursor) -> int:
    """` type 0xN v2 report group G`, also `v1 report` and `leave`; other messages are a type only.

    ` type 0x11 vN query group G[ max_resp Ns]`, in version 3 with ` [S] qrv N qqi Ns[ {sources}]`; S:
    suppress router-side processing. ` type 0x22 v3 report` and ` [RECORD group[ {sources}]]` for each record.
    """
    at = c.at
    if c.end - at < 4:
        return TRUNCATED
    kind = c.data[at]
    if kind not in _FORMS and kind not in (_QUERY, _REPORT_V3):
        c.out.append(f" type 0x{kind:x}")
        return END
    if c.end - at < _HEADER.size:
        return TRUNCATED
    _, code, group = _HEADER.unpack_from(c.data, at)
    c.at = at + _HEADER.size
    if kind == _QUERY:
        return _query(c, code, inet_ntoa(group))
    if kind == _REPORT_V3:
        c.out.append(f" type 0x{kind:x} v3 report")
        return _records(c, group[2] << 8 | group[3])
    c.out.append(f" type 0x{kind:x} {_FORMS[kind]} group {inet_ntoa(group)}")
    return END


def _query(c: Cursor, code: int, group: str) -> int:
    """The version is told by the size, and 1 from 2 by the time to respond, which 1 hasn't (RFC 9776 7.1)."""
    if c.until - c.at < _QUERIER.size:
        respond = f" max_resp {code / 10:g}s" if code else ""
        c.out.append(f" type 0x11 {'v2' if code else 'v1'} query group {group}{respond}")
        return END
    c.out.append(f" type 0x11 v3 query group {group} max_resp {_time(code) / 10:g}s")
    if c.end - c.at < _QUERIER.size:
        return TRUNCATED
    bits, interval, count = _QUERIER.unpack_from(c.data, c.at)
    c.at += _QUERIER.size
    sources, follows = _sources(c, count)
    c.out.append(f" [{'S' if bits & 8 else ''}] qrv {bits & 7} qqi {_time(interval)}s{sources}")
    return follows


def _records(c: Cursor, count: int) -> int:
    for _ in range(count):
        if c.end - c.at < _RECORD.size:
            return TRUNCATED
        kind, words, size, group = _RECORD.unpack_from(c.data, c.at)
        c.at += _RECORD.size
        name = _RECORDS[kind] if kind < len(_RECORDS) else f"UNKNOWN:{kind}"
        sources, follows = _sources(c, size)
        c.out.append(f" [{name} {inet_ntoa(group)}{sources}]")
        c.at += words * 4
        if follows == TRUNCATED or c.at > c.end:
            return TRUNCATED
    return END


def _sources(c: Cursor, count: int) -> tuple[str, int]:
    """` {10.0.0.1,10.0.0.2}`, those of `count` that are there, and how to go on."""
    there = min(count, (c.end - c.at) // _ADDRESS)
    until = c.at + there * _ADDRESS
    found = [inet_ntoa(c.data[at : at + _ADDRESS]) for at in range(c.at, until, _ADDRESS)]
    c.at = until
    return f" {{{','.join(found)}}}" if found else "", END if there == count else TRUNCATED


def _time(code: int) -> int:
    """What a time's code means: from 128 on it is a small floating point number (RFC 9776 4.1.1, 4.1.7)."""
    return code if code < 128 else (code & 15 | 16) << ((code >> 4 & 7) + 3)
