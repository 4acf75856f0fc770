"""Events as Parquet: the columns as they are, the facts of the collection in the metadata of the file."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from fyke.events.facts import Facts
from fyke.events.schema import FACTS_KEY
from fyke.export.convert_file import FileWriter

# A row group is what readers skip or take as a whole.
_GROUP_ROWS = 128 << 10
_GROUP_BYTES = 64 << 20


class ParquetWriter(FileWriter):
    """Writes a table with its structs; fyke reads it again, and so does whatever reads Parquet."""

    def __init__(self, path: str, facts: Facts, schema: pa.Schema) -> None:
        self._schema = schema.remove_metadata()
        stored = self._schema.with_metadata({FACTS_KEY: facts.to_json()})
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        super().__init__(path, lambda file: pq.ParquetWriter(file, stored, compression="zstd"))

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch, or keep it until there are enough rows for a group."""
        self._waiting.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write the group that was begun."""
        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), self._rows)
        self._waiting, self._rows, self._bytes = [], 0, 0
