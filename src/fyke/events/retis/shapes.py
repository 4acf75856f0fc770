"""Shapes: what lines of the same keys in the same order have in common, and which of their values go where.

Retis writes its events with the same keys in the same order again and again: but for numbers and the insides
of strings, thousands of lines are equal byte for byte. A shape is learned from one such line. Which value
belongs in which column is not known here: the exact way (`exact.py`) is asked, with a copy of the event in
which the values are numbered.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fyke.events.column import Column
from fyke.events.retis import connections, left
from fyke.events.retis.bad_event import BadEvent
from fyke.events.retis.exact import Converter, Fraction, is_startup, no_number
from fyke.events.retis.lines import PIECE, Block, Places
from fyke.events.retis.rows import Row
from fyke.events.retis.scan import Flags
from fyke.events.retis.texts import Ending, ending
from fyke.events.schema import HEADER, sections

MAX_LENGTH = 1 << 16  # bytes of an event that a shape is learned from
TRACKING_INDEX = ("tracking", "idx")  # stands among the columns for an event's place in Retis' series

# A string with what tells a key; a number; a word. In JSON, in a line without backslashes.
_TOKEN = re.compile(rb'"[^"]*"([ \t]*:)?|-?[0-9][-+.0-9eE]*|true|false|null')
_WHOLE = re.compile(rb"0|[1-9][0-9]{0,19}")
_FAMILY = f'"{connections.VERSION}"'.encode()  # its value says what others mean
_FIRST = 1 << 80  # stands for the first number of a line: no column holds it

Key = tuple[str, str]  # a section and a column; of the header: "" and a column


class Unfit(Exception):
    """No shape can be made of this line."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Bytes of literals, at most `PIECE` at a time, each filled up with zeros.

    literals, offsets: where each is. words: their bytes by eight, piece after piece. masks: which of these
    bytes are a literal's.
    """

    literals: Places
    offsets: Places
    words: npt.NDArray[np.uint64]
    masks: npt.NDArray[np.uint64]

    def found(self, block: Block, begins: Places) -> Flags:
        """Say for each event whether they are in it. begins: of its literals, none outside of the block."""
        places = begins.take(self.literals, axis=1)
        places += self.offsets
        found = block.pieces[places].view(np.dtype("<u8"))
        found &= self.masks
        return whole_rows(found == self.words)


@dataclass(frozen=True, eq=False)
class Shape:
    """A kind of event: `literals[0] value literals[1] value ... literals[-1]`.

    texts, lengths: of the literals. quotes: how many quotes it has. anchors: which quote, from 0, is the
    first of each literal; offsets: bytes from the literal's begin to that quote. The last literal may have
    none: `anchors` then has one less. whole: all bytes of the literals. some: a few of them. numbers,
    strings: which values are what.
    columns: key -> the value's place in `numbers` or `strings` (of a list: places), or what is the same in
    all these events. sections: those that the event has. told_place: it says itself where in a journey
    it is, or that it is nowhere. ending: where there is room for that.
    """

    texts: tuple[bytes, ...]
    lengths: Places
    quotes: int
    anchors: Places
    offsets: Places
    some: Pieces
    whole: Pieces
    numbers: Places
    strings: Places
    columns: dict[Key, Any]
    sections: tuple[str, ...]
    told_place: bool
    ending: Ending

    def find(
        self, block: Block, quotes: Places, first_quotes: Places, starts: Places, ends: Places
    ) -> tuple[Flags, Places]:
        """Say which events are of this shape, and where their literals begin (of those events only).

        quotes: where quotes are, those of an event one after the other; first_quotes: the place of each
        event's first among them; starts, ends: of the events. All of them have as many quotes as the shape.
        The second array has a row an event and a column a literal. Numbers have not been looked at.
        """
        begins = self._begins(quotes, first_quotes, ends)
        same = (begins[:, 0] == starts) & (begins[:, -1] + self.lengths[-1] == ends)
        same &= whole_rows(begins[:, :-1] + self.lengths[:-1] <= begins[:, 1:])
        for pieces in (self.some, self.whole):  # some tell most others
            here = begins if same.all() else begins[same]
            same[same] = pieces.found(block, here)
        return same, begins if same.all() else begins[same]

    def _begins(self, quotes: Places, first_quotes: Places, ends: Places) -> Places:
        begins = np.empty((len(first_quotes), len(self.lengths)), np.int64)
        anchored = len(self.anchors)
        begins[:, :anchored] = quotes[first_quotes[:, None] + self.anchors] - self.offsets
        if anchored < len(self.lengths):
            begins[:, -1] = ends - self.lengths[-1]
        return begins


def whole_rows(flags: Flags) -> Flags:
    """Say which rows are true throughout. Mostly all are, which is told in a tenth of the time."""
    if flags.all():
        return np.ones(len(flags), np.bool_)
    whole: Flags = np.logical_and.reduce(flags, axis=1)
    return whole


@dataclass
class _Value:
    """A value that may differ between lines of a shape: where it is in the line it was learned from."""

    start: int
    end: int
    is_number: bool


def learn(line: bytes, converter: Converter) -> Shape:
    """Return the shape of one event. Raises Unfit.

    line: JSON of one event, in printable ASCII without backslashes; may be wrong in any way.
    """
    if len(line) > MAX_LENGTH:
        raise Unfit
    try:
        event = json.loads(line, object_pairs_hook=_object, parse_float=Fraction, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise Unfit from error
    numbered: list[_Value] = []
    marked = _marked(event, iter(_values(line)), numbered)
    if not isinstance(marked, dict) or is_startup(marked):
        raise Unfit
    try:
        row = converter.row(marked, Counter())
    except BadEvent as error:
        raise Unfit from error
    if left.SECTION in row:
        raise Unfit  # kept as it is
    columns = _columns(row, numbered)
    tracking = marked.get("tracking")
    if isinstance(tracking, dict) and "idx" in tracking:
        columns[TRACKING_INDEX] = _place(tracking["idx"], "uint32", numbered)
    try:
        room = ending(event, line, converter.row(event, Counter()))
    except BadEvent as error:
        raise Unfit from error
    return _shape(line, numbered, columns, row, room)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _values(line: bytes) -> list[_Value | None]:
    """Return the scalars of a line in order; None for one that is part of the shape."""
    values: list[_Value | None] = []
    key = b""
    for match in _TOKEN.finditer(line):
        token = match[0]
        if token.startswith(b'"'):
            if match[1] is not None:
                key = token
            elif key.startswith(_FAMILY):
                values.append(None)
            else:
                values.append(_Value(match.start() + 1, match.end() - 1, is_number=False))
        elif _WHOLE.fullmatch(token):
            values.append(_Value(match.start(), match.end(), is_number=True))
        else:
            values.append(None)
    return values


def _marked(node: Any, tokens: Iterator[_Value | None], seen: list[_Value]) -> Any:
    """Return JSON in which each value that may differ is its number: `_FIRST` + N, or a string of N."""
    if isinstance(node, dict):
        return {key: _marked(value, tokens, seen) for key, value in node.items()}
    if isinstance(node, list):
        return [_marked(value, tokens, seen) for value in node]
    value = next(tokens)
    if value is None:
        return node
    seen.append(value)
    number = len(seen) - 1
    return _FIRST + number if value.is_number else f"{number:08}"  # base64, too


def _columns(row: Row, slots: list[_Value]) -> dict[Key, Any]:
    """Return what goes where in a row of numbered values, as in `Shape.columns`. Raises Unfit."""
    columns: dict[Key, Any] = {}
    for column in HEADER:
        if row.get(column.name) is not None:
            columns["", column.name] = _placed(row[column.name], column, slots)
    for section in sections():
        values = row.get(section.name) or {}
        for column in section.columns:
            if values.get(column.name) is not None:
                columns[section.name, column.name] = _placed(values[column.name], column, slots)
    return columns


def _placed(value: Any, column: Column, slots: list[_Value]) -> Any:
    if column.type != "list<string>":
        return _place(value, column.type, slots)
    return [_place(item, "string", slots) for item in value]


def _place(value: Any, kind: str, slots: list[_Value]) -> Any:
    """Return the place of a numbered value among the numbers or strings; or a value that is always the same.

    Raises Unfit when a column of this type doesn't take it, or nobody knows what it is.
    """
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise Unfit
    if isinstance(value, connections.Known):
        return value
    if kind == "binary" and isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    number = -1
    if kind in ("string", "binary"):
        if isinstance(value, str) and re.fullmatch("[0-9]{8}", value):
            number = int(value)
    elif type(value) is int:
        number = value - _FIRST
    if not 0 <= number < len(slots) or slots[number].is_number != (kind not in ("string", "binary")):
        raise Unfit
    return sum(slot.is_number == slots[number].is_number for slot in slots[:number])


def _shape(line: bytes, slots: list[_Value], columns: dict[Key, Any], row: Row, room: Ending) -> Shape:
    begins = [0, *(slot.end for slot in slots)]
    ends = [*(slot.start for slot in slots), len(line)]
    literals = [line[begin:end] for begin, end in zip(begins, ends, strict=True)]
    counts = [literal.count(b'"') for literal in literals]
    if 0 in counts[:-1]:
        raise Unfit  # between two numbers of a list
    anchored = len(literals) if counts[-1] else len(literals) - 1
    anchors = np.cumsum([0, *counts])[:anchored]
    whole = [
        (n, at, text[at : at + PIECE]) for n, text in enumerate(literals) for at in range(0, len(text), PIECE)
    ]
    return Shape(
        texts=tuple(literals),
        lengths=np.array([len(literal) for literal in literals], np.int64),
        quotes=sum(counts),
        anchors=anchors.astype(np.int64),
        offsets=np.array([literal.index(b'"') for literal in literals[:anchored]], np.int64),
        some=_pieces(whole[:: len(whole) // 5 + 1]),
        whole=_pieces(whole),
        numbers=np.array([n for n, slot in enumerate(slots) if slot.is_number], np.int64),
        strings=np.array([n for n, slot in enumerate(slots) if not slot.is_number], np.int64),
        columns=columns,
        sections=tuple(name for name, values in row.items() if isinstance(values, dict)),
        told_place="journey" in row,
        ending=room,
    )


def _pieces(parts: list[tuple[int, int, bytes]]) -> Pieces:
    """Return pieces. parts: literal, offset in it, bytes."""
    words = b"".join(text.ljust(PIECE, b"\0") for _, _, text in parts)
    masks = b"".join((b"\xff" * len(text)).ljust(PIECE, b"\0") for _, _, text in parts)
    return Pieces(
        literals=np.array([n for n, _, _ in parts], np.int64),
        offsets=np.array([at for _, at, _ in parts], np.int64),
        words=np.frombuffer(words, "<u8"),
        masks=np.frombuffer(masks, "<u8"),
    )
