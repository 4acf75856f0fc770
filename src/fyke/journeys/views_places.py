"""Where each row of an unsorted recording belongs, by its number: what sort.sql says, kept on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import RunError
from fyke.events.schema import JOURNEY, arrow_schema, section_type
from fyke.journeys.sort import COLUMNS, places
from fyke.journeys.spool import spool_folder

_NO_JOURNEY = np.uint64(2**64 - 1)  # the id of a row that is a note
_PLACE = np.dtype([("id", "<u8"), ("index", "<u4"), ("clone", "<u4"), ("lost", "<u8")])


class Places:
    """The journey column of rows by number. Memory is bounded: it is a file, mapped.

    batches: the rows, with what sort.sql looks at (fyke.journeys.sort.COLUMNS) at least. Raises RunError on
    a full disk.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._rows = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=spool_folder())  # noqa: SIM115  (see close)
        self._places: npt.NDArray[Any] = np.empty(0, _PLACE)
        try:
            self._find(batches)
        except OSError as error:
            self.close()
            text = str(error).partition("\n")[0]
            hint = f"free some space in {spool_folder()}, or set TMPDIR"
            raise RunError(f"putting journeys together failed: {text}", hint) from error

    def journeys(self, first: int, count: int) -> pa.StructArray:
        """Return the journey column of `count` rows from number `first` on; null for notes."""
        places = self._places[first : first + count]
        kind = section_type(JOURNEY)
        fields = [kind.field(i) for i in range(kind.num_fields)]
        children = [pa.array(np.ascontiguousarray(places[f.name])).cast(f.type) for f in fields]
        mask = pa.array(places["id"] == _NO_JOURNEY)
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)

    def close(self) -> None:
        """Free the disk."""
        self._places = np.empty(0, _PLACE)
        self._file.close()

    def _find(self, batches: Iterable[pa.RecordBatch]) -> None:
        whole = arrow_schema()
        schema = pa.schema([("row", pa.int64()), ("chosen", pa.bool_()), *(whole.field(n) for n in COLUMNS)])
        for placed in places(self._read(batches, schema), schema):
            if not len(self._places):
                # There is none before all rows were read.
                self._file.truncate(self._rows * _PLACE.itemsize)
                self._places = np.memmap(self._file, _PLACE, "r+", shape=(self._rows,))
            self._store(placed)

    def _store(self, placed: pa.RecordBatch) -> None:
        values = np.empty(len(placed), _PLACE)
        values["id"] = placed.column("id").fill_null(int(_NO_JOURNEY)).to_numpy()
        for name in ("index", "clone", "lost"):
            values[name] = placed.column(name).to_numpy()
        self._places[placed.column("row").to_numpy()] = values

    def _read(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers = np.arange(self._rows, self._rows + len(batch))
            chosen = np.ones(len(batch), np.bool_)
            columns = [batch.column(n).cast(schema.field(n).type) for n in COLUMNS]
            yield pa.RecordBatch.from_arrays([pa.array(numbers), pa.array(chosen), *columns], schema=schema)
            self._rows += len(batch)
