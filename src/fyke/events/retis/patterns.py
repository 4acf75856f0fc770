"""Event tables -> JSON, many rows at a time: rows with values in the same columns share a pattern.

What a pattern is like is not known here: the exact way (`events.py`) writes one row whose values are
numbered, and where the numbers land in its JSON the columns' values go.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.column import Column
from fyke.events.retis import connections, left
from fyke.events.retis.events import event_in_series, event_of, json_text, name_in_json, rows_of
from fyke.events.retis.lines import Places
from fyke.events.retis.mapping import NAMES, PROBE_TYPES
from fyke.events.retis.scan import Flags, packed
from fyke.events.schema import HEADER, arrow_schema, sections

Key = tuple[str, str]  # a section and a column; of the header: "" and a column
TRACKING_SKB, TRACKING_INDEX = ("tracking", "skb"), ("tracking", "idx")  # the place in Retis' series

_FIRST = 10**30  # stands for the first value of a row: no column holds it
_MARK = re.compile(r'"FYKE:?([0-9]{8})"|1[0-9]{22}([0-9]{8})')
_PROBE = ("kernel", "probe_type")
_CONNECTIONS = (connections.CT, connections.PARENT)
# What decides where other values go: these few themselves, and of these the family.
SHAPING = {(c, name) for c in _CONNECTIONS for name in ("state", "protocol", "zone_dir")}
ADDRESSES = {(c, f"{way}_{end}") for c in _CONNECTIONS for way in ("orig", "reply") for end in ("src", "dst")}
_FOREIGN = sorted(PROBE_TYPES)


@dataclass(frozen=True)
class Series:
    """What rows of sorted files need besides.

    tracking: the text of Retis' section of the packet's first skb, null where there is none. index: the text
    of the row's place in the series.
    """

    tracking: pa.StringArray
    index: pa.StringArray


def lines_of(batch: pa.RecordBatch, begins: Places | None) -> tuple[memoryview, Places]:
    """Return the lines of a file that a batch is, and where each ends.

    begins: where journeys begin (the first row does), each of which is a line; None: a row is.
    """
    found = texts(batch, None if begins is None else _series(batch, begins))
    if begins is None:
        whole = pc.binary_join_element_wise(found, pa.scalar("\n"), pa.scalar(""))
        last = np.arange(batch.num_rows)
    else:
        last = np.append(begins[1:], batch.num_rows) - 1
        before, after = np.zeros(batch.num_rows, np.int64), np.full(batch.num_rows, 2)
        before[begins], after[last] = 1, 3
        around = pa.array(["", "[", ",", "]\n"])
        whole = pc.binary_join_element_wise(
            around.take(_indices(before)), found, around.take(_indices(after)), pa.scalar("")
        )
    offsets = np.frombuffer(whole.buffers()[1], np.int32)[whole.offset : whole.offset + len(whole) + 1]
    data = memoryview(whole.buffers()[2])[offsets[0] : offsets[-1]]
    return data, (offsets[last + 1] - offsets[0]).astype(np.int64)


def _series(batch: pa.RecordBatch, begins: Places) -> Series:
    rows = np.arange(batch.num_rows)
    journeys = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, batch.num_rows)))
    tracking = batch.column("skb_tracking")
    pieces = [
        pc.struct_field(tracking, name).cast(pa.string()) for name in ("orig_head", "timestamp_ns", "skb")
    ]
    names = ['{"orig_head":', ',"timestamp":', ',"skb":']
    parts = [part for name, piece in zip(names, pieces, strict=True) for part in (pa.scalar(name), piece)]
    own = pc.binary_join_element_wise(*parts, pa.scalar("}"), pa.scalar(""))  # null when one of them is
    there = _valid(own)
    first = np.full(len(begins), -1)
    first[journeys[there][::-1]] = rows[there][::-1]
    chosen = first[journeys]
    skb = own.take(pc.if_else(_bools(chosen >= 0), _indices(chosen), pa.scalar(None, pa.int64())))
    index = pc.coalesce(
        pc.struct_field(batch.column("journey"), "index").cast(pa.int64()), _indices(rows - begins[journeys])
    )
    return Series(skb, index.cast(pa.string()))


def texts(batch: pa.RecordBatch, series: Series | None) -> pa.StringArray:
    """Return each row's event as JSON, which is exactly what `events.py` makes of it."""
    table = _Values(batch, series)
    groups, rows = _groups(table)
    parts, places = [], []
    for pattern, members in zip(groups, rows, strict=True):
        if pattern is None:
            parts.append(_exact(batch.take(_indices(members)), members, series))
        else:
            parts.append(_joined(table, pattern, members, batch.num_rows))
        places.append(members)
    whole = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
    if len(parts) < 2:
        return whole
    order = np.empty(batch.num_rows, np.int64)
    order[np.concatenate(places)] = np.arange(batch.num_rows)
    return whole.take(_indices(order))


