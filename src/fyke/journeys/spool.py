"""Keeps batches until their rows are wanted in another order: in memory while they are few, else on disk."""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import InputError
from fyke.events.nulls import nulls
from fyke.events.output import PIECE
from fyke.journeys.take import taken

Rows = npt.NDArray[np.int64]  # by number
Counts = list[tuple[int, int]]  # of batches: number, and how many of its rows

# Held in memory up to this size; beyond it, a file costs less than new memory does.
MEMORY_BYTES = 48 << 20
# Of the file; what comes behind is packed. That takes longer than to write it, but disks may be small.
PLAIN_BYTES = 512 << 20


def spool_folder() -> str:
    """Return where large temporary files go: TMPDIR, else /var/tmp, which is on a disk (hier(7))."""
    folder = os.environ.get("TMPDIR", "/var/tmp")
    return folder if os.access(folder, os.W_OK) else tempfile.gettempdir()


class Spool:
    """Batches of one schema, appended in file order; whose rows are fetched by number, each once.

    The file has no name: it is gone when the process is, however that ends. Raises OSError on a full disk.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._starts = [0]
        self._left: list[int] = []  # rows of each batch that were not fetched yet
        self._held: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        self._bytes = 0
        self._file: Any = None
        self._places: dict[int, tuple[int, int]] = {}  # offset and length in the file

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._starts[-1]

    def append(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch at the end."""
        self._expect(len(batch))
        self._hold(len(self._left) - 1, batch)

    def fetch(self, rows: Rows) -> pa.RecordBatch:
        """Return the rows of these numbers (int64), in this order. No `append` may follow."""
        if not len(rows):
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        pieces, counts, places = self._stretch(rows) or self._scattered(rows)
        self._forget(counts)
        taken_from = pa.array(places)
        columns = [taken([p.column(i) for p in pieces], taken_from) for i in range(len(self.schema))]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def close(self) -> None:
        """Free memory and disk."""
        self._held.clear()
        if self._file is not None:
            self._file.close()

    def _stretch(self, rows: Rows) -> tuple[list[pa.RecordBatch], Counts, Rows] | None:
        """Return the batches that have the rows, how many of each, and where the rows are in all together.

        None where these aren't most rows of batches that follow each other, as in a file nearly in order.
        """
        low, high = int(rows.min()), int(rows.max()) + 1
        first, last = bisect_right(self._starts, low) - 1, bisect_left(self._starts, high) - 1
        if high - low > 2 * len(rows):
            return None
        before = [0, *(int(np.count_nonzero(rows < start)) for start in self._starts[first + 1 : last + 1])]
        counts = list(zip(range(first, last + 1), np.diff([*before, len(rows)]).tolist(), strict=True))
        if not all(count for _, count in counts):
            return None  # one that was fetched to the end before may be gone
        ends = [min(end, high) for end in self._starts[first + 1 : last + 2]]
        pieces = []
        for (number, _), end in zip(counts, ends, strict=True):
            start = self._starts[number]
            begin = max(low, start)
            pieces.append(self._batch(number).slice(begin - start, end - begin))
        return pieces, counts, rows - low

    def _scattered(self, rows: Rows) -> tuple[list[pa.RecordBatch], Counts, Rows]:
        """Return the same of the batches that have some of the rows."""
        starts = np.asarray(self._starts)
        owner = np.searchsorted(starts, rows, side="right") - 1
        pieces, counts, shift = [], [], np.zeros(len(starts), np.int64)
        fetched = 0
        for number in np.flatnonzero(np.bincount(owner)).tolist():
            wanted = rows[owner == number]
            low, high = int(wanted.min()), int(wanted.max()) + 1
            pieces.append(self._batch(number).slice(low - starts[number], high - low))
            counts.append((number, len(wanted)))
            shift[number] = fetched - low
            fetched += high - low
        return pieces, counts, rows + shift[owner]

    def _forget(self, counts: Counts) -> None:
        """Note how many rows of each batch were fetched; drop those of which none is left."""
        for number, count in counts:
            self._left[number] -= count
            if not self._left[number]:
                self._drop(number)

    def _expect(self, length: int) -> None:
        self._starts.append(self.rows + length)
        self._left.append(length)

    def _batch(self, number: int) -> pa.RecordBatch:
        if number in self._held:
            return self._held[number]
        offset, length = self._places[number]
        data = os.pread(self._file.fileno(), length, offset)
        with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
            return self._hold(number, _widened(stream.read_next_batch(), self.schema))

    def _hold(self, number: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Keep a batch in memory; what is longest there goes to the disk instead when it is too much."""
        self._held[number] = batch
        self._bytes += _size(batch)
        while self._bytes > MEMORY_BYTES and len(self._held) > 1:
            oldest = next(iter(self._held))
            if oldest not in self._places:
                self._write(oldest, self._held[oldest])
            self._drop(oldest)
        return batch

    def _drop(self, number: int) -> None:
        batch = self._held.pop(number, None)
        if batch is not None:
            self._bytes -= _size(batch)

    def _write(self, number: int, batch: pa.RecordBatch) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=spool_folder(), buffering=0)  # noqa: SIM115  (see close)
        sink = pa.BufferOutputStream()
        slim = batch.select([i for i, column in enumerate(batch.columns) if column.null_count < len(batch)])
        offset = self._file.seek(0, os.SEEK_END)
        packing = "lz4" if offset >= PLAIN_BYTES else None
        options = pa.ipc.IpcWriteOptions(compression=packing, use_threads=False)
        with pa.ipc.new_stream(sink, slim.schema, options=options) as stream:
            stream.write_batch(slim)
        data = memoryview(sink.getvalue())
        self._places[number] = offset, len(data)
        while data:
            data = data[self._file.write(data[:PIECE]) :]


class Rereading(Spool):
    """Rows of a recording that is read a second time, while they are fetched.

    batches: the recording, not begun. What differs from the first time, or can't be read any more, is an
    InputError from `fetch`, kept in `problem`; `rows` then is how many there are before it.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        super().__init__(schema)
        self._later = iter(batches)
        self._next = 0  # number of the batch that comes next
        self.problem: InputError | None = None

    def expect(self, lengths: Sequence[int]) -> None:
        """Tell the rows of each batch, as they were found the first time. Before the first `fetch`."""
        for length in lengths:
            self._expect(length)

    def finish(self) -> bool:
        """Read on to the end; say whether the recording has grown. Raises InputError for damage there."""
        for _ in self._later:
            self._next += 1
            if self._next > len(self._left):
                return True
        return False

    def _batch(self, number: int) -> pa.RecordBatch:
        while self._next <= number:
            try:
                batch = next(self._later)
                if len(batch) != self._left[self._next]:
                    raise InputError("the recording has changed while it was sorted", "sort it again")
            except StopIteration:
                raise self._end(InputError("the recording has shrunk while it was sorted")) from None
            except InputError as error:
                raise self._end(error) from None
            self._next += 1
            self._hold(self._next - 1, batch)
        return super()._batch(number)

    def _end(self, problem: InputError) -> InputError:
        self.problem = problem
        del self._starts[self._next + 1 :], self._left[self._next :]
        return problem


def _size(batch: pa.RecordBatch) -> int:
    return sum(column.nbytes for column in batch.columns if column.null_count < len(column))


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch the columns that it lacks, with nulls."""
    names = set(batch.schema.names)
    columns = [batch.column(f.name) if f.name in names else nulls(len(batch), f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
