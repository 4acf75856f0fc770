"""Columns of a batch that is made of many shapes: values are put in place by number, then made Arrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.events.nulls import nulls
from fyke.events.retis.connections import Known
from fyke.events.retis.lines import Block, Places
from fyke.events.retis.scan import Flags, Numbers, bitmap, decoded, packed, strings
from fyke.events.retis.shapes import TRACKING_INDEX, Key, Shape
from fyke.events.schema import HEADER, sections


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
STRINGS = {key: place for place, key in enumerate(k for k, kind in _keys() if kind in ("string", "binary"))}
BOOLS = {key: place for place, key in enumerate(k for k, kind in _keys() if kind == "bool")}
LISTS = frozenset(key for key, kind in _keys() if kind == "list<string>")
_Strings = tuple[Places, Places, Places]  # rows of one shape; where the strings of their lists begin and end
_SECTIONS = {section.name: place for place, section in enumerate(sections())}


class Table:
    """Rows of a batch, being filled.

    block: where strings are. rows: how many. wanted: the top-level columns to make; others become null.
    """

    def __init__(self, block: Block, rows: int, wanted: Collection[str]) -> None:
        self._block = block
        self._rows = rows
        self._wanted = wanted
        self._numbers = np.zeros((NO_COLUMN + 1, rows), np.uint64)
        self._has_number = np.zeros(self._numbers.shape, np.bool_)
        self._starts = np.zeros((len(STRINGS), rows), np.int64)
        self._ends = np.zeros_like(self._starts)
        self._bools = np.zeros((len(BOOLS), rows), np.bool_)
        self._has_bool = np.zeros_like(self._bools)
        self._sections = np.zeros((len(_SECTIONS), rows), np.bool_)
        self._told = np.zeros(rows, np.bool_)
        self._lists: dict[Key, list[_Strings]] = {}

    def set_numbers(self, columns: Places, rows: Places, values: Numbers) -> None:
        """Put numbers into columns of `NUMBERS`, or nowhere (`NO_COLUMN`)."""
        self._numbers[columns, rows] = values
        self._has_number[columns, rows] = True

    def set_shape(self, shape: Shape, rows: Places, starts: Places, ends: Places) -> None:
        """Put in place what a shape says of rows, and their strings: a row an event, a column a string."""
        for section in shape.sections:
            self._sections[_SECTIONS[section], rows] = True
        self._told[rows] = shape.told_place
        for key, place in shape.columns.items():
            if key in LISTS:
                strings_of_rows = (rows, starts[:, place], ends[:, place])
                self._lists.setdefault(key, []).append(strings_of_rows)
            elif key in BOOLS:
                self._bools[BOOLS[key], rows] = place
                self._has_bool[BOOLS[key], rows] = True
            elif isinstance(place, Known):
                self._numbers[NUMBERS.places[key], rows] = place
                self._has_number[NUMBERS.places[key], rows] = True
            elif key in STRINGS:
                self._starts[STRINGS[key], rows] = starts[:, place]
                self._ends[STRINGS[key], rows] = ends[:, place]

    def set_places(self, series: Places, positions: Places) -> None:
        """Give events of series their place in the journey, where they don't say it themselves.

        series: the number of each row's series; rows of one stand together. positions: places in the series.
        """
        rows = np.flatnonzero(~self._told)
        index, has_index = self._number(TRACKING_INDEX)
        skb, has_skb = self._number(("skb_tracking", "skb"))
        self._sections[_SECTIONS["journey"], rows] = True
        self._set("id", rows, series[rows])
        self._set("index", rows, np.where(has_index[rows], index[rows], positions[rows]))
        rows = rows[has_skb[rows] & (skb[rows] != 0)]
        self._set("clone", rows, _by_first_sight(series[rows], skb[rows]))

    def _number(self, key: Key) -> tuple[Numbers, Flags]:
        return self._numbers[NUMBERS.places[key]], self._has_number[NUMBERS.places[key]]

    def _set(self, column: str, rows: Places, values: npt.NDArray[np.generic]) -> None:
        place = NUMBERS.places["journey", column]
        self._numbers[place, rows] = values
        self._has_number[place, rows] = True

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
            present = self._sections[_SECTIONS[field.name]]
            if not present.any():
                columns.append(nulls(self._rows, field.type))
                continue
            members = [self._column((field.name, f.name), f.type) for f in field.type.fields]
            columns.append(pa.Array.from_buffers(field.type, self._rows, [bitmap(present)], children=members))
        return pa.RecordBatch.from_arrays(columns, schema=schema), self._right

    def _check(self, section: pa.Field) -> None:
        """Find wrong base64 in a section that isn't wanted: it is damage to everyone."""
        for field in section.type.fields if pa.types.is_struct(section.type) else ():
            if pa.types.is_binary(field.type):
                self._column((section.name, field.name), field.type)

    def _column(self, key: Key, kind: pa.DataType) -> pa.Array:
        if key in LISTS:
            return self._list(self._lists.get(key, []), kind)
        if key in BOOLS:
            there = self._has_bool[BOOLS[key]]
            return pa.Array.from_buffers(kind, self._rows, [bitmap(there), packed(self._bools[BOOLS[key]])])
        if key in STRINGS:
            return self._text(STRINGS[key], kind)
        values, there = self._number(key)
        if not there.any():
            return nulls(self._rows, kind)
        data = pa.py_buffer(values.astype(kind.to_pandas_dtype()))
        return pa.Array.from_buffers(kind, self._rows, [bitmap(there), data])

    def _text(self, place: int, kind: pa.DataType) -> pa.Array:
        starts = self._starts[place]
        there = starts > 0
        if not there.any():
            return nulls(self._rows, kind)
        texts = strings(self._block, starts, self._ends[place], there)
        if not pa.types.is_binary(kind):
            return texts
        data, right = decoded(texts, there)
        self._right &= right
        return data

    def _list(self, parts: list[_Strings], kind: pa.DataType) -> pa.Array:
        if not parts:
            return nulls(self._rows, kind)
        lengths = np.zeros(self._rows, np.int64)
        there = np.zeros(self._rows, np.bool_)
        for rows, starts, _ in parts:
            lengths[rows], there[rows] = starts.shape[1], True
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        begins, ends = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1], np.int64)
        for rows, starts, stops in parts:
            places = offsets[rows][:, None] + np.arange(starts.shape[1])
            begins[places], ends[places] = starts, stops
        items = strings(self._block, begins, ends, np.ones(len(begins), np.bool_))
        buffers = [bitmap(there), pa.py_buffer(offsets.astype(np.int32))]
        return pa.Array.from_buffers(kind, self._rows, buffers, children=[items])


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
