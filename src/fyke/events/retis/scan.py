"""Values in a block of lines -> columns, many at a time: whole numbers, strings, base64."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fyke.events.retis.lines import Block, Places

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

MAX_DIGITS = 20  # of 2**64 - 1
_U, _HALF = np.uint64, np.uint32
_LAST = np.array([((1 << 8 * n) - 1) << 8 * (8 - n) for n in range(9)], _U)  # masks of the last n characters
_LAST_OF_FOUR = (_LAST >> _U(32)).astype(_HALF)
# The smallest number of so many digits: one without digits, or with too many, is none.
_SMALLEST = np.array([2**64 - 1, 0, *(10**n for n in range(1, MAX_DIGITS)), 2**64 - 1], _U)


def whole_numbers(block: Block, starts: Places, ends: Places) -> tuple[Numbers, Flags]:
    """Return the numbers between each start and end, and which of them are as JSON and 64 bits have them.

    starts, ends: of any number of rows; the numbers of a row are about as long. The others (no digits, other
    characters, a leading zero, too large) are any number.
    """
    lengths = ends - starts
    values, good = np.empty(lengths.shape, _U), np.empty(lengths.shape, np.bool_)
    longest = lengths.max(axis=1, initial=0)
    for read, which in (
        (_four, longest <= 4),
        (_eight, (longest > 4) & (longest <= 8)),
        (_sixteen, (longest > 8) & (longest <= 16)),
        (_twenty, longest > 16),
    ):
        rows = np.flatnonzero(which)
        if len(rows):
            values[rows], good[rows] = read(block, ends.take(rows, axis=0), lengths.take(rows, axis=0))
    good &= values >= _SMALLEST.take(lengths, mode="clip")
    good &= lengths <= MAX_DIGITS
    return values, good


def _four(block: Block, ends: Places, lengths: Places) -> tuple[npt.NDArray[np.uint32], Flags]:
    """Return the numbers of at most four digits that end at `ends`, and which are digits indeed.

    A byte is a digit's value after `^ '0'`; neighbours are put together, then pairs.
    """
    digits = block.halves[ends - 4]
    digits ^= _HALF(0x30303030)
    digits &= _LAST_OF_FOUR.take(lengths)
    good = (((digits + _HALF(0x76767676)) | digits) & _HALF(0x80808080)) == 0
    pairs = digits * _HALF(10)
    pairs += digits >> _HALF(8)
    pairs &= _HALF(0x00FF00FF)
    pairs *= _HALF(1 + (100 << 16))
    pairs >>= _HALF(16)
    return pairs, good


def _eight(block: Block, ends: Places, lengths: Places) -> tuple[Numbers, Flags]:
    """Return the same of at most eight digits."""
    digits = block.words[ends - 8]
    digits ^= _U(0x3030303030303030)
    digits &= _LAST.take(lengths, mode="clip")
    good = (((digits + _U(0x7676767676767676)) | digits) & _U(0x8080808080808080)) == 0
    pairs = digits * _U(10)
    pairs += digits >> _U(8)
    mask = _U(0x000000FF000000FF)
    fours = pairs & mask
    fours *= _U(100 + (1_000_000 << 32))
    pairs >>= _U(16)
    pairs &= mask
    pairs *= _U(1 + (10_000 << 32))
    fours += pairs
    fours >>= _U(32)
    return fours, good


def _sixteen(block: Block, ends: Places, lengths: Places) -> tuple[Numbers, Flags]:
    low, good = _eight(block, ends, lengths)
    high, digits = _eight(block, ends - 8, lengths - 8)
    high *= _U(10**8)
    return low + high, good & digits


def _twenty(block: Block, ends: Places, lengths: Places) -> tuple[Numbers, Flags]:
    low, good = _sixteen(block, ends, lengths)
    high, digits = _eight(block, ends - 16, lengths - 16)
    unit = 10**16
    good &= digits & (high <= 2**64 // unit)  # from 2**64 on, what is left of the sum has fewer digits
    high *= _U(unit)
    return low + high, good


def strings(block: Block, starts: Places, ends: Places, there: Flags) -> pa.StringArray:
    """Return the strings between each start and end, null where there is none. They are ASCII."""
    return _spans(block.content, starts, ends, there, "string")


def decoded(texts: pa.StringArray, there: Flags) -> tuple[pa.BinaryArray, Flags]:
    """Return the bytes that strings are base64 of, and which are indeed; the others are any bytes.

    there: which strings are not null.
    """
    import pyarrow as pa

    found = _decoded_at_once(texts)
    if found is not None:
        data, starts, ends = found
        return _spans(data, starts, ends, there, "binary"), np.ones(len(texts), np.bool_)
    values = [_bytes(text) if text is not None else None for text in texts.to_pylist()]
    good = np.array([value is not None for value in values], np.bool_) | ~there
    return pa.array(values, pa.binary()), good


def are_base64(texts: pa.StringArray, there: Flags) -> Flags:
    """Return which strings are base64, or not there."""
    if _decoded_at_once(texts) is not None:
        return np.ones(len(texts), np.bool_)
    return decoded(texts, there)[1]


def _decoded_at_once(texts: pa.StringArray) -> tuple[bytes, Places, Places] | None:
    """Return bytes, and where those of each string begin and end; None when not all are base64."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = texts.buffers()[2]
    length = int(offsets[-1] - offsets[0])
    letters = np.zeros(length + 2, np.uint8)  # never before the first: -1, -2 are these zeros
    if length:
        letters[:length] = np.frombuffer(content, np.uint8)[offsets[0] : offsets[-1]]
    begins, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    if ((ends - begins) % 4).any():
        return None
    filled = ends > begins
    one = filled & (letters[ends - 1] == ord("="))
    two = one & (letters[ends - 2] == ord("="))
    padding = one.astype(np.int64) + two
    # Padding becomes zeros, as if all were one string; strictly, there may be no other.
    letters[(ends - 1)[one]] = letters[(ends - 2)[two]] = ord("A")
    try:
        data = binascii.a2b_base64(letters.data[:length], strict_mode=True)
    except binascii.Error:
        return None
    return data, begins // 4 * 3, ends // 4 * 3 - padding


