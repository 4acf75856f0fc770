"""How many events there were when: counts per probe in bins of time, as fine as a bounded memory allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 4096
MOST_PROBES = 256  # with counts of their own; what is hit at others is in the total

Numbers = npt.NDArray[np.int64]


class Rates:
    """Counts of events by probe number and time. Bins are 2**n ns, n as small as BINS allow."""

    def __init__(self) -> None:
        self._shift = 0
        self._first = 0  # bin number of the first column
        self._counts: Numbers = np.zeros((0, 0), np.int64)
        self._low: int | None = None
        self._high = 0

    def add(self, probes: Numbers, times: npt.NDArray[np.uint64]) -> None:
        """Count events. probes: the number of the probe of each, from 0. times: in ns."""
        low, high = int(times.min()), int(times.max())
        self._make_room(low, high, min(int(probes.max()) + 1, MOST_PROBES))
        width = self._counts.shape[1]
        places = ((times >> np.uint64(self._shift)) - np.uint64(self._first)).astype(np.int64)
        rows = np.minimum(probes, MOST_PROBES)  # the last row is of all the others
        total = np.bincount(rows * width + places, minlength=self._counts.size)
        self._counts += total.reshape(self._counts.shape)

    def columns(self, count: int) -> tuple[float, Numbers]:
        """Return the width of a column in ns, and events by probe and column, shape (probes + 1, count).

        The last row is of the probes that have none. The columns go from the first event to the last.
        """
        rows = max(self._counts.shape[0], 1)
        if self._low is None:
            return 0.0, np.zeros((rows, count), np.int64)
        span = self._high - self._low + 1
        start = (self._first << self._shift) - self._low  # small, while times may be beyond what floats tell
        half = 0.5 if self._shift else 0  # of a bin that is wider than the smallest step of time
        middles = (np.arange(self._counts.shape[1]) + half) * 2.0**self._shift + start
        places = np.clip((middles * count / span).astype(np.int64), 0, count - 1)
        result = np.zeros((rows, count), np.int64)
        for row in range(rows):
            np.add.at(result[row], places, self._counts[row])
        return span / count, result

    def _make_room(self, low: int, high: int, probes: int) -> None:
        if self._low is None:
            self._low, self._high = low, high
        first, last = min(low, self._low), max(high, self._high)
        shift = self._shift
        while (last >> shift) - (first >> shift) >= BINS:
            shift += 1
        wide = (last >> shift) - (first >> shift) + 1
        before = self._counts
        own, width = before.shape
        # Twice what is needed now, within BINS, so that a growing recording is seldom copied.
        width = width if shift == self._shift and first >> shift == self._first else 0
        if wide > width or probes + 1 > own:
            self._copy(shift, first >> shift, max(width, min(2 * wide, BINS)), max(probes + 1, own))
        self._low, self._high = first, last

    def _copy(self, shift: int, first: int, width: int, rows: int) -> None:
        before, counts = self._counts, np.zeros((rows, width), np.int64)
        own = before.shape[0]
        used = np.flatnonzero(before.any(axis=0))
        places = ((self._first + used) >> (shift - self._shift)) - first
        for row in range(own):
            # The row of all the others stays the last.
            target = rows - 1 if row == own - 1 else row
            np.add.at(counts[target], places, before[row, used])
        self._shift, self._first, self._counts = shift, first, counts
