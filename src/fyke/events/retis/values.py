"""The values of an event table as JSON text, column by column, and what decides where in an event they go."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.column import Column
from fyke.events.retis import connections, left
from fyke.events.retis.arrays import numbers_of, valid
from fyke.events.retis.events import json_text, name_in_json
from fyke.events.retis.lines import Places
from fyke.events.retis.mapping import NAMES, PROBE_TYPES
from fyke.events.retis.scan import Flags
from fyke.events.retis.series import Series
from fyke.events.schema import HEADER, arrow_schema, sections

Key = tuple[str, str]  # a section and a column; of the header: "" and a column
TRACKING_SKB, TRACKING_INDEX = ("tracking", "skb"), ("tracking", "idx")  # the place in Retis' series
PROBE = ("kernel", "probe_type")
FOREIGN = sorted(PROBE_TYPES)
# What stands for a value in the JSON of a pattern (patterns.py).
MARK = re.compile(r'"FYKE:?([0-9]{8})"|1[0-9]{22}([0-9]{8})')
_CONNECTIONS = (connections.CT, connections.PARENT)
# What decides where other values go: these few themselves, and of these the family.
SHAPING = {(c, name) for c in _CONNECTIONS for name in ("state", "protocol", "zone_dir")}
ADDRESSES = {(c, f"{way}_{end}") for c in _CONNECTIONS for way in ("orig", "reply") for end in ("src", "dst")}


class Values:
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
        self.exact |= valid(batch.column(left.SECTION)) if left.SECTION in batch.schema.names else False
        self.probe = np.zeros(rows, np.int64)
        self.shaping: dict[Key, Places] = {}
        for column in HEADER:
            self._add(("", column.name), column, batch.column(column.name), None)
        for section in sections():
            whole = batch.column(section.name)
            if whole.null_count == rows:
                continue
            present = valid(whole)
            self.present[section.name] = present
            for column in section.columns:
                self._add((section.name, column.name), column, pc.struct_field(whole, column.name), present)
        if series is not None:
            self.there[TRACKING_SKB] = valid(series.tracking)
            self._texts[TRACKING_SKB], self._texts[TRACKING_INDEX] = series.tracking, series.index

    def _add(self, key: Key, column: Column, array: pa.Array, present: Flags | None) -> None:
        if array.null_count == len(array):
            return
        self.there[key] = valid(array) if present is None else valid(array) & present
        self._arrays[key] = (column, array)
        if key in NAMES:
            self._texts[key] = self._distinct(key, array, _name)
        elif key in SHAPING:
            encoded = array.dictionary_encode()
            if MARK.search(json_text(encoded.dictionary.to_pylist())):  # somebody's idea of a state
                self.exact[:] = True
            self.shaping[key] = numbers_of(encoded.indices.cast(pa.int64()).fill_null(-1)) + 1
        elif key in ADDRESSES:
            encoded = array.dictionary_encode()
            families = [int(connections.is_version_6(name)) for name in encoded.dictionary.to_pylist()]
            found = pa.array(families, pa.int64()).take(encoded.indices)
            self.shaping[key] = numbers_of(found.fill_null(0))
        elif key == PROBE:
            codes = pc.index_in(array, pa.array(FOREIGN))
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
            self.exact |= valid(array) & ~valid(found)
        return found


def _name(value: str) -> str | None:
    text = name_in_json(value)
    return None if text is None else json_text(text)
