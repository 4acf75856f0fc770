"""Columns of strings, of numbers and of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fyke.packets.columns.payload import Numbers

_tables: dict[int, pa.Array] = {}


def distinct(values: Numbers, text: Callable[[Any], str]) -> pa.Array:
    """Return the text of each value, numbers or bytes, by a function that is called once for equal ones."""
    size = values.dtype.itemsize
    if values.dtype.kind == "V":
        packed = np.ascontiguousarray(values)
        array = pa.Array.from_buffers(pa.binary(size), len(values), [None, pa.py_buffer(packed.tobytes())])
    else:
        array = pa.array(values.astype(np.uint32))
    coded = array.dictionary_encode()
    return pa.array(map(text, coded.dictionary.to_pylist()), pa.string()).take(coded.indices)


def named(table: Sequence[str], numbers: Numbers) -> pa.Array:
    """Return each number's text in a table that lives for ever."""
    if id(table) not in _tables:
        _tables[id(table)] = pa.array(table, pa.string())
    return _tables[id(table)].take(pa.array(numbers.astype(np.uint16)))


def placed(count: int, found: Sequence[tuple[Numbers, pa.Array]]) -> pa.Array:
    """Return so many texts, from rows and their texts; null in other rows."""
    places = np.full(count, -1, np.int64)
    begin = 0
    for rows, made in found:
        places[rows] = np.arange(begin, begin + len(made))
        begin += len(made)
    if not begin:
        return pa.nulls(count, pa.string())
    return pa.concat_arrays([made for _, made in found]).take(pa.array(places, mask=places < 0))


def decimal(numbers: Numbers) -> pa.Array:
    """Return numbers as strings."""
    return as_text(pa.array(numbers.astype(np.int64 if numbers.dtype.itemsize == 8 else np.uint32)))


def as_text(numbers: pa.Array) -> pa.Array:
    """Return numbers as strings, null where there is none."""
    return numbers.cast(pa.string())