class _Values:
    """The values of a batch as JSON text, column by column, made when they are asked for.

    there: key -> which rows have a value. exact: rows that must be written the exact way.
    probe: for each row 0, or which of the mechanisms that Retis doesn't know it has, from 1.
    shaping: for each row the number of what decides where its other values go (SHAPING, and families).
    """

    def __init__(self, batch: pa.RecordBatch, series: Series | None) -> None:
        rows = batch.num_rows
        self.there: dict[Key, Flags] = {}
        self.present: dict[str, Flags] = {}
        self.series = series
        self._arrays: dict[Key, tuple[Column, pa.Array]] = {}
        self._texts: dict[Key, pa.StringArray] = {}
        self.exact = np.full(rows, not batch.schema.equals(arrow_schema()))
        self.exact |= _valid(batch.column(left.SECTION)) if left.SECTION in batch.schema.names else False
        self.probe = np.zeros(rows, np.int64)
        self.shaping: dict[Key, Places] = {}
        for column in HEADER:
            self._add(("", column.name), column, batch.column(column.name), None)
        for section in sections():
            whole = batch.column(section.name)
            if whole.null_count == rows:
                continue
            present = _valid(whole)
            self.present[section.name] = present
            for column in section.columns:
                self._add((section.name, column.name), column, pc.struct_field(whole, column.name), present)
        if series is not None:
            self.there[TRACKING_SKB] = _valid(series.tracking)
            self._texts[TRACKING_SKB], self._texts[TRACKING_INDEX] = series.tracking, series.index

    def _add(self, key: Key, column: Column, array: pa.Array, present: Flags | None) -> None:
        if array.null_count == len(array):
            return
        self.there[key] = _valid(array) if present is None else _valid(array) & present
        self._arrays[key] = (column, array)
        if key in NAMES:
            self._texts[key] = self._distinct(key, array, _name)
        elif key in SHAPING:
            encoded = array.dictionary_encode()
            if _MARK.search(json_text(encoded.dictionary.to_pylist())):  # somebody's idea of a state
                self.exact[:] = True
            self.shaping[key] = numbers_of(encoded.indices.cast(pa.int64()).fill_null(-1)) + 1
        elif key in ADDRESSES:
            encoded = array.dictionary_encode()
            families = [int(connections.is_version_6(name)) for name in encoded.dictionary.to_pylist()]
            found = pa.array(families, pa.int64()).take(encoded.indices)
            self.shaping[key] = numbers_of(found.fill_null(0))
        elif key == _PROBE:
            codes = pc.index_in(array, pa.array(_FOREIGN))
            self.probe = numbers_of(codes.cast(pa.int64()).fill_null(-1)) + 1

    def value(self, key: Key, place: int) -> Any:
        """Return the value itself of a row."""
        return self._arrays[key][1][place].as_py()

    def text(self, key: Key) -> pa.StringArray:
        """Return a column's values as JSON."""
        if key not in self._texts:
            column, array = self._arrays[key]
            self._texts[key] = self._as_text(key, column, array)
        return self._texts[key]

    def _as_text(self, key: Key, column: Column, array: pa.Array) -> pa.StringArray:
        if column.type == "string":
            return self._distinct(key, array, json_text)
        if column.type == "list<string>":
            return pa.array([None if v is None else json_text(v) for v in array.to_pylist()], pa.string())
        if column.type == "binary":
            encode = binascii.b2a_base64
            return pa.array(
                [None if v is None else b'"%b"' % encode(v, newline=False) for v in array.to_pylist()],
                pa.binary(),
            ).cast(pa.string())
        return array.cast(pa.string())

    def _distinct(self, key: Key, array: pa.Array, convert: Callable[[str], str | None]) -> pa.StringArray:
        encoded = array.dictionary_encode()
        made = pa.array([convert(value) for value in encoded.dictionary.to_pylist()], pa.string())
        found = made.take(encoded.indices)
        if made.null_count:
            self.exact |= _valid(array) & ~_valid(found)
        return found


def _name(value: str) -> str | None:
    text = name_in_json(value)
    return None if text is None else json_text(text)


