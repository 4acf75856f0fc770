"""Brings a batch of any file to the columns this version knows: adds, orders, widens, refuses.

And several files to the columns of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fyke.errors import UsageError
from fyke.events.nulls import Nulls, validity
from fyke.events.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.coded import Meaning


def conformed_schema(found: pa.Schema) -> pa.Schema:
    """Return the schema that `conform` gives batches of schema `found`.

    The known columns come first, in order and with our types; unknown ones (of a later version, or made by
    the user) stay at the end, of the table and of each section. Raises ValueError when a known column has a
    type that can't be ours, or a name is there twice.
    """
    import pyarrow as pa

    wanted = arrow_schema()
    _refuse_twins([f.name for f in found])
    if "timestamp_ns" not in found.names:
        raise ValueError("there is no column timestamp_ns")
    fields = []
    for field in wanted:
        if field.name in found.names:
            field = field.with_type(_merged(field.name, field.type, found.field(field.name).type))
        fields.append(field)
    extra = [f for f in found if f.name not in wanted.names]
    for field in extra:
        _refuse_exotic(field.name, field.type)
    return pa.schema([*fields, *extra])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the columns of `schema` (made by `conformed_schema` from the batch's own).

    Raises ValueError when a value doesn't fit or a time is missing.
    """
    return Conform(batch.schema, schema)(batch)


class Conform:
    """`conform` for many batches of one schema: how each column is made is found out once.

    Batches may hold the numbers of strings, whose meanings come with them, by column. Where the schema has
    strings, these are put there.
    """

    def __init__(self, found: pa.Schema, schema: pa.Schema) -> None:
        self._schema = schema
        places = {name: place for place, name in enumerate(found.names)}
        self._names = schema.names
        self._places = [places.get(name) for name in schema.names]
        self._columns = [
            Nulls(field.type) if place is None else _Column(found.field(place).type, field.type)
            for place, field in zip(self._places, schema, strict=True)
        ]

    def __call__(
        self, batch: pa.RecordBatch, meanings: Mapping[str, Meaning] | None = None
    ) -> pa.RecordBatch:
        """Return a batch of the schema."""
        import pyarrow as pa

        coded, rows, columns = meanings or {}, len(batch), []
        for name, place, column in zip(self._names, self._places, self._columns, strict=True):
            if isinstance(column, Nulls):
                columns.append(column(rows))
            else:
                columns.append(column(batch.column(place), coded.get(name)))
        if columns[0].null_count:
            raise ValueError("a row has no time")
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


class _Column:
    """How arrays of one type become those of another."""

    def __init__(self, found: pa.DataType, wanted: pa.DataType) -> None:
        from pyarrow import types

        self._wanted = wanted
        self._is_same = found.equals(wanted)
        self._is_coded = types.is_dictionary(wanted)
        self._members: list[tuple[str, int, _Column | Nulls]] | None = None
        if types.is_struct(wanted) and types.is_struct(found) and not self._is_same:
            have = {field.name: place for place, field in enumerate(found)}
            self._members = [
                (f.name, have[f.name], _Column(found.field(have[f.name]).type, f.type))
                if f.name in have
                else (f.name, -1, Nulls(f.type))
                for f in wanted
            ]

    def __call__(self, array: pa.Array, meaning: Meaning | None) -> pa.Array:
        import pyarrow as pa

        if isinstance(meaning, pa.Array):
            if self._is_coded:
                return pa.DictionaryArray.from_arrays(array.cast(self._wanted.index_type), meaning)
            return _as(meaning.take(array), self._wanted)
        if self._is_same:
            return array
        if self._members is None:
            return array.cast(self._wanted)
        members, rows = meaning or {}, len(array)
        parts = [
            column(rows) if isinstance(column, Nulls) else column(array.field(place), members.get(name))
            for name, place, column in self._members
        ]
        return pa.Array.from_buffers(self._wanted, rows, [validity(array)], children=parts)


def _as(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    return array if array.type.equals(wanted) else array.cast(wanted)


def joined_schema(schemas: list[pa.Schema]) -> pa.Schema:
    """Return the schema with the columns of all, those of the first one first.

    Raises UsageError where a column is of two types.
    """
    import pyarrow as pa

    joined = schemas[0].remove_metadata()
    for schema in schemas[1:]:
        if not schema.equals(joined):
            fields = {field.name: field for field in joined}
            for field in schema:
                before = fields.get(field.name)
                fields[field.name] = (
                    field if before is None else before.with_type(_joined_type(before, field))
                )
            joined = pa.schema(list(fields.values()))
    return joined


def _joined_type(one: pa.Field, other: pa.Field) -> pa.DataType:
    import pyarrow as pa

    if one.type.equals(other.type):
        return one.type
    if pa.types.is_struct(one.type) and pa.types.is_struct(other.type):
        parts = [
            pa.schema([kind.field(i) for i in range(kind.num_fields)]) for kind in (one.type, other.type)
        ]
        return pa.struct(list(joined_schema(parts)))
    raise UsageError(
        f"the column {one.name} is {one.type} in one file and {other.type} in another", "open them one by one"
    )


def _merged(name: str, wanted: pa.DataType, found: pa.DataType) -> pa.DataType:
    """Return the type of a known column: ours, with the fields that only the file's struct has at its end."""
    import pyarrow as pa

    if not pa.types.is_struct(wanted):
        if not _castable(found, wanted):
            raise ValueError(f"the column {name} is {found}, not {wanted}")
        return wanted
    if pa.types.is_null(found):
        return wanted
    if not pa.types.is_struct(found):
        raise ValueError(f"the column {name} is {found}, not a section")
    inner = [found.field(i) for i in range(found.num_fields)]
    types = {f.name: f.type for f in inner}
    _refuse_twins([f.name for f in inner])
    fields = []
    for i in range(wanted.num_fields):
        field = wanted.field(i)
        if field.name in types:
            field = field.with_type(_merged(f"{name}.{field.name}", field.type, types.pop(field.name)))
        fields.append(field)
    for extra, kind in types.items():
        _refuse_exotic(f"{name}.{extra}", kind)
    return pa.struct([*fields, *(f for f in inner if f.name in types)])


def _castable(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether values may be converted: widths of integers, the encodings other tools choose for text."""
    from pyarrow import types as t

    if t.is_list(wanted):
        if not (t.is_list(found) or t.is_large_list(found)):
            return bool(t.is_null(found))
        return _castable(found.value_type, wanted.value_type)
    for kinds in (
        (t.is_integer,),
        (t.is_boolean,),
        (t.is_string, t.is_large_string, getattr(t, "is_string_view", t.is_string)),
        (t.is_binary, t.is_large_binary, getattr(t, "is_binary_view", t.is_binary)),
    ):
        if any(kind(wanted) for kind in kinds):
            return any(kind(found) for kind in (*kinds, t.is_null))
    return bool(found.equals(wanted))


def _refuse_twins(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are two columns {name}")


def _refuse_exotic(name: str, kind: pa.DataType) -> None:
    """Refuse types that need messages of their own in a stream, or code of others."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        raise ValueError(f"the column {name} is {kind}, which is not supported here")
    for i in range(kind.num_fields):
        _refuse_exotic(name, kind.field(i).type)
