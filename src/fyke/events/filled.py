"""Which arrays of a batch hold anything: the others are neither packed into a message nor unpacked.

The arrays of a schema are its columns and, each behind its section, their members, all in one order (Arrow
Columnar Format, "RecordBatch message"). Those of a list belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fyke.events.nulls import validity

if TYPE_CHECKING:
    import pyarrow as pa

Mask = npt.NDArray[np.bool_]
_KEPT = 64  # plans; which arrays are filled seldom changes


@dataclass(frozen=True, eq=False)
class Plan:
    """Some columns, and of their sections some members. arrays, buffers: which they are among all.

    schema_message: what a stream of them begins with.
    """

    schema: pa.Schema
    schema_message: bytes
    arrays: Mask
    buffers: Mask

    def narrowed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return these of a batch that has all."""
        import pyarrow as pa

        columns = [_narrowed(batch.column(field.name), field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


class Arrays:
    """The arrays of a schema of plain types (see `is_plain`). count: how many there are."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._buffers = [count for field in schema for count in _buffer_counts(field.type)]
        self._sizes = [_size(field.type) for field in schema]
        self._plans: dict[bytes, Plan] = {}
        self.count = len(self._buffers)

    def nulls_of(self, batch: pa.RecordBatch) -> Mask:
        """Say for each array whether all its values are null."""
        pairs = zip(batch.columns, self._sizes, strict=True)
        return np.array([flag for column, size in pairs for flag in _nulls(column, size)], np.bool_)

    def plan(self, nulls: Mask, columns: npt.NDArray[np.bool_] | None = None) -> Plan:
        """Return the plan of what isn't null. columns: of these only. Both must come together as before."""
        key = nulls.tobytes()
        if key not in self._plans:
            if len(self._plans) >= _KEPT:
                self._plans.clear()
            self._plans[key] = self._make(nulls, columns)
        return self._plans[key]

    def _make(self, nulls: Mask, columns: npt.NDArray[np.bool_] | None) -> Plan:
        import pyarrow as pa

        arrays = np.zeros(self.count, np.bool_)
        fields, at = [], 0
        for number, (field, size) in enumerate(zip(self._schema, self._sizes, strict=True)):
            if not nulls[at] and (columns is None or columns[number]):
                fields.append(field.with_type(_kept(field.type, at, nulls, arrays)))
            at += size
        schema = pa.schema(fields)
        message = bytes(schema.serialize())
        return Plan(schema, message, arrays, np.repeat(arrays, self._buffers))


def is_plain(kind: pa.DataType) -> bool:
    """Say whether a type is of those known here."""
    from pyarrow import types as t

    if t.is_struct(kind) or t.is_list(kind):
        return all(is_plain(kind.field(i).type) for i in range(kind.num_fields))
    return any(is_it(kind) for is_it in (t.is_integer, t.is_boolean, t.is_string, t.is_binary))


def _buffer_counts(kind: pa.DataType) -> list[int]:
    """Return how many buffers each array of a column has: its own, and those of its members."""
    from pyarrow import types as t

    if t.is_struct(kind) or t.is_list(kind):
        counts = [1 if t.is_struct(kind) else 2]
        for i in range(kind.num_fields):
            counts += _buffer_counts(kind.field(i).type)
        return counts
    return [3 if t.is_string(kind) or t.is_binary(kind) else 2]


def _size(kind: pa.DataType) -> int:
    """Return how many arrays a column of this type has."""
    return 1 + sum(_size(kind.field(i).type) for i in range(kind.num_fields))


def _nulls(array: pa.Array, size: int) -> list[bool]:
    """Say for a column and its members, `size` arrays in all, whether they are null throughout."""
    import pyarrow as pa

    rows = len(array)
    if size == 1 or array.null_count == rows or not isinstance(array, pa.StructArray):
        return [array.null_count == rows] * size
    members = [array.field(i) for i in range(array.type.num_fields)]
    if len(members) == size - 1:
        return [False, *(member.null_count == rows for member in members)]
    return [False, *(flag for member in members for flag in _nulls(member, _size(member.type)))]


def _kept(kind: pa.DataType, at: int, nulls: Mask, arrays: Mask) -> pa.DataType:
    """Return a column's type without the members that are null, and note in `arrays` what is left.

    at: the number of its array.
    """
    import pyarrow as pa

    arrays[at] = True
    if not pa.types.is_struct(kind):
        arrays[at : at + _size(kind)] = True
        return kind
    fields = []
    at += 1
    for i in range(kind.num_fields):
        field = kind.field(i)
        if not nulls[at]:
            fields.append(field.with_type(_kept(field.type, at, nulls, arrays)))
        at += _size(field.type)
    return pa.struct(fields)


def _narrowed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if array.type.equals(kind):
        return array
    members = [_narrowed(array.field(array.type.get_field_index(f.name)), f.type) for f in kind]
    return pa.Array.from_buffers(kind, len(array), [validity(array)], children=members)
