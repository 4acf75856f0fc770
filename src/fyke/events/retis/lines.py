"""The lines of a file, many at a time: blocks that are searched as arrays of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 4 << 20  # some 7,000 events; with more of them, what is made of it leaves the caches
MAX_LINE = 64 << 20  # bytes; a Retis event takes some 600, a series is one packet's

Places = npt.NDArray[np.int64]

PIECE = 32  # bytes; numpy needs as long to fetch eight from any place
PAD = bytes(PIECE)  # so that pieces can be read before the first byte and beyond the last
_NEWLINE, _QUOTE, _BACKSLASH = b'\n"\\'
_SPACE, _DELETE = 0x20, 0x7F  # the first printable character, and what comes after the last


class LongLine(ValueError):
    """A line is longer than any event; nothing after it was read."""


@dataclass(frozen=True)
class Block:
    """Whole lines.

    content: their bytes between paddings. starts, ends: where each line begins, and its newline is (of a last
    line without one: where the bytes end). plain: for each line, whether it is of printable ASCII without
    backslashes; in such a line every quote begins or ends a string, and a string is its bytes.
    first: the number of the first line in the file, from 1. offset: where it is there, in bytes from where
    reading began.
    """

    content: bytes
    starts: Places
    ends: Places
    plain: npt.NDArray[np.bool_]
    first: int
    offset: int

    def line(self, number: int) -> bytes:
        """Return line `number` of the block, from 0, with its newline."""
        end = int(self.ends[number])
        return self.content[int(self.starts[number]) : min(end + 1, len(self.content) - len(PAD))]

    @cached_property
    def bytes(self) -> npt.NDArray[np.uint8]:
        """Every byte, paddings included."""
        return np.frombuffer(self.content, np.uint8)

    @cached_property
    def words(self) -> npt.NDArray[np.uint64]:
        """The eight bytes that begin at each place, as a little-endian number."""
        return np.ndarray((len(self.content) - 7,), np.dtype("<u8"), self.content, strides=(1,))

    @cached_property
    def halves(self) -> npt.NDArray[np.uint32]:
        """The four bytes that begin at each place, likewise."""
        return np.ndarray((len(self.content) - 3,), np.dtype("<u4"), self.content, strides=(1,))

    @cached_property
    def pieces(self) -> npt.NDArray[np.void]:
        """The `PIECE` bytes that begin at each place."""
        return np.ndarray(
            (len(self.content) - PIECE + 1,), np.dtype((np.void, PIECE)), self.content, strides=(1,)
        )

    @cached_property
    def quotes(self) -> int:
        """How many quotes there are."""
        return int(np.count_nonzero(self.bytes == _QUOTE))

    @cached_property
    def _quotes(self) -> Places:
        """Where they are: looked for only where lines must be searched."""
        return np.flatnonzero(self.bytes == _QUOTE)

    def quotes_in(self, starts: Places, ends: Places) -> tuple[Places, Places, Places]:
        """Return where quotes are, those of the parts among them; where each part's begin there; how many."""
        lengths = ends - starts
        befores = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        if 2 * total > len(self.content):
            firsts = np.searchsorted(self._quotes, starts)
            return self._quotes, firsts, np.searchsorted(self._quotes, ends) - firsts
        places = np.arange(total) + np.repeat(starts - befores, lengths)
        found = np.flatnonzero(self.bytes[places] == _QUOTE)
        firsts = np.searchsorted(found, befores)
        return places[found], firsts, np.searchsorted(found, befores + lengths) - firsts


def blocks(file: BinaryIO, first: int) -> Iterator[Block]:
    """Yield what a file holds from here on.

    first: the number of the line that begins here. Raises LongLine, after the lines before it.
    """
    offset = 0
    rest: list[bytes] = []  # of a line whose end was not read yet
    while data := file.read(BLOCK_BYTES):
        newline = data.find(b"\n")
        if sum(map(len, rest)) + (newline + 1 or len(data)) > MAX_LINE:
            raise LongLine("the line is longer than any event")
        if newline < 0:
            rest.append(data)
            continue
        whole = data.rindex(b"\n") + 1
        block = _block(b"".join((PAD, *rest, memoryview(data)[:whole], PAD)), first, offset)
        yield block
        first += len(block.starts)
        offset += len(block.content) - 2 * len(PAD)
        rest = [data[whole:]]
    if any(rest):
        yield _block(b"".join((PAD, *rest, PAD)), first, offset)


def _block(content: bytes, first: int, offset: int) -> Block:
    inner = np.frombuffer(content, np.uint8)[len(PAD) : -len(PAD)]
    odd = _set(inner < _SPACE)
    is_end = inner[odd] == _NEWLINE
    ends, odd = odd[is_end], odd[~is_end]
    if inner.max() >= _DELETE or _BACKSLASH in content:
        odd = np.concatenate((odd, np.flatnonzero((inner >= _DELETE) | (inner == _BACKSLASH))))
    if inner[-1] != _NEWLINE:
        ends = np.append(ends, len(inner))
    starts = np.concatenate(([0], ends[:-1] + 1))
    plain = np.ones(len(starts), np.bool_)
    plain[np.searchsorted(starts, odd, side="right") - 1] = False
    return Block(content, starts + len(PAD), ends + len(PAD), plain, first, offset)


def _set(flags: npt.NDArray[np.bool_]) -> Places:
    """Return which flags are set, of many of which few are: in two thirds of the time that NumPy takes."""
    packed = np.packbits(flags, bitorder="little")
    words = np.zeros(-(-len(packed) // 8), np.dtype("<u8"))  # of 64 flags each
    words.view(np.uint8)[: len(packed)] = packed
    places = np.flatnonzero(words)
    words, found = words[places], []
    while len(words):
        lowest = words & (~words + np.uint64(1))
        _, bits = np.frexp(lowest.astype(np.float64))  # a power of two is exact
        found.append(places * 64 + bits - 1)
        words ^= lowest
        places, words = places[words > 0], words[words > 0]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
