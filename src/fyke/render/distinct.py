"""From columns to text, a batch at a time: distinct values are formatted, the rest is lookup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.coded import encoded

# Texts remembered between batches, per part of the event text: some traffic's packets, not all its history.
CACHE_ENTRIES = 32_768
_MOST = np.iinfo(np.int64).max


class TextCache:
    """The texts of one part, kept from batch to batch because packets and devices come back.

    text: called with one value per column; its result is the text, None for nothing.
    many: called first, with an array per column, of distinct rows. Its result is an array of their texts,
    with null for rows that `text` is to be asked for.
    """

    def __init__(self, text: Callable[..., str | None], many: Callable[..., pa.Array] | None = None) -> None:
        self._text = text
        self._many = many
        self._known: dict[tuple[Any, ...], str | None] = {}

    def texts(self, columns: Sequence[pa.Array]) -> pa.Array | None:
        """Return a text (or null) for each row of equally long columns; None when no row has one.

        Columns are of types that Arrow can hash (numbers, strings, binary, bool), strings by number, or
        lists, given as tuples.
        """
        if all(column.null_count == len(column) for column in columns):
            return None
        distinct = _Distinct(columns)
        if self._many is None:
            values = self._formatted(distinct.rows())
        else:
            arrays = distinct.arrays()
            values = self._many(*arrays)
            if values.null_count:
                left = values.is_null()
                rows = list(zip(*(python_values(array.filter(left)) for array in arrays), strict=True))
                values = pc.replace_with_mask(values, left, self._formatted(rows))
        return None if values.null_count == len(values) else values.take(distinct.indices)

    def _formatted(self, rows: Sequence[tuple[Any, ...]]) -> pa.Array:
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
        return pa.array(formatted, pa.string())


class _Distinct:
    """The distinct rows of equally long columns. indices: the place of each row among them."""

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self._columns = [_coded(column) for column in columns]
        self._picks: dict[int, np.ndarray[Any, Any]] = {}
        if len(self._columns) == 1:
            (only,) = self._columns
            self.indices, self._count = only.indices, len(only.dictionary)
            self._picks[id(only)] = np.arange(self._count)
        else:
            varying = [e for e in self._columns if len(e.dictionary) > 1]
            codes, self._picks = _codes(varying, len(columns[0]))
            self.indices, self._count = codes.indices, len(codes.dictionary)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return them as tuples of Python values."""
        lists = []
        for e in self._columns:
            values, picks = _values(e), self._picks.get(id(e))
            lists.append(values * self._count if picks is None else [values[i] for i in picks.tolist()])
        return list(zip(*lists, strict=True))

    def arrays(self) -> list[pa.Array]:
        """Return a column for each."""
        alike = np.zeros(self._count, np.int64)
        return [e.dictionary.take(pa.array(self._picks.get(id(e), alike))) for e in self._columns]


@dataclass(frozen=True, eq=False)
class _Lists:
    """A column of lists as Arrow's dictionary columns are. dictionary: the distinct ones, as tuples."""

    indices: pa.Array
    dictionary: list[tuple[Any, ...] | None]


def _coded(column: pa.Array) -> Any:
    if column.null_count == len(column):
        none = pa.array(np.zeros(len(column), np.int8))
        return pa.DictionaryArray.from_arrays(none, pa.nulls(1, column.type), safe=False)
    if not pa.types.is_list(column.type):
        return encoded(column)
    numbers: dict[tuple[Any, ...] | None, int] = {}
    values = (None if value is None else tuple(value) for value in column.to_pylist())
    codes = [numbers.setdefault(value, len(numbers)) for value in values]
    return _Lists(pa.array(codes, pa.int32()), list(numbers))


def _values(column: Any) -> list[Any]:
    return column.dictionary if isinstance(column, _Lists) else python_values(column.dictionary)


def _codes(varying: Sequence[pa.Array], rows: int) -> tuple[pa.Array, dict[int, np.ndarray[Any, Any]]]:
    """Number the distinct combinations of several dictionary columns.

    Returns the numbers as a dictionary column, and per column (by id) which of its values each one means.
    """
    combined = pa.array(np.zeros(rows, np.int32)).dictionary_encode()
    picks: dict[int, np.ndarray[Any, Any]] = {}
    left = list(varying)
    while left:
        # As many at once as fit into a number: finding equal ones takes longest.
        numbers, together, size = combined.indices.to_numpy().astype(np.int64), [], len(combined.dictionary)
        while left and size * len(left[0].dictionary) <= _MOST:
            column = left.pop(0)
            numbers = numbers * len(column.dictionary) + column.indices.to_numpy()
            size *= len(column.dictionary)
            together.append(column)
        combined = pa.array(numbers).dictionary_encode()
        earlier, before, picks = picks, combined.dictionary.to_numpy(), {}
        for column in reversed(together):
            before, picks[id(column)] = np.divmod(before, len(column.dictionary))
        picks |= {key: chosen[before] for key, chosen in earlier.items()}
    return combined, picks


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
