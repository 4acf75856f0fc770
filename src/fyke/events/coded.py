"""Strings of few values in files: numbers in the batches, and before these what each number means.

Such a column is Arrow's dictionary column; a file says anew what its numbers mean whenever there are more of
them. Format: Arrow Columnar Format, "Dictionary-encoded Layout" and "Dictionary messages".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fyke.events.nulls import nulls, validity

NUMBER = pa.int16()
CODED = pa.dictionary(NUMBER, pa.string())
MOST = 1 << 15  # values of a column, and rows of a batch: each may have a value of its own
# Sections of rows that are few, or of which each has strings of its own.
_OWN = ("other", "gap", "closing", "ovs_detrace")
_NONE = pa.array([], pa.string())

# What the numbers mean: of a column, or of members of a section.
Meaning = pa.Array | Mapping[str, Any]


def coded_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the file of a table: strings as dictionary columns."""
    return pa.schema(
        [f if f.name in _OWN else f.with_type(_mapped(f.type, _coded)) for f in schema], schema.metadata
    )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the table of a file: dictionary columns as strings."""
    return pa.schema([f.with_type(_mapped(f.type, _plain)) for f in schema], schema.metadata)


def numbers_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of what the batches of a file hold: dictionary columns as their numbers."""
    return pa.schema([f.with_type(_mapped(f.type, _number)) for f in schema])


def is_coded(kind: pa.DataType) -> bool:
    """Say whether a type is that of strings by number, ours or of another tool's choice."""
    if not types.is_dictionary(kind) or not types.is_integer(kind.index_type):
        return False
    text = (types.is_string, types.is_large_string, getattr(types, "is_string_view", types.is_string))
    return any(is_it(kind.value_type) for is_it in text)


def values_schema(kind: pa.DataType) -> pa.Schema:
    """Return the schema of the batch that is in a message of a dictionary with values of this type."""
    return pa.schema([pa.field("values", kind)])


def plain(array: pa.Array) -> pa.Array:
    """Return a column of strings by number as one of strings."""
    return array.dictionary.take(array.indices)


def encoded(array: pa.Array) -> pa.DictionaryArray:
    """Return a column, by number or not, by number: int32, and null is one of the values."""
    if not types.is_dictionary(array.type):
        return array.dictionary_encode("encode")
    numbers, meaning = array.indices.cast(pa.int32()), array.dictionary
    if numbers.null_count:
        numbers = pc.fill_null(numbers, len(meaning))
        meaning = pa.concat_arrays([meaning, pa.nulls(1, meaning.type)])
    return pa.DictionaryArray.from_arrays(numbers, meaning, safe=False)


def by_name(schema: pa.Schema, values: Iterable[Any]) -> dict[str, Any]:
    """Return what belongs to each dictionary column by its name; to members, in a mapping by their section's.

    values: of each dictionary column, in order. Raises ValueError where they are too few.
    """
    rest = iter(values)

    def of(kind: pa.DataType) -> Any:
        if types.is_struct(kind):
            return {field.name: value for field in kind if (value := of(field.type)) not in (None, {})}
        return next(rest) if is_coded(kind) else None

    try:
        return {field.name: value for field in schema if (value := of(field.type)) not in (None, {})}
    except StopIteration:
        raise ValueError("a dictionary has no id") from None


def value_types(schema: pa.Schema) -> list[pa.DataType]:
    """Return the type of the values of each dictionary column, in order."""

    def of(kind: pa.DataType) -> list[pa.DataType]:
        if types.is_struct(kind):
            return [found for field in kind for found in of(field.type)]
        return [kind.value_type] if is_coded(kind) else []

    return [found for field in schema for found in of(field.type)]


def with_codes(schema: pa.Schema, stored: pa.Schema) -> pa.Schema:
    """Return a schema with dictionary columns where `stored`, the schema of a file, has ours."""
    return pa.schema(
        [
            f.with_type(_with_codes(f.type, stored.field(f.name).type)) if f.name in stored.names else f
            for f in schema
        ]
    )


class Numbers:
    """Puts numbers in place of the strings of a file that is written, batch by batch.

    schema: of the file. ids: by name, see `by_name`.
    """

    def __init__(self, schema: pa.Schema, ids: Mapping[str, Any]) -> None:
        self.schema = numbers_schema(schema)
        self._ids = ids
        self._known: dict[int, pa.Array] = {}
        self._new: dict[int, pa.Array] = {}

    def forget(self) -> None:
        """Begin anew, as for another file, or where what was given last isn't written."""
        self._known.clear()

    def of(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, pa.Array]]:
        """Return a batch of at most MOST rows with numbers, and by id what is to be said anew before it."""
        self._new = {}
        columns = [
            self._of(batch.column(i), field.type, self._ids.get(field.name))
            for i, field in enumerate(self.schema)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema), self._new

    def _of(self, array: pa.Array, kind: pa.DataType, ids: Any) -> pa.Array:
        if ids is None:
            return array
        if array.null_count == len(array):
            return nulls(len(array), kind)
        if not isinstance(ids, dict):
            return self._numbers(array, ids)
        members = [self._of(array.field(i), field.type, ids.get(field.name)) for i, field in enumerate(kind)]
        return pa.Array.from_buffers(kind, len(array), [validity(array)], children=members)

    def _numbers(self, array: pa.Array, number: int) -> pa.Array:
        known = self._known.get(number, _NONE)
        if array.type == CODED and _goes_on(known, array.dictionary):
            # As from another file of ours: the numbers stay what they are.
            if len(array.dictionary) > len(known):
                self._known[number] = self._new[number] = array.dictionary
            return array.indices
        coded = array if is_coded(array.type) else array.dictionary_encode()
        places = pc.index_in(coded.dictionary, value_set=known)
        if places.null_count:
            new = coded.dictionary.filter(places.is_null())
            if len(known) + len(new) > MOST:
                # Only what these rows have.
                coded = (plain(array) if is_coded(array.type) else array).dictionary_encode()
                known, new = _NONE, coded.dictionary
            known = pa.concat_arrays([known, new])
            self._known[number] = self._new[number] = known
            places = pc.index_in(coded.dictionary, value_set=known)
        return places.cast(NUMBER).take(coded.indices)


def _goes_on(known: pa.Array, values: pa.Array) -> bool:
    """Say whether one of these begins with the other, and both are fit for a file."""
    both = min(len(known), len(values))
    fit = len(values) <= MOST and not values.null_count
    return fit and bool(known.slice(0, both).equals(values.slice(0, both)))


def _mapped(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    if types.is_struct(kind):
        return pa.struct([field.with_type(_mapped(field.type, change)) for field in kind])
    return change(kind)


def _coded(kind: pa.DataType) -> pa.DataType:
    return CODED if types.is_string(kind) else kind


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if is_coded(kind) else kind


def _number(kind: pa.DataType) -> pa.DataType:
    return kind.index_type if is_coded(kind) else kind


def _with_codes(kind: pa.DataType, stored: pa.DataType) -> pa.DataType:
    if types.is_struct(kind) and types.is_struct(stored):
        found = {field.name: field.type for field in stored}
        fields = [f.with_type(_with_codes(f.type, found[f.name])) if f.name in found else f for f in kind]
        return pa.struct(fields)
    return CODED if types.is_string(kind) and stored.equals(CODED) else kind
