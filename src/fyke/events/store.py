"""The writer of event files: an Arrow IPC stream that is whole after every batch."""

from __future__ import annotations

import dataclasses
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fyke.errors import UsageError
from fyke.events.facts import Facts
from fyke.events.output import Output
from fyke.events.schema import FACTS_KEY, arrow_schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

# Ends a stream: the continuation marker and a length of zero (Arrow Columnar Format, "IPC Streaming Format").
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
MAX_BATCH_BYTES = 256 << 20  # a larger batch is written in parts, so that readers may bound their memory


class EventWriter:
    """Writes an event file (DESIGN D5).

    Batches have strings as they are, or by number (see coded.py), in any column.

    When `write` returns, the batch is with the kernel: a process killed then leaves a file that can be read
    up to this batch. When the disk is full the file is cut back to its last whole batch and RunError says so.

    compression: `none`, `lz4`, or `zstd-LEVEL`. limit_bytes: split the output into `PATH.0`, `PATH.1` ...
    of at most this size (`removed` names the files of an earlier run that were in the way).
    schema: for tables with other columns than `arrow_schema()` has. With fewer, a batch may have those that
    are left out, too, if they are null: each takes some 40 bytes of every batch, however few rows it has.
    """

    def __init__(
        self,
        path: str,
        facts: Facts,
        *,
        limit_bytes: int | None = None,
        compression: str = "zstd-1",
        schema: pa.Schema | None = None,
    ) -> None:
        # NumPy: whoever only counts events needn't have it.
        from fyke.events.coded import MOST
        from fyke.events.message import Encoder

        self.facts = facts
        self._limit = limit_bytes
        self._schema = (schema or arrow_schema()).remove_metadata()
        self._accepted = self._schema  # of the last batch
        self._most_rows = MOST
        self._encoder = Encoder(self._schema, _codec(compression))
        self._output = Output(path, self._header, trailer=END_OF_STREAM, limit_bytes=limit_bytes)

    @property
    def paths(self) -> list[str]:
        """The files written, in order."""
        return self._output.paths

    @property
    def removed(self) -> list[str]:
        """The files of an earlier split output that were removed."""
        return self._output.removed

    @property
    def bytes_written(self) -> int:
        """Bytes written to all files."""
        return self._output.bytes_written

    @property
    def events_written(self) -> int:
        """Events written; rows that note a gap or the end are not counted."""
        return self._output.events_written

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch. Raises RunError when the disk is full or fails; ValueError for another schema."""
        if not batch.num_rows:
            return
        if not batch.schema.equals(self._accepted):
            batch = self._narrowed(batch)
        if len(batch) > self._most_rows or (len(batch) > 1 and batch.nbytes > MAX_BATCH_BYTES):
            self._write_halves(batch)
            return
        frame = self._encoder.frame(batch)
        if len(frame) > self._output.room():  # it will begin a file
            self._encoder.forget()
            frame = self._encoder.frame(batch)
        if len(batch) > 1 and not self._output.fits(len(frame)):
            self._encoder.forget()
            self._write_halves(batch)
        else:
            self._output.append(frame, count_events(batch))

    def _write_halves(self, batch: pa.RecordBatch) -> None:
        half = len(batch) // 2
        self.write(batch.slice(0, half))
        self.write(batch.slice(half))

    def _narrowed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns of the file. Raises ValueError where others hold something."""
        from fyke.events.coded import plain_schema

        wanted = self._schema.names
        left_out = [name for name in batch.schema.names if name not in wanted]
        if all(batch.column(name).null_count == len(batch) for name in left_out):
            narrow = batch.select([name for name in batch.schema.names if name in wanted])
            if plain_schema(narrow.schema).equals(self._schema):
                self._accepted = narrow.schema
                return narrow
        raise ValueError("batch has another schema than the file")

    def close(self) -> None:
        """Write the end marker and close. Without it, readers take the collection for killed."""
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close(whole=kind is None)

    def _header(self, split_id: int | None) -> bytes:
        facts = self.facts
        if split_id is not None:
            facts = dataclasses.replace(facts, split_id=split_id, split_limit_bytes=self._limit)
        return self._encoder.header({FACTS_KEY: facts.to_json()})


def count_events(batch: pa.RecordBatch) -> int:
    """Return how many rows of a batch are events, not notes of a gap or of the end."""
    return int(batch.column("gap").null_count + batch.column("closing").null_count - batch.num_rows)


def note_rows(batch: pa.RecordBatch) -> npt.NDArray[np.bool_] | None:
    """Say for each row whether it is a note of a gap or of the end; None when none is."""
    if count_events(batch) == batch.num_rows:
        return None
    import pyarrow.compute as pc

    notes = pc.or_(batch.column("gap").is_valid(), batch.column("closing").is_valid())
    return notes.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _codec(name: str) -> Any:
    import pyarrow as pa

    kind, _, level = name.partition("-")
    if name == "none":
        return None
    if name not in ("lz4", "zstd") and name not in (f"zstd-{n}" for n in range(1, 20)):
        raise UsageError(f"'{name}' is not a compression", "use none, lz4 or zstd-1 to zstd-19")
    return pa.Codec(kind, int(level)) if level else pa.Codec(kind)