def _bytes(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _spans(content: bytes, starts: Places, ends: Places, there: Flags, kind: str) -> pa.Array:
    """Return parts of `content` as an array, null where none is there."""
    import pyarrow as pa

    if there.all():
        return _cut(content, starts, ends, kind)
    few = _cut(content, starts[there], ends[there], kind)
    _, offsets, data = few.buffers()
    before = np.zeros(len(there) + 1, np.int64)
    np.cumsum(there, out=before[1:])
    spread = np.frombuffer(offsets, np.int32, len(few) + 1)[before]
    buffers = [bitmap(there), pa.py_buffer(spread), data if data is not None else pa.py_buffer(b"")]
    return pa.Array.from_buffers(few.type, len(there), buffers)


def _cut(content: bytes, starts: Places, ends: Places, kind: str) -> pa.Array:
    """Return parts of `content` as an array: every second string between the places.

    The others are never looked at. The last ends where Arrow, which makes room for as many bytes as the mean
    of all strings tells, makes room for those that are taken.
    """
    import pyarrow as pa

    places = np.zeros(2 * len(starts) + 1, np.int32)
    places[:-1:2], places[1::2] = starts, ends
    places[-1] = min(places[0] + 2 * int((ends - starts).sum()), len(content))
    pieces = pa.Array.from_buffers(
        pa.type_for_alias(kind), len(places) - 1, [None, pa.py_buffer(places), pa.py_buffer(content)]
    )
    chosen = pa.py_buffer(np.arange(0, len(places) - 1, 2))
    return pieces.take(pa.Array.from_buffers(pa.int64(), len(starts), [None, chosen]))


def bitmap(there: Flags) -> pa.Buffer | None:
    """Return which values are not null in Arrow's form. (pa.array() would import pandas, where it is.)"""
    return None if there.all() else packed(there)


def packed(flags: Flags) -> pa.Buffer:
    """Return flags as Arrow has them, a bit each."""
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))
