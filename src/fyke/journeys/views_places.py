"""Where each row of an unsorted recording belongs, by its number: what sort.sql says, kept on disk."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import RunError
from fyke.events.schema import JOURNEY, arrow_schema, section_type
from fyke.journeys.sort import COLUMNS, places, stitched
from fyke.journeys.spool import spool_folder
from fyke.journeys.stitch import Stitches

_NO_JOURNEY = np.uint64(2**64 - 1)  # the id of a row that is a note
_PLACE = np.dtype([("id", "<u8"), ("index", "<u4"), ("clone", "<u4"), ("lost", "<u8")])


def places_file() -> IO[bytes]:
    """Return a file without a name for `Places`."""
    return tempfile.TemporaryFile(dir=spool_folder())


class Places:
    """The journey column of rows by number. Memory is bounded: it is a file.

    batches: the rows, with what sort.sql looks at (fyke.journeys.sort.COLUMNS) at least. file: to be written
    to behind what it holds, and left open: many recordings would need as many files. unstitched:
    packets weren't followed through user space; the rows have the columns fyke.events.ovs.STEPS, too.
    Raises RunError on a full disk.
    """

    def __init__(
        self, batches: Iterable[pa.RecordBatch], file: IO[bytes] | None = None, *, unstitched: bool = False
    ) -> None:
        self._rows = 0
        self._stitches = Stitches() if unstitched else None
        self._own = file is None
        self._file = places_file() if file is None else file
        # Where a mapping may begin.
        size, unit = os.fstat(self._file.fileno()).st_size, mmap.ALLOCATIONGRANULARITY
        self._start = (size + unit - 1) // unit * unit
        try:
            self._find(batches)
        except OSError as error:
            self.close()
            text = str(error).partition("\n")[0]
            hint = f"free some space in {spool_folder()}, or set TMPDIR"
            raise RunError(f"putting journeys together failed: {text}", hint) from error

    def journeys(self, first: int, count: int) -> pa.StructArray:
        """Return the journey column of `count` rows from number `first` on; null for notes."""
        size = _PLACE.itemsize
        data = os.pread(self._file.fileno(), count * size, self._start + first * size)
        places = np.frombuffer(data, _PLACE)
        kind = section_type(JOURNEY)
        fields = [kind.field(i) for i in range(kind.num_fields)]
        children = [pa.array(np.ascontiguousarray(places[f.name])).cast(f.type) for f in fields]
        mask = pa.array(places["id"] == _NO_JOURNEY)
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)

    def marked(self, first: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows from number `first` on with the marks of what can't be told apart."""
        if self._stitches is None:
            return batch
        return self._stitches.marks.fill(batch, np.arange(first, first + len(batch)))

    def close(self) -> None:
        """Free the disk."""
        if self._own:
            self._file.close()

    def _find(self, batches: Iterable[pa.RecordBatch]) -> None:
        whole = arrow_schema()
        schema = pa.schema([("row", pa.int64()), ("chosen", pa.bool_()), *(whole.field(n) for n in COLUMNS)])
        mapped: npt.NDArray[Any] | None = None
        for placed in places(self._read(batches, schema), schema):
            if mapped is None:
                # There is none before all rows were read.
                # Not a hole: writing to one through a mapping ends the process when the disk is full.
                os.posix_fallocate(self._file.fileno(), self._start, self._rows * _PLACE.itemsize)
                mapped = np.memmap(self._file, _PLACE, "r+", self._start, (self._rows,))
            self._store(placed, mapped)

    def _store(self, placed: pa.RecordBatch, mapped: npt.NDArray[Any]) -> None:
        values = np.empty(len(placed), _PLACE)
        values["id"] = placed.column("id").fill_null(int(_NO_JOURNEY)).to_numpy()
        for name in ("index", "clone", "lost"):
            values[name] = placed.column(name).to_numpy()
        mapped[placed.column("row").to_numpy()] = values

    def _read(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if self._stitches is not None:
                batch = stitched(batch, self._stitches)
            numbers = np.arange(self._rows, self._rows + len(batch))
            chosen = np.ones(len(batch), np.bool_)
            columns = [batch.column(n).cast(schema.field(n).type) for n in COLUMNS]
            yield pa.RecordBatch.from_arrays([pa.array(numbers), pa.array(chosen), *columns], schema=schema)
            self._rows += len(batch)
