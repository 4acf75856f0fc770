"""Where each row of an unsorted recording belongs, by its number: what sort.sql says, kept on disk."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import RunError
from fyke.events.schema import JOURNEY, section_type
from fyke.journeys.sort import MEMORY_LIMIT, query
from fyke.journeys.spool import spool_folder

_CHUNK_ROWS = 1 << 16
_NO_JOURNEY = np.uint64(2**64 - 1)  # the id of a row that is a note
_PLACE = np.dtype([("id", "<u8"), ("index", "<u4"), ("clone", "<u4"), ("lost", "<u8")])


def arrow_reader(result: Any, rows: int) -> pa.RecordBatchReader:
    """Return the batches of a DuckDB result, of some rows each."""
    # DuckDB 2 renamed it, and warns about the old name.
    read = getattr(result, "to_arrow_reader", None) or result.fetch_arrow_reader
    return read(rows)


class Places:
    """The journey column of rows by number. Memory is bounded: it is a file, mapped.

    batches: the rows, with COLUMNS at least. Raises RunError on a full disk.
    """

    COLUMNS = ("timestamp_ns", "cpu", "skb_tracking", "gap", "closing")  # what sort.sql looks at

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._rows = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=spool_folder())  # noqa: SIM115  (see close)
        self._places: npt.NDArray[Any] = np.empty(0, _PLACE)
        try:
            with tempfile.TemporaryDirectory(prefix="fyke-views-", dir=spool_folder()) as folder:
                self._find(batches, folder)
        except (duckdb.Error, OSError) as error:
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

    def _find(self, batches: Iterable[pa.RecordBatch], folder: str) -> None:
        settings: dict[str, Any] = {"memory_limit": f"{MEMORY_LIMIT}B", "temp_directory": folder}
        with contextlib.closing(duckdb.connect(config=settings)) as connection:
            connection.register("events", self._reader(batches))
            for placed in arrow_reader(connection.sql(query()), _CHUNK_ROWS):
                if not len(self._places):
                    # The query gives nothing before it has seen all.
                    self._file.truncate(self._rows * _PLACE.itemsize)
                    self._places = np.memmap(self._file, _PLACE, "r+", shape=(self._rows,))
                self._store(placed)

    def _store(self, placed: pa.RecordBatch) -> None:
        values = np.empty(len(placed), _PLACE)
        values["id"] = placed.column("id").fill_null(int(_NO_JOURNEY)).to_numpy()
        for name in ("index", "clone", "lost"):
            values[name] = placed.column(name).to_numpy()
        self._places[placed.column("row").to_numpy()] = values

    def _reader(self, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
        from fyke.events.schema import arrow_schema

        whole = arrow_schema()
        schema = pa.schema(
            [("row", pa.int64()), ("chosen", pa.bool_()), *(whole.field(n) for n in self.COLUMNS)]
        )
        return pa.RecordBatchReader.from_batches(schema, self._read(batches, schema))

    def _read(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers = np.arange(self._rows, self._rows + len(batch))
            chosen = np.ones(len(batch), np.bool_)
            columns = [batch.column(n).cast(schema.field(n).type) for n in self.COLUMNS]
            yield pa.RecordBatch.from_arrays([pa.array(numbers), pa.array(chosen), *columns], schema=schema)
            self._rows += len(batch)
