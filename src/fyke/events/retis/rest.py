"""The lines of a block that the fast way left: read one by one, and put between the others' rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from fyke.events.retis.arrays import indices_of
from fyke.events.retis.exact import Converter, number_series, to_batch
from fyke.events.retis.lines import Block, Places
from fyke.events.retis.rows import Row
from fyke.events.retis.scan import Flags

_ROWS = 10_000  # that are Python objects at a time


class Rest:
    """Rows of the lines of a block that are not `taken`, up to the first that is wrong.

    series: the number of the first series of the block, in sorted files.
    batches: the rows. row_lines: the line of each, from 0 in the block. has_rows: for each line of the block
    whether there are rows of it, taken or not. problem: what is wrong with line `end`; without one, `end` is
    behind the last line.
    """

    def __init__(
        self, block: Block, taken: Flags, converter: Converter, schema: pa.Schema, series: int
    ) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.row_lines: list[int] = []
        self.has_rows = taken.copy()
        self.problem: Exception | None = None
        self.end = len(block.starts)
        self._schema = schema
        self._unknown: list[tuple[int, Counter[str]]] = []
        self._rows: list[Row] = []
        before = np.cumsum(taken)  # all series of ours up to a line that isn't taken are before it
        for line in np.flatnonzero(~taken).tolist():
            unknown: Counter[str] = Counter()
            try:
                rows = converter.rows(block.line(line), unknown)
            except ValueError as error:
                self._stop(line, error)
                break
            if rows:
                self.has_rows[line] = True
                if converter.sorted:
                    number_series(rows, series + int(before[line]))
                    series += 1
            if unknown:
                self._unknown.append((line, unknown))
            self._rows.extend(rows)
            self.row_lines.extend([line] * len(rows))
            if len(self._rows) >= _ROWS:
                self._flush()
                if self.problem is not None:
                    break
        self._flush()

    def unknown(self) -> Counter[str]:
        """Return how often sections without a column occur in the lines before `end`."""
        return sum((counts for line, counts in self._unknown if line < self.end), Counter[str]())

    def _stop(self, line: int, problem: Exception) -> None:
        self.end, self.problem = line, problem

    def _flush(self) -> None:
        """Make a batch of the rows so far; a problem with one comes before any later one."""
        if not self._rows:
            return
        batch, problem = to_batch(self._rows, self._schema)
        self.batches.append(batch)
        if problem is not None:
            whole = len(self.row_lines) - len(self._rows) + batch.num_rows
            self._stop(self.row_lines[whole], problem)
            del self.row_lines[whole:]
        self._rows = []


def merged(batch: pa.RecordBatch, lines: Places, rest: Rest) -> tuple[pa.RecordBatch, Places]:
    """Return the rows of `batch`, which are of `lines`, and those of the rest in the order of their lines.

    And the line of each.
    """
    batch = batch.slice(0, int(np.searchsorted(lines, rest.end)))
    lines = lines[: batch.num_rows]
    if not rest.batches:
        return batch, lines
    lines = np.concatenate((lines, np.array(rest.row_lines, np.int64)))
    order = np.argsort(lines, kind="stable")
    return pa.concat_batches([batch, *rest.batches]).take(indices_of(order)), lines[order]
