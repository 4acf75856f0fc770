"""Event tables as data frames have them, and one schema for files of several versions."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def joined_schema(schemas: list[pa.Schema]) -> pa.Schema:
    """Return the schema with the columns of all, those of the first one first.

    Raises UsageError where a column is of two types.
    """
    joined = schemas[0].remove_metadata()
    for schema in schemas[1:]:
        if not schema.equals(joined):
            fields = {field.name: field for field in joined}
            for field in schema:
                before = fields.get(field.name)
                fields[field.name] = field if before is None else before.with_type(_joined(before, field))
            joined = pa.schema(list(fields.values()))
    return joined


def _joined(one: pa.Field, other: pa.Field) -> pa.DataType:
    if one.type.equals(other.type):
        return one.type
    if pa.types.is_struct(one.type) and pa.types.is_struct(other.type):
        parts = [
            pa.schema([kind.field(i) for i in range(kind.num_fields)]) for kind in (one.type, other.type)
        ]
        return pa.struct(list(joined_schema(parts)))
    from fyke.errors import UsageError

    raise UsageError(
        f"the column {one.name} is {one.type} in one file and {other.type} in another", "open them one by one"
    )


def flat(table: pa.Table) -> pa.Table:
    """Return the table with a column `section.column` for each column of a section."""
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def to_pandas(pandas: Any, table: pa.Table) -> Any:
    """Return the table as a DataFrame whose integers stay integers: addresses have all 64 bits."""
    kinds = {
        pa.type_for_alias(name.lower()): getattr(pandas, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    kinds |= {pa.bool_(): pandas.BooleanDtype(), pa.string(): pandas.StringDtype()}
    return table.to_pandas(types_mapper=kinds.get)