@dataclass(frozen=True)
class _Pattern:
    """The JSON of rows: literals[0] value literals[1] ... literals[-1]; keys: which columns' values."""

    literals: list[str]
    keys: list[Key]


def _groups(table: _Values) -> tuple[list[_Pattern | None], list[Places]]:
    """Return the patterns of the rows, and the rows of each; None for rows to be written the exact way."""
    rows = len(table.probe)
    if not rows:
        return [], []
    flags = [f for f in (*table.there.values(), *table.present.values()) if not f.all()]
    codes = table.probe
    for number in (*flags, *table.shaping.values()):
        width = int(number.max()) + 1
        if int(codes.max()) >= (1 << 62) // width:
            codes = np.unique(codes, return_inverse=True)[1]
        codes = codes * width + number
    codes = np.where(table.exact, -1, codes)
    order = np.argsort(codes, kind="stable")
    _, firsts = np.unique(codes[order], return_index=True)
    members = np.split(order, firsts[1:])
    return [None if table.exact[m[0]] else _pattern(table, int(m[0])) for m in members], members


def _pattern(table: _Values, place: int) -> _Pattern:
    """Return the pattern of a row."""
    keys: list[Key] = []
    row: dict[str, Any] = {name: {} for name, present in table.present.items() if present[place]}
    for key, there in table.there.items():
        if not there[place] or key[0] == "tracking":
            continue
        if key == _PROBE and table.probe[place]:
            value: Any = _FOREIGN[table.probe[place] - 1]
        elif key in SHAPING:
            value = table.value(key, place)
        else:
            value = _mark(key, len(keys), version_6=key in ADDRESSES and bool(table.shaping[key][place]))
            keys.append(key)
        if key[0]:
            row[key[0]][key[1]] = value
        else:
            row[key[1]] = value
    if table.series is None:
        event = event_of(row)
    else:
        tracking = None
        if table.there[TRACKING_SKB][place]:
            tracking = {"skb": _FIRST + len(keys), "idx": _FIRST + len(keys) + 1}
            keys += [TRACKING_SKB, TRACKING_INDEX]
        event = event_in_series(row, tracking)
    literals, used, end = [], [], 0
    text = json_text(event)
    for match in _MARK.finditer(text):
        literals.append(text[end : match.start()])
        used.append(keys[int(match[1] or match[2])])
        end = match.end()
    return _Pattern([*literals, text[end:]], used)


_TYPES = {
    **{("", column.name): column.type for column in HEADER},
    **{(section.name, column.name): column.type for section in sections() for column in section.columns},
}


def _mark(key: Key, number: int, *, version_6: bool) -> Any:
    """Return what stands for a value: `_MARK` finds it in JSON, whatever the exact way does with it."""
    if _TYPES[key] == "binary":
        return binascii.a2b_base64(f"FYKE{number:08}")
    if version_6:
        return f"FYKE:{number:08}"
    return f"FYKE{number:08}" if _TYPES[key] == "string" else _FIRST + number


def _joined(table: _Values, pattern: _Pattern, members: Places, rows: int) -> pa.StringArray:
    pieces: list[Any] = []
    indices = _indices(members)
    for literal, key in zip(pattern.literals, [*pattern.keys, None], strict=True):
        pieces.append(pa.scalar(literal))
        if key is not None:
            text = table.text(key)
            pieces.append(text if len(members) == rows else text.take(indices))
    return pc.binary_join_element_wise(*pieces, pa.scalar(""))


def _exact(batch: pa.RecordBatch, members: Places, series: Series | None) -> pa.StringArray:
    rows = rows_of(batch)
    if series is None:
        return pa.array([json_text(event_of(row)) for row in rows], pa.string())
    found = []
    for row, place in zip(rows, members.tolist(), strict=True):
        skb, index = series.tracking[place].as_py(), series.index[place].as_py()
        tracking = None if skb is None else {"skb": json.loads(skb), "idx": json.loads(index)}
        found.append(json_text(event_in_series(row, tracking)))
    return pa.array(found, pa.string())


def _valid(array: pa.Array) -> Flags:
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    return flags_of(array.is_valid())


def flags_of(array: pa.BooleanArray) -> Flags:
    """Return an array of bools without nulls as NumPy's."""
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].view(np.bool_)


def numbers_of(array: pa.Int64Array) -> Places:
    """Return an array of int64 without nulls as NumPy's. (Its own to_numpy() would import pandas.)"""
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array)]


def _bools(flags: Flags) -> pa.BooleanArray:
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, packed(flags)])


def _indices(places: Places) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)])
