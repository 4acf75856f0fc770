"""Columns that are null throughout, as most columns of most collections are: one piece of memory for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 1 << 17  # a table of all columns has some 250 bytes a row
_made: dict[pa.DataType, pa.Array] = {}


def nulls(count: int, kind: pa.DataType) -> pa.Array:
    """Return `count` nulls of a type, as pyarrow.nulls does."""
    import pyarrow as pa

    if count > _MOST_ROWS:
        return pa.nulls(count, kind)
    made = _made.get(kind)
    if made is None or len(made) < count:
        made = _made[kind] = pa.nulls(1 << max(count - 1, 0).bit_length(), kind)
    return made.slice(0, count)
