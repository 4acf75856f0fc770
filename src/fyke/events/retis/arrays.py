"""Arrow's arrays as NumPy's and back, without copies of their values. (pyarrow's own ways import pandas.)"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fyke.events.retis.lines import Places
from fyke.events.retis.scan import Flags, packed


def valid(array: pa.Array) -> Flags:
    """Return which values aren't null."""
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    return flags_of(array.is_valid())


def flags_of(array: pa.BooleanArray) -> Flags:
    """Return an array of bools without nulls as NumPy's."""
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].view(np.bool_)


def numbers_of(array: pa.Int64Array) -> Places:
    """Return an array of int64 without nulls as NumPy's."""
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array)]


def bools_of(flags: Flags) -> pa.BooleanArray:
    """Return flags as an array."""
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, packed(flags)])


def indices_of(places: Places) -> pa.Array:
    """Return places as an array, for `take`."""
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)])
