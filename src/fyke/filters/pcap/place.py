"""Where in an expression the error is: libpcap doesn't say.

Its parser is asked again, with fewer of the words: the first word after which nothing that follows could help
is the wrong one.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_SEARCHED = 1_000  # characters: every try costs a compilation
MAX_DEPTH = 20

# The words as libpcap's scanner cuts them: addresses with colons, escaped names, names and numbers, signs.
_TOKEN = re.compile(
    r"""(?:[0-9A-Fa-f]{0,4}:){2,}[0-9A-Fa-f.]* | \\[^\s!()]+ | [A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])?
    | << | >> | [<>!=]= | && | \|\| | \S""",
    re.VERBOSE,
)

# What may follow the beginning of an expression: one of these, and what closes the brackets.
_HEADS = (
    "",
    "tcp",
    "1",
    "1.1.1.1",
    "1:1:1:1:1:1",
    "proto 1",
    "1-2",
    "[0",
    "0 = 1",
    "type mgt",
    "dst host 1.1.1.1",
    "mgt",
    "pass",
)
_CLOSING = {"(": ")", "[": "]"}

ReasonOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression, and where it begins. Empty: the end."""

    at: int
    text: str


def tokens(text: str) -> list[Token]:
    """Cut an expression into its words."""
    return [Token(match.start(), match[0]) for match in _TOKEN.finditer(text)]


def find_place(text: str, reason: str, reason_of: ReasonOf) -> Token | None:
    """Return the word at which `reason` arises, or None when it can't be told.

    reason_of: says why another expression isn't accepted; None: it is.
    """
    words = tokens(text)
    named = re.match("unknown .*['\"](.+)['\"]", reason)
    if named:
        return next((word for word in words if word.text.removeprefix("\\") == named[1]), None)
    if len(text) > MAX_SEARCHED:
        return None
    reasons = {reason, "syntax error", "syntax error in filter expression"}
    texts = [_without_lookup(word.text, reason_of) for word in words]
    low, high = 0, len(words) + 1  # the first `low` words are right; there is no telling of `high`
    while high - low > 1:
        count = (low + high) // 2
        if _may_go_on(texts[:count], reasons, reason_of):
            low = count
        else:
            high = count
    return words[low] if low < len(words) else Token(len(text.rstrip()), "")


def pointed(text: str, place: Token | None) -> str:
    """Return text to end a message with: the line of the expression and a caret below the place."""
    if place is None:
        return ""
    begin = text.rfind("\n", 0, place.at) + 1
    line = re.sub(r"\s", " ", text[begin:].split("\n", 1)[0])
    column = place.at - begin
    cut = max(0, column - 60)
    where = "at the end" if not place.text else f"at character {place.at + 1}"
    return f", {where}:\n  {line[cut : cut + 100]}\n  {' ' * (column - cut)}^"


def _may_go_on(words: list[str], reasons: set[str], reason_of: ReasonOf) -> bool:
    """Return whether the expression could go on after these words without one of the reasons against it."""
    opened = _opened(words)
    if opened is None:
        return False
    begun = " ".join(words)
    return any(reason_of(begun + rest) not in reasons for rest in _rests(opened))


def _opened(words: list[str]) -> list[str] | None:
    """Return the brackets that are still open; None when they don't match."""
    opened: list[str] = []
    for word in words:
        if word in _CLOSING:
            opened.append(word)
        elif word in _CLOSING.values() and (not opened or _CLOSING[opened.pop()] != word):
            return None
    return opened


def _rests(opened: list[str]) -> Iterator[str]:
    """Yield ways to end an expression: the closing brackets, with a comparison after one of them or none."""
    for head in _HEADS:
        closing = [_CLOSING[bracket] for bracket in reversed(opened + (["["] if head == "[0" else []))]
        yield " ".join(["", head, *closing])
        for inner in range(min(len(closing), MAX_DEPTH) + 1):
            yield " ".join(["", head, *closing[:inner], "= 1", *closing[inner:]])


def _without_lookup(word: str, reason_of: ReasonOf) -> str:
    """Return a word, or in place of what may be a host's name one that needs no DNS.

    Services and protocols are looked up in files; words of the language aren't names.
    """
    if not word[0].isalpha() or not (reason_of(f"port {word}") or "").startswith("unknown port"):
        return word
    try:
        socket.getprotobyname(word)
    except OSError:
        return "localhost"
    return word
