"""Keeps batches until their rows are wanted in another order: in memory while they are few, then on disk."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa

# Held in memory up to this size; beyond it, compressing to a file costs less than new memory does.
MEMORY_BYTES = 64 << 20
CACHED_BATCHES = 8  # read back and kept: events of one journey are seldom far apart in a file


def spool_folder() -> str:
    """Return where large temporary files go: TMPDIR, else /var/tmp, which is on a disk (hier(7))."""
    folder = os.environ.get("TMPDIR", "/var/tmp")
    return folder if os.access(folder, os.W_OK) else tempfile.gettempdir()


class Spool:
    """Batches of one schema, appended in file order, whose rows can then be fetched by number in any order.

    The file has no name: it is gone when the process is, however that ends. Raises OSError on a full disk.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._starts = [0]
        self._file: Any = None
        self._writer: Any = None
        self._reader: Any = None
        self._cache: OrderedDict[int, pa.RecordBatch] = OrderedDict()

    @property
    def rows(self) -> int:
        """How many rows were appended."""
        return self._starts[-1]

    def append(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch at the end."""
        self._starts.append(self.rows + len(batch))
        if self._writer is not None:
            self._writer.write_batch(batch)
            return
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes > MEMORY_BYTES:
            self._to_disk()

    def fetch(self, rows: np.ndarray[Any, Any]) -> pa.RecordBatch:
        """Return the rows of these numbers (int64), in this order. No `append` may follow."""
        starts = np.asarray(self._starts)
        owner = np.searchsorted(starts, rows, side="right") - 1
        pieces, shift = [], np.zeros(len(self._starts), np.int64)
        fetched = 0
        for number in np.unique(owner):
            wanted = rows[owner == number]
            low, high = int(wanted.min()), int(wanted.max()) + 1
            pieces.append(self._batch(number).slice(low - starts[number], high - low))
            shift[number] = fetched - low
            fetched += high - low
        places = pa.array(rows + shift[owner])
        columns = [self._column([p.column(i) for p in pieces], places) for i in range(len(self.schema))]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def close(self) -> None:
        """Free memory and disk."""
        self._batches.clear()
        self._cache.clear()
        self._reader = self._writer = None
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _column(pieces: list[pa.Array], places: pa.Array) -> pa.Array:
        # Most sections of most collections are empty: don't copy nulls.
        if all(piece.null_count == len(piece) for piece in pieces):
            return pa.nulls(len(places), pieces[0].type)
        return pa.concat_arrays(pieces).take(places)

    def _to_disk(self) -> None:
        self._file = tempfile.TemporaryFile(dir=spool_folder())  # noqa: SIM115  (see close)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(self._file, self.schema, options=options)
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches.clear()

    def _batch(self, number: int) -> pa.RecordBatch:
        if self._writer is None:
            return self._batches[number]
        if self._reader is None:
            self._writer.close()
            self._file.flush()
            # By its descriptor, since it has no name; a mapping lets pyarrow read without copying.
            self._reader = pa.ipc.open_file(pa.memory_map(f"/proc/self/fd/{self._file.fileno()}"))
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        batch = self._cache[number] = self._reader.get_batch(number)
        if len(self._cache) > CACHED_BATCHES:
            self._cache.popitem(last=False)
        return batch
