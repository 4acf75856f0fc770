"""Names that may hold any byte: how they are kept in event files, and how text is shown on a terminal.

The kernel lets a task or an interface be called almost anything: escape sequences, newlines, bytes
that aren't UTF-8. Stored names lose none of it; shown text can't move a cursor or forge a line.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def name_from_bytes(raw: bytes) -> str:
    r"""Return a kernel name as it is stored: cut at the first NUL, odd bytes `\xNN`, a backslash `\\`.

    raw: the bytes of a `char[]` such as task_struct->comm or net_device->name. What is valid UTF-8 stays
    as it is, control characters included (`printable` is for showing). `name_to_bytes` gives the bytes back.
    """
    name = raw.partition(b"\0")[0]
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def name_to_bytes(text: str) -> bytes:
    r"""Return the bytes of a stored name: the inverse of `name_from_bytes`.

    A backslash that starts neither `\\` nor `\xNN` (a file made by someone else) stands for itself.
    """
    return _ESCAPED.sub(_unescaped, text.encode("utf-8", "replace"))


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else b"\\"


def printable(text: str) -> str:
    r"""Return text that is safe on a terminal, in one line.

    Every control, format, bidirectional, surrogate, private, unassigned or separator character other than
    the space is shown as `\xNN`, `\uNNNN` or `\UNNNNNNNN`; all else, backslashes included, is unchanged.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _code(ord(c)) for c in text)


def _code(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
