"""From columns to text, a batch at a time: distinct values are formatted, the rest is lookup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Texts remembered between batches, per part of the event text: some traffic's packets, not all its history.
CACHE_ENTRIES = 32_768


class TextCache:
    """The texts of one part, kept from batch to batch because packets and devices come back.

    text: called with one value per column; its result is the text, None for nothing.
    """

    def __init__(self, text: Callable[..., str | None]) -> None:
        self._text = text
        self._known: dict[tuple[Any, ...], str | None] = {}

    def texts(self, columns: Sequence[pa.Array]) -> pa.Array | None:
        """Return a text (or null) for each row of equally long columns; None when no row has one.

        Columns are of types that Arrow can hash (numbers, strings, binary, bool), or lists, given as tuples.
        """
        if all(column.null_count == len(column) for column in columns):
            return None
        rows, lookup = _distinct_rows(columns)
        known, text = self._known, self._text
        if len(known) > CACHE_ENTRIES:
            known.clear()
        formatted: list[str | None] = []
        for row in rows:
            try:
                formatted.append(known[row])
            except KeyError:
                known[row] = made = text(*row)
                formatted.append(made)
        values = pa.array(formatted, pa.string())
        return None if values.null_count == len(values) else values.take(lookup)


def _distinct_rows(columns: Sequence[pa.Array]) -> tuple[list[tuple[Any, ...]], pa.Array]:
    """Return the distinct rows as tuples of Python values, and for each row its place among them."""
    encoded = [_encoded(column) for column in columns]
    if len(encoded) == 1:
        return [(value,) for value in _values(encoded[0])], encoded[0].indices
    varying = [e for e in encoded if len(e.dictionary) > 1]
    codes, decode = _codes(varying, len(columns[0]))
    lists = []
    for e in encoded:
        values = _values(e)
        lists.append(
            [values[i] for i in decode[id(e)]] if id(e) in decode else values * len(codes.dictionary)
        )
    return list(zip(*lists, strict=True)), codes.indices


@dataclass(frozen=True, eq=False)
class _Lists:
    """A column of lists as Arrow's dictionary columns are. dictionary: the distinct ones, as tuples."""

    indices: pa.Array
    dictionary: list[tuple[Any, ...] | None]


def _encoded(column: pa.Array) -> Any:
    if not pa.types.is_list(column.type):
        return column.dictionary_encode("encode")
    if column.null_count == len(column):
        return _Lists(pa.array(np.zeros(len(column), np.int32)), [None])
    numbers: dict[tuple[Any, ...] | None, int] = {}
    values = (None if value is None else tuple(value) for value in column.to_pylist())
    codes = [numbers.setdefault(value, len(numbers)) for value in values]
    return _Lists(pa.array(codes, pa.int32()), list(numbers))


def _values(encoded: Any) -> list[Any]:
    return encoded.dictionary if isinstance(encoded, _Lists) else python_values(encoded.dictionary)


def _codes(varying: Sequence[pa.Array], rows: int) -> tuple[pa.Array, dict[int, list[int]]]:
    """Number the distinct combinations of several dictionary columns.

    Returns the numbers as a dictionary column, and per column (by id) which of its values each one means.
    """
    combined = pa.array(np.zeros(rows, np.int32)).dictionary_encode()
    picks: dict[int, np.ndarray[Any, Any]] = {}
    for column in varying:
        # Both factors are at most the number of rows: no overflow of 64 bits.
        size = len(column.dictionary)
        pair = combined.indices.to_numpy().astype(np.int64) * size + column.indices.to_numpy()
        combined = pa.array(pair).dictionary_encode()
        before, own = np.divmod(combined.dictionary.to_numpy(), size)
        picks = {key: chosen[before] for key, chosen in picks.items()}
        picks[id(column)] = own
    return combined, {key: chosen.tolist() for key, chosen in picks.items()}


def python_values(array: pa.Array) -> list[Any]:
    """Return the values as Python objects: as `to_pylist`, several times faster for numbers."""
    if not pa.types.is_integer(array.type):
        return array.to_pylist()  # type: ignore[no-any-return]
    if not array.null_count:
        return array.to_numpy().tolist()  # type: ignore[no-any-return]
    values = pc.fill_null(array, 0).to_numpy().tolist()
    for i in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)):
        values[i] = None
    return values  # type: ignore[no-any-return]
