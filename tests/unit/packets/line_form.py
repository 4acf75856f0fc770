"""How a form of text is read: a pattern, and a function that takes fields from what it found."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

Value = int | str
Found = re.Match[str]
Add = Callable[[str, Value], None]
"""Takes a field's name, as tshark has it, and a value."""
Reader = Callable[[Found, Add], None]

FORMS: Final[list[tuple[re.Pattern[str], Reader]]] = []

START = r"(?<![^ ])"
"""Where a word begins."""
V4 = r"\d+\.\d+\.\d+\.\d+"


def form(pattern: str) -> Callable[[Reader], Reader]:
    """Reads all texts of this pattern with the decorated function."""

    def register(reader: Reader) -> Reader:
        FORMS.append((re.compile(pattern), reader))
        return reader

    return register


def plain(pattern: str, **fields: tuple[str, int]) -> None:
    """Reads texts whose groups are numbers: of each group, the field's name and the number's base."""

    @form(pattern)
    def read(m: Found, add: Add) -> None:
        for group, (name, base) in fields.items():
            add(name, int(m[group], base))


def numbered(name: str, names: Sequence[str], *, first: int = 0) -> int:
    """The number of a name, or that in `UNKNOWN:9`."""
    return first + names.index(name) if name in names else int(name.removeprefix("UNKNOWN:"))
