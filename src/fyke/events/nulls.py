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


class Nulls:
    """Nulls of one type, for whoever wants them often: to find them by the type takes longer."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._made = nulls(0, kind)

    def __call__(self, count: int) -> pa.Array:
        """Return `count` of them."""
        if count > len(self._made):
            made = nulls(count, self._kind)
            if count > _MOST_ROWS:
                return made
            self._made = _made[self._kind]
        return self._made.slice(0, count)


def validity(array: pa.Array) -> pa.Buffer | None:
    """Return which values of an array aren't null, as the buffer of another of the same length; None: all."""
    if not array.null_count:
        return None
    return array.is_valid().buffers()[1] if array.offset else array.buffers()[0]
