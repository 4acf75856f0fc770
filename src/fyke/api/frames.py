"""Event tables as data frames have them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fyke.events.conform import joined_schema as joined_schema


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
