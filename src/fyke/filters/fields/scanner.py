"""Going through the text of an expression, and telling where in it a mistake is."""

from __future__ import annotations

import re
from typing import NoReturn

from fyke.errors import UsageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANKS = re.compile(r"[ \t\r\n]*")
_SHOWN = 76  # characters of the expression shown around a mistake


class Scanner:
    """A text and the place in it that is looked at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next_is(self, sign: str) -> bool:
        """Say whether a sign is next."""
        return self.text.startswith(sign, self.at)

    def sign(self, sign: str) -> bool:
        """Go behind a sign, if it is next."""
        if not self.next_is(sign):
            return False
        self.skip(self.at + len(sign))
        return True

    def keyword(self, word: str) -> bool:
        """Go behind a whole word, if it is next."""
        match = NAME.match(self.text, self.at)
        if match is None or match[0] != word:
            return False
        self.skip(match.end())
        return True

    def blanks(self) -> None:
        """Go behind blanks."""
        self.skip(self.at)

    def skip(self, to: int) -> None:
        """Go to a place, and behind the blanks there."""
        match = _BLANKS.match(self.text, to)
        self.at = match.end() if match else to

    def fail(self, sentence: str, at: int | None = None, hint: str = "") -> NoReturn:
        """Raise the error, with the expression and a caret below the place (here by default)."""
        at = self.at if at is None else at
        start = max(0, at - _SHOWN // 2)
        shown = printable(self.text[start : start + _SHOWN])
        before = "..." if start else ""
        after = "..." if start + _SHOWN < len(self.text) else ""
        caret = " " * (len(before) + at - start) + "^"
        place = f"  {before}{shown}{after}\n  {caret}"
        raise UsageError(f"field filter, character {at + 1}: {sentence}\n{place}", hint)


def printable(text: str) -> str:
    """Return a text in which each character is printed as one."""
    return "".join(char if char.isprintable() else "?" for char in text)
