"""Columns of a batch that is made of many shapes: values are put in place by number, then made Arrow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.events.nulls import nulls
from fyke.events.retis.connections import Known
from fyke.events.retis.lines import Block, Places
from fyke.events.retis.scan import Flags, Numbers, are_base64, bitmap, decoded, packed, strings
from fyke.events.retis.shapes import TRACKING_INDEX, Key, Shape
from fyke.events.schema import HEADER, JOURNEY, sections


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of some types, numbered. places: key -> number. limits: the largest value of each."""

    places: dict[Key, int]
    limits: Numbers


def _keys() -> Iterator[tuple[Key, str]]:
    for column in HEADER:
        yield ("", column.name), column.type
    for section in sections():
        for column in section.columns:
            yield (section.name, column.name), column.type
    yield TRACKING_INDEX, "uint32"


def _largest(kind: str) -> int:
    bits = int(kind.removeprefix("u").removeprefix("int"))
    largest: int = 2**bits - 1 if kind.startswith("u") else 2 ** (bits - 1) - 1
    return largest


_NUMBERS = [(key, _largest(kind)) for key, kind in _keys() if kind.lstrip("u").startswith("int")]
NUMBERS = Columns(
    {key: place for place, (key, _) in enumerate(_NUMBERS)},
    np.array([*(limit for _, limit in _NUMBERS), 2**64 - 1], np.uint64),
)
NO_COLUMN = len(_NUMBERS)  # of a number that goes nowhere
STRINGS = frozenset(key for key, kind in _keys() if kind in ("string", "binary"))
BOOLS = frozenset(key for key, kind in _keys() if kind == "bool")
LISTS = frozenset(key for key, kind in _keys() if kind == "list<string>")


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one shape, and their values.

    numbers: a row a number of the shape, a column a row of the table. starts, ends: of strings in the block,
    the other way round.
    """

    shape: Shape
    rows: Places
    numbers: Numbers
    starts: Places
    ends: Places


class Table:
    """Rows of a batch.

    block: where strings are. parts: every row is in one. wanted: the top-level columns to make; others become
    null. series, positions: in sorted files the number of each row's series, whose rows stand together, and
    the row's place in it.
    """

    def __init__(
        self,
        block: Block,
        parts: list[Part],
        wanted: Collection[str],
        series: Places | None,
        positions: Places,
    ) -> None:
        self._block = block
        self._wanted = wanted
        self._parts = parts
        self._rows = sum(len(part.rows) for part in parts)
        ends = np.cumsum([0, *(len(part.rows) for part in parts)]).tolist()
        # Columns are filled part after part, then put in order.
        self._slices = [slice(start, end) for start, end in pairwise(ends)]
        self._order = np.empty(self._rows, np.int64)  # for each row its place among the parts
        self._part = np.empty(self._rows, np.int64)  # of each row
        for number, (part, places) in enumerate(zip(parts, self._slices, strict=True)):
            self._order[part.rows] = np.arange(places.start, places.stop)
            self._part[part.rows] = number
        self._keys = {key for part in parts for key in part.shape.columns}
        self._flags: dict[tuple[bool, ...], Flags] = {}  # of rows, by what is so of their parts
        self._bitmaps: dict[int, tuple[Flags, pa.Buffer | None]] = {}
        self._placed: dict[Key, tuple[Numbers, Flags]] = {}
        if series is not None:
            self._place(series, positions)

    def batch(self, schema: pa.Schema) -> tuple[pa.RecordBatch, Flags]:
        """Return the rows, and which of them are right: of the others the base64 isn't."""
        self._right = np.ones(self._rows, np.bool_)
        columns = []
        for field in schema:
            if field.name not in self._wanted:
                self._check(field)
                columns.append(nulls(self._rows, field.type))
                continue
            if not pa.types.is_struct(field.type):
                columns.append(self._column(("", field.name), field.type))
                continue
            present = self._present(field.name)
            if not present.any():
                columns.append(nulls(self._rows, field.type))
                continue
            members = [self._column((field.name, f.name), f.type) for f in field.type.fields]
            columns.append(
                pa.Array.from_buffers(field.type, self._rows, [self._bitmap(present)], children=members)
            )
        return pa.RecordBatch.from_arrays(columns, schema=schema), self._right

    def _place(self, series: Places, positions: Places) -> None:
        """Give events of series their place in the journey, where they don't say it themselves."""
        self._untold = ~self._where(part.shape.told_place for part in self._parts)
        index, has_index = self._number(TRACKING_INDEX, np.uint64)
        skb, has_skb = self._number(("skb_tracking", "skb"), np.uint64)
        rows = np.flatnonzero(self._untold)
        self._set("id", rows, series[rows])
        self._set("index", rows, np.where(has_index[rows], index[rows], positions[rows]))
        rows = rows[has_skb[rows] & (skb[rows] != 0)]
        self._set("clone", rows, _by_first_sight(series[rows], skb[rows]))

    def _set(self, column: str, rows: Places, values: npt.NDArray[np.generic]) -> None:
        key = (JOURNEY.name, column)
        numbers, there = self._number(key, np.uint64)
        numbers[rows] = values
        there = there.copy()
        there[rows] = True
        self._placed[key] = numbers, there
        self._keys.add(key)

    def _where(self, flags: Iterable[bool]) -> Flags:
        """Return for each row what is so of all rows of its part."""
        of_parts = tuple(flags)
        if of_parts not in self._flags:
            self._flags[of_parts] = np.array(of_parts, np.bool_).take(self._part)
        return self._flags[of_parts]

    def _bitmap(self, there: Flags) -> pa.Buffer | None:
        """Return what `bitmap` does; many columns are there where others are."""
        made = self._bitmaps.get(id(there))
        if made is None:
            made = self._bitmaps[id(there)] = there, bitmap(there)
        return made[1]

    def _present(self, section: str) -> Flags:
        present = self._where(section in part.shape.sections for part in self._parts)
        return present | self._untold if section == JOURNEY.name and self._placed else present

    def _there(self, key: Key) -> Flags:
        return self._where(key in part.shape.columns for part in self._parts)

    def _check(self, section: pa.Field) -> None:
        """Find wrong base64 in a section that isn't wanted: it is damage to everyone."""
        for field in section.type.fields if pa.types.is_struct(section.type) else ():
            key = (section.name, field.name)
            if pa.types.is_binary(field.type) and key in self._keys:
                self._right &= are_base64(self._text(key), self._there(key))

    def _column(self, key: Key, kind: pa.DataType) -> pa.Array:
        if key not in self._keys:
            return nulls(self._rows, kind)
        if key in LISTS:
            return self._list(key, kind)
        if key in BOOLS:
            values, there = self._filled(key, np.bool_, lambda _, value: value), self._there(key)
            return pa.Array.from_buffers(kind, self._rows, [self._bitmap(there), packed(values)])
        if key in STRINGS and pa.types.is_binary(kind):
            data, right = decoded(self._text(key), self._there(key))
            self._right &= right
            return data
        if key in STRINGS:
            return self._text(key)
        numbers, there = self._number(key, kind.to_pandas_dtype())
        return pa.Array.from_buffers(kind, self._rows, [self._bitmap(there), pa.py_buffer(numbers)])

    def _filled(self, key: Key, kind: npt.DTypeLike, values: Callable[[Part, Any], Any]) -> npt.NDArray[Any]:
        """Return a column of any type. values: those of a part, by what its shape says of the column."""
        found = np.zeros(self._rows, kind)
        for part, places in zip(self._parts, self._slices, strict=True):
            place = part.shape.columns.get(key)
            if place is not None:
                found[places] = values(part, place)
        return found.take(self._order)

    def _number(self, key: Key, kind: npt.DTypeLike) -> tuple[npt.NDArray[Any], Flags]:
        if key in self._placed:
            numbers, there = self._placed[key]
            return numbers.astype(kind), there
        return self._filled(
            key, kind, lambda part, place: place if isinstance(place, Known) else part.numbers[place]
        ), self._there(key)

    def _text(self, key: Key) -> pa.StringArray:
        starts, ends = (
            self._filled(key, np.int64, lambda part, place: part.starts[:, place]),
            self._filled(key, np.int64, lambda part, place: part.ends[:, place]),
        )
        return strings(self._block, starts, ends, self._there(key))

    def _list(self, key: Key, kind: pa.DataType) -> pa.Array:
        lengths = np.zeros(self._rows, np.int64)
        parts = [(part, part.shape.columns[key]) for part in self._parts if key in part.shape.columns]
        for part, places in parts:
            lengths[part.rows] = len(places)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        begins, ends = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1], np.int64)
        for part, places in parts:
            items = offsets[part.rows][:, None] + np.arange(len(places))
            begins[items], ends[items] = part.starts[:, places], part.ends[:, places]
        texts = strings(self._block, begins, ends, np.ones(len(begins), np.bool_))
        buffers = [self._bitmap(self._there(key)), pa.py_buffer(offsets.astype(np.int32))]
        return pa.Array.from_buffers(kind, self._rows, buffers, children=[texts])


def _by_first_sight(series: Places, values: Numbers) -> Places:
    """Return for each value its number among the different ones of its series, in order of first sight."""
    order = np.lexsort((np.arange(len(values)), values, series))
    new = np.ones(len(order), np.bool_)
    new[1:] = (series[order[1:]] != series[order[:-1]]) | (values[order[1:]] != values[order[:-1]])
    first_seen = order[new][np.cumsum(new) - 1] if len(order) else order
    first = np.empty(len(order), np.int64)
    first[order] = first_seen
    is_first = first == np.arange(len(order))
    seen = np.cumsum(is_first)
    before = np.zeros(len(order), np.int64)
    starts = np.flatnonzero(np.concatenate(([True], series[1:] != series[:-1]))) if len(order) else order
    if len(order):
        before = np.repeat(seen[starts] - 1, np.diff(np.append(starts, len(order))))
    return seen[first] - 1 - before if len(order) else order
