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
_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_LAST = np.array([((1 << 8 * n) - 1) << 8 * (8 - n) for n in range(9)], _U)  # masks of the last n characters


def whole_numbers(block: Block, starts: Places, ends: Places) -> tuple[Numbers, Flags]:
    """Return the numbers between each start and end, and which of them are as JSON and 64 bits have them.

    The others (no digits, other characters, a leading zero, too large) are any number.
    """
    lengths = ends - starts
    good = (lengths >= 1) & (lengths <= MAX_DIGITS)
    if not good.all():
        lengths, starts, ends = (
            np.where(good, lengths, 1),
            np.where(good, starts, 32),
            np.where(good, ends, 33),
        )
    good &= (lengths == 1) | (block.bytes[starts] != ord("0"))
    values, digits = _eight(block, ends, np.minimum(lengths, 8))
    good &= digits
    longer = np.arange(len(lengths))
    for begin, unit in ((8, 10**8), (16, 10**16)):
        longer = longer[lengths[longer] > begin]
        high, digits = _eight(block, ends[longer] - begin, np.minimum(lengths[longer] - begin, 8))
        if begin == 16:
            low, limit = values[longer], 2**64 - 1
            digits &= (high < limit // unit) | ((high == limit // unit) & (low <= limit % unit))
        good[longer] &= digits
        values[longer] += high * _U(unit)
    return values, good


def _eight(block: Block, ends: Places, lengths: Places) -> tuple[Numbers, Flags]:
    """Return the numbers of at most eight digits that end at `ends`, and which are digits indeed.

    A byte is a digit's value after `^ '0'`; neighbours are put together, then pairs, then fours.
    """
    digits = (block.words[ends - 8] ^ _ZEROS) & _LAST[lengths]
    good = (((digits + _U(0x7676767676767676)) | digits) & _U(0x8080808080808080)) == 0
    pairs = digits * _U(10) + (digits >> _U(8))
    mask = _U(0x000000FF000000FF)
    fours = (pairs & mask) * _U(100 + (1_000_000 << 32))
    fours += ((pairs >> _U(16)) & mask) * _U(1 + (10_000 << 32))
    return fours >> _U(32), good


def strings(block: Block, starts: Places, ends: Places, there: Flags) -> pa.StringArray:
    """Return the strings between each start and end, null where there is none.

    Starts and ends grow, but for those that aren't there. The bytes are UTF-8 (not checked).
    """
    return _spans(block.content, starts, ends, there, "string")


def decoded(texts: pa.StringArray, there: Flags) -> tuple[pa.BinaryArray, Flags]:
    """Return the bytes that strings are base64 of, and which are indeed; the others are any bytes.

    there: which strings are not null.
    """
    import pyarrow as pa

    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = texts.buffers()[2]
    raw = content.to_pybytes()[offsets[0] : offsets[-1]] if content is not None else b""
    begins, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    good = (ends - begins) % 4 == 0
    letters = np.frombuffer(raw + b"\0\0", np.uint8)  # never before the first: -1, -2 are these zeros
    filled = ends > begins
    one = filled & (letters[ends - 1] == ord("="))
    two = one & (letters[ends - 2] == ord("="))
    padding = one.astype(np.int64) + two
    if good.all() and raw.count(b"=") == padding.sum():
        try:
            data = binascii.a2b_base64(raw.replace(b"=", b"A"), strict_mode=True)
        except binascii.Error:
            pass
        else:
            return _spans(data, begins // 4 * 3, ends // 4 * 3 - padding, there, "binary"), good
    values = [_bytes(text) if text is not None else None for text in texts.to_pylist()]
    good = np.array([value is not None for value in values], np.bool_) | ~there
    return pa.array(values, pa.binary()), good


def _bytes(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _spans(content: bytes, starts: Places, ends: Places, there: Flags, kind: str) -> pa.Array:
    """Return parts of `content` as an array: every second string between the places in order."""
    import pyarrow as pa

    chosen = np.arange(0, 2 * len(starts), 2)
    if not there.all():
        starts, ends, chosen = starts[there], ends[there], np.maximum(2 * np.cumsum(there) - 2, 0)
    places = np.zeros(2 * len(starts) + 1, np.int32)
    places[:-1:2], places[1::2] = starts, ends
    places[-1] = ends[-1] if len(ends) else 0
    pieces = pa.Array.from_buffers(
        pa.type_for_alias(kind), len(places) - 1, [None, pa.py_buffer(places), pa.py_buffer(content)]
    )
    return pieces.take(pa.Array.from_buffers(pa.int64(), len(there), [bitmap(there), pa.py_buffer(chosen)]))


def bitmap(there: Flags) -> pa.Buffer | None:
    """Return which values are not null in Arrow's form. (pa.array() would import pandas, where it is.)"""
    return None if there.all() else packed(there)


def packed(flags: Flags) -> pa.Buffer:
    """Return flags as Arrow has them, a bit each."""
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))
