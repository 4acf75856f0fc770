"""Events as an event file, whatever sizes the batches have that they come in."""

from __future__ import annotations

from types import TracebackType

import pyarrow as pa

from fyke.errors import InputError
from fyke.events.facts import Facts
from fyke.events.store import EventWriter

# Small batches cost whoever reads them twice as much (see bench/README.md), and some bytes.
_ROWS = 16_384
_BYTES = 64 << 20


class GatheringWriter(EventWriter):
    """Writes fewer and larger batches than it is given. Of a damaged input all that was read is written."""

    def __init__(self, path: str, facts: Facts, schema: pa.Schema) -> None:
        super().__init__(path, facts, schema=schema)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch, or keep it until there are enough rows. Raises what EventWriter.write does."""
        self._waiting.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes
        if self._rows >= _ROWS or self._bytes >= _BYTES:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting, self._rows, self._bytes = self._waiting, [], 0, 0
        if len(waiting) == 1:
            super().write(waiting[0])
        elif waiting:
            for batch in pa.Table.from_batches(waiting).combine_chunks().to_batches():
                super().write(batch)

    def close(self) -> None:
        """Write what is left, and the end marker."""
        self._flush()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, InputError):
            self._flush()
        super().__exit__(kind, error, trace)
