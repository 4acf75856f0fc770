"""The columns of a batch as JSON text, made for distinct values and only when they are asked for."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.column import Column
from fyke.events.retis import connections, left, ovs
from fyke.events.retis.arrays import flags_of, indices_of, valid
from fyke.events.retis.events import json_text, name_in_json
from fyke.events.retis.lines import Places
from fyke.events.retis.mapping import NAMES, PROBE_TYPES
from fyke.events.retis.scan import Flags
from fyke.events.retis.texts import COLUMN
from fyke.events.schema import HEADER, JOURNEY, arrow_schema, sections

Key = tuple[str, str]  # a section and a column; of the header: "" and a column
MARK = re.compile(r'"FYKE:?([0-9]{8})"|1[0-9]{22}([0-9]{8})')
# Events as they stand in a file, with room behind their last section, or inside of it (see texts.py).
COPIED = tuple((COLUMN, name) for name in ("after", "inside"))
TRACKING_SKB, TRACKING_INDEX = ("tracking", "skb"), ("tracking", "idx")  # the place in Retis' series
PROBE = ("kernel", "probe_type")
_CONNECTIONS = (connections.CT, connections.PARENT)
# What decides where other values go: these few themselves, and of these the family.
SHAPING = {(c, name) for c in _CONNECTIONS for name in ("state", "protocol", "zone_dir")}
ADDRESSES = {(c, f"{way}_{end}") for c in _CONNECTIONS for way in ("orig", "reply") for end in ("src", "dst")}
FOREIGN = sorted(PROBE_TYPES)
_SAMPLE = 512  # rows that tell whether most values of a column are different


@dataclass(frozen=True, eq=False)
class Coded:
    """A column by its distinct values. codes: for each row of its section, from 1; 0 is null.

    texts: of code N at N - 1.
    """

    codes: Places
    texts: pa.StringArray

    @property
    def count(self) -> int:
        """How many distinct values there are."""
        return len(self.texts)

    @cached_property
    def only(self) -> str | None:
        """The text of all values, where they have the same."""
        return str(self.texts[0]) if self.count == 1 else None

    @classmethod
    def of(cls, numbers: pa.Array) -> Coded:
        """Return whole numbers so."""
        encoded = numbers.dictionary_encode()
        return cls(_codes(encoded.indices), encoded.dictionary.cast(pa.string()))


class Values:
    """A batch, whose columns become text.

    there: key -> which rows have a value. present: section -> which rows have it. exact: rows that must be
    written the exact way. probe: for each row 0, or which of the mechanisms that Retis doesn't know it has,
    from 1. shaping: for each row the number of what decides where its other values go (SHAPING, families).
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.rows = batch.num_rows
        self.there: dict[Key, Flags] = {}
        self.present: dict[str, Flags] = {}
        self.exact = np.full(self.rows, not batch.schema.equals(arrow_schema()))
        self.exact |= valid(batch.column(left.SECTION)) if left.SECTION in batch.schema.names else False
        self.probe = np.zeros(self.rows, np.int64)
        self.shaping: dict[Key, Places] = {}
        self._arrays: dict[Key, tuple[Column, pa.Array]] = {}
        self._coded: dict[Key, Coded] = {}
        self._whole: dict[Key, pa.StringArray] = {}  # the texts of COPIED
        self._places: dict[str, Places] = {}  # sections that few rows have: these rows
        for column in HEADER:
            self._add(("", column.name), column, batch.column(column.name), None)
        for section in sections():
            whole = batch.column(section.name)
            if whole.null_count == self.rows:
                continue
            present = self.present[section.name] = valid(whole)
            if section.name in ovs.OWN:  # of many types
                self.exact |= present
            if whole.null_count > self.rows // 2:
                self._places[section.name] = np.flatnonzero(present)
            for column in section.columns:
                self._add((section.name, column.name), column, pc.struct_field(whole, column.name), whole)

    def _add(self, key: Key, column: Column, array: pa.Array, section: pa.Array | None) -> None:
        if array.null_count == len(array):
            return
        same = section is not None and array.null_count == section.null_count  # null only where it is
        self.there[key] = self.present[key[0]] if same else valid(array)
        self._arrays[key] = (column, array)
        if key in NAMES:
            self.exact |= self.there[key] & ~self._has_text(key)
        elif key in SHAPING:
            encoded = array.dictionary_encode()
            if MARK.search(json_text(encoded.dictionary.to_pylist())):  # somebody's idea of a state
                self.exact[:] = True
            self.shaping[key] = _codes(encoded.indices)
        elif key in ADDRESSES:
            encoded = array.dictionary_encode()
            families = [int(connections.is_version_6(name)) for name in encoded.dictionary.to_pylist()]
            self.shaping[key] = np.array([0, *families], np.int64)[_codes(encoded.indices)]
        elif key == PROBE:
            self.probe = _codes(pc.index_in(array, pa.array(FOREIGN)))

    def copy(self, column: pa.StructArray) -> None:
        """Let rows be what they are in a file, but for their place in a journey. column: `texts.TEXTS`."""
        copied = valid(column)
        texts, inside = (pc.struct_field(column, name) for name in ("text", "inside"))
        masked: dict[int, Flags] = {}

        def of_others(flags: Flags) -> Flags:
            return masked.setdefault(id(flags), flags & ~copied)

        kept = (TRACKING_SKB[0], JOURNEY.name)
        self.there = {k: there if k[0] in kept else of_others(there) for k, there in self.there.items()}
        self.present = {n: there if n in kept else of_others(there) for n, there in self.present.items()}
        self.there = {k: there for k, there in self.there.items() if k == TRACKING_SKB or there.any()}
        self.present = {name: there for name, there in self.present.items() if there.any()}
        self.shaping = {key: numbers for key, numbers in self.shaping.items() if key in self.there}
        self.exact &= ~copied
        is_inside = copied & flags_of(inside.fill_null(False))
        for key, there in zip(COPIED, (copied & ~is_inside, is_inside), strict=True):
            if there.any():
                self.there[key] = there
                self._whole[key] = texts

    def _has_text(self, key: Key) -> Flags:
        coded = self.coded(key)
        has = np.append(False, valid(coded.texts))[coded.codes]
        flags = np.zeros(self.rows, np.bool_)
        flags[self.places(key[0])] = has
        return flags

    def set(self, key: Key, coded: Coded, places: Places | None = None) -> None:
        """Add a column of a section that is no section of events. places: the rows that have it."""
        self._coded[key] = coded
        if places is not None:
            self._places[key[0]] = places

    def value(self, key: Key, place: int) -> Any:
        """Return the value itself of a row."""
        return self._arrays[key][1][place].as_py()

    def places(self, section: str) -> Places | slice:
        """Return the rows that `Coded` of this section's columns have codes for."""
        return self._places.get(section, slice(None))

    def is_varied(self, key: Key) -> bool:
        """Say whether most values are different, as far as a few tell, and text is soon made of them."""
        if key in self._coded or key in self._whole:
            return key in self._whole
        column, array = self._arrays[key]
        if column.type in ("string", "bool", "list<string>"):
            return False
        few = self._own(key, array.slice(0, 4 * _SAMPLE))[:_SAMPLE]
        return len(few.dictionary_encode().dictionary) > _SAMPLE // 2

    def coded(self, key: Key) -> Coded:
        """Return a column by its distinct values."""
        if key not in self._coded:
            column, array = self._arrays[key]
            array = self._own(key, array)
            if column.type == "list<string>":  # Arrow doesn't find the distinct ones
                encoded = _texts(key, column, array).dictionary_encode()
                texts = encoded.dictionary
            else:
                encoded = array.dictionary_encode()
                texts = _texts(key, column, encoded.dictionary)
            self._coded[key] = Coded(_codes(encoded.indices), texts)
        return self._coded[key]

    def _own(self, key: Key, array: pa.Array) -> pa.Array:
        """Return the rows of a column, or of its first rows, that its section has."""
        places = self._places.get(key[0])
        if places is None:
            return array
        return array.take(indices_of(places[: np.searchsorted(places, len(array))]))

    def texts(self, key: Key, rows: Places) -> pa.StringArray:
        """Return the texts of some rows, which have a value, where these have few."""
        coded, places = self.coded(key), self._places.get(key[0])
        own = rows if places is None else np.searchsorted(places, rows)
        return coded.texts.take(indices_of(coded.codes[own] - 1))

    def whole(self, key: Key) -> pa.StringArray:
        """Return the text of each row, null where it has no value."""
        if key in self._whole:
            return self._whole[key]
        if key not in self._coded:
            column, array = self._arrays[key]
            return _texts(key, column, array)
        codes = np.zeros(self.rows, np.int64)
        codes[self.places(key[0])] = self._coded[key].codes
        found = indices_of(codes - 1)
        if not codes.all():
            found = pc.if_else(pc.greater_equal(found, 0), found, pa.scalar(None, pa.int64()))
        return self._coded[key].texts.take(found)


def _texts(key: Key, column: Column, array: pa.Array) -> pa.StringArray:
    """Return values as JSON, null where they are, or aren't to be had in JSON."""
    if column.type in ("string", "list<string>"):
        convert: Callable[[Any], str | None] = _name if key in NAMES else json_text
        return pa.array([None if v is None else convert(v) for v in array.to_pylist()], pa.string())
    if column.type == "binary":
        encode = binascii.b2a_base64
        return pa.array(
            [None if v is None else b'"%b"' % encode(v, newline=False) for v in array.to_pylist()],
            pa.binary(),
        ).cast(pa.string())
    return array.cast(pa.string())


def _name(value: str) -> str | None:
    text = name_in_json(value)
    return None if text is None else json_text(text)


def _codes(numbers: pa.Int32Array) -> Places:
    """Return numbers from 1, 0 where there is none."""
    filled = numbers.fill_null(-1) if numbers.null_count else numbers
    codes: npt.NDArray[np.int64] = np.frombuffer(filled.buffers()[1], np.int32).astype(np.int64)
    return codes[filled.offset : filled.offset + len(filled)] + 1
