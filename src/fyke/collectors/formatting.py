"""How a collector turns its columns into text: the contract of every `collectors/*/format.py`.

A format module has `PARTS`, each a piece of an event's text made by a plain function of the values of a
few columns. The function is called once for each distinct combination of values, never once an event:
`fyke.render` finds the distinct ones, remembers their text and puts it where `place` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module
from typing import Any

from fyke.events.escape import printable

PAINT = {
    "drop": "31",
    "loss": "33",
    "symbol": "1",
}  # what may be coloured -> SGR parameters (ECMA-48, 8.3.117)


@dataclass(frozen=True, slots=True)
class Style:
    """How the user wants events shown.

    multi_line: one line a section, else one line an event. link_layer: show link-layer headers (`-e`).
    utc_offset_ns: what to add to a timestamp to get nanoseconds since the Unix epoch; None shows the
    timestamp itself, nanoseconds of the monotonic clock. color: put SGR escapes around what matters most.
    """

    multi_line: bool = True
    link_layer: bool = False
    utc_offset_ns: int | None = None
    color: bool = False

    @property
    def separator(self) -> str:
        """What stands between an event's first line and each section that has a line to itself."""
        return "\n  " if self.multi_line else " "

    def paint(self, text: str, what: str) -> str:
        """Return the text in the colour of `what` (a key of PAINT) when colours are wanted."""
        return f"\x1b[{PAINT[what]}m{text}\x1b[0m" if self.color else text


class Place(IntEnum):
    """Where a part stands in an event's text; parts of one place are in the order of the collectors."""

    HEAD = 0  # right after the timestamp
    ID = 1  # on the first line: which packet it is; its number in the journey follows
    FIRST_LINE = 2  # on the first line, after that
    STACK = 3
    PACKET = 4  # a line to itself from here on
    NETNS = 5
    DEV = 6  # on the line of NETNS where there is one
    SKB = 7
    REST = 8


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an event's text.

    columns: `section.column` names whose values the text is made of, in the order of the function's
    arguments; all of a section's values are None where an event hasn't the section.
    text: (style, *values) -> the text, None for nothing. It escapes what came from the kernel or the file.
    many: (style, *arrays) -> an array of the texts of many at once, null where `text` is to be asked.
    """

    place: Place
    columns: tuple[str, ...]
    text: Callable[..., str | None]
    many: Callable[..., Any] | None = None


def all_parts() -> tuple[Part, ...]:
    """Return the parts of every collector, in the order in which they stand in an event's text."""
    from fyke.collectors import COLLECTORS

    modules = [import_module(f"fyke.collectors.{c.name.replace('-', '_')}.format") for c in COLLECTORS]
    found = [part for module in modules for part in module.PARTS]
    return tuple(sorted(found, key=lambda part: part.place))


def shown(value: str | None, missing: str = "?") -> str:
    """Return a name from the kernel or a file, safe to show; `missing` where it isn't known."""
    return missing if value is None else printable(value)
