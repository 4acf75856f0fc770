"""Packets as they lie in memory, and headers read of many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
_BEHIND = 128  # bytes after the last packet: all headers that are looked at together are less
ETHERNET = np.dtype([("addresses", "V12"), ("ethertype", ">u2")])


@dataclass(frozen=True, eq=False)
class Bytes:
    """Packets as they lie in memory. content: of all, and what any header may look at behind the last."""

    content: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, data: pa.Array) -> Bytes:
        """Take the packets of a binary column; nulls have no bytes."""
        _, offsets, content = data.buffers()
        ends = np.frombuffer(offsets, np.int32)[data.offset : data.offset + len(data) + 1].astype(np.int64)
        first, last = (int(ends[0]), int(ends[-1])) if len(data) else (0, 0)
        packed = np.zeros(last - first + _BEHIND, np.uint8)
        if last > first:
            packed[: last - first] = np.frombuffer(content, np.uint8)[first:last]
        lengths = np.diff(ends)
        if data.null_count:
            lengths = np.where(data.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
        return cls(packed, ends[:-1] - first, lengths)

    def records(self, kind: np.dtype[Any], rows: Numbers, at: int) -> Numbers:
        """Return what lies at a place of each of these packets; of short ones, whatever is there."""
        windows = np.lib.stride_tricks.sliding_window_view(self.content, kind.itemsize)
        found: Numbers = windows[self.starts[rows] + at].view(kind)[:, 0]
        return found

    def of_ethertype(self, number: int, more: int) -> Numbers:
        """Return the rows of the frames with an ethertype, of at least so many bytes behind it."""
        rows = np.flatnonzero(self.lengths >= ETHERNET.itemsize + more)
        found: Numbers = rows[self.records(ETHERNET, rows, 0)["ethertype"] == number]
        return found


@dataclass(frozen=True, eq=False)
class Payload:
    """What is in IP. claimed: its bytes as the headers have it; there: those that were captured of them."""

    bytes_: Bytes
    rows: Numbers
    at: int
    claimed: Numbers
    there: Numbers
    unfilled: Mask

    def only(self, which: Numbers) -> Payload:
        """Return some of them."""
        fields = (self.claimed, self.there, self.unfilled)
        return Payload(self.bytes_, self.rows[which], self.at, *(field[which] for field in fields))

    def header(self, kind: np.dtype[Any]) -> Numbers:
        """Return the first header of each."""
        return self.bytes_.records(kind, self.rows, self.at)
