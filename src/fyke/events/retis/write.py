"""Writes event tables as Retis' JSON lines, format 1.7, so that Retis' own tools read them."""

from __future__ import annotations

import dataclasses
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fyke.errors import InputError
from fyke.events.coded import plain_schema
from fyke.events.conform import conform
from fyke.events.facts import Facts
from fyke.events.output import PIECE, Output
from fyke.events.retis.arrays import flags_of, numbers_of
from fyke.events.retis.events import event_of, json_text
from fyke.events.retis.patterns import Learned, lines_of
from fyke.events.retis.startup import startup_event
from fyke.events.schema import arrow_schema
from fyke.events.store import note_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.retis.lines import Places
    from fyke.events.retis.texts import Texts

__all__ = ["RetisWriter", "event_of"]

MAX_BATCH_BYTES = 256 << 20  # a larger batch is written in parts: Arrow's text holds 2 GiB
MAX_TEXT_BYTES = 8 << 20  # the same where events are copied: with more, they are out of the CPU's cache


class RetisWriter:
    """Writes a Retis file; used like `EventWriter`, and as safe on a full disk, to the last whole line.

    Facts with `order` `journey` give a sorted file: one line a journey, whose rows must be together.
    texts: what the batches' column `text` is of: a sorted file then copies these rows.
    """

    def __init__(
        self, path: str, facts: Facts, *, limit_bytes: int | None = None, texts: Texts | None = None
    ) -> None:
        self.facts = facts
        self._texts = texts
        self._limit = limit_bytes
        self._sorted = facts.order == "journey"
        self._open: list[pa.RecordBatch] = []  # rows of the journey that may go on in the next batch
        self._journey_id: int | None = None
        self._learned = Learned()
        self._accepted = arrow_schema()  # of the last batch without strings by number
        self._output = Output(path, self._header, limit_bytes=limit_bytes)

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
        """Write one batch; its strings may be by number. Raises RunError when the disk is full or fails."""
        if not batch.schema.equals(self._accepted):
            plain = plain_schema(batch.schema)
            if batch.schema.equals(plain):
                self._accepted = plain
            else:
                batch = conform(batch, plain)
        if not self._sorted:
            self._lines(batch, None)
            return
        begins = self._begins(batch)
        if len(begins):
            last = int(begins[-1])
            self._end([*self._take(), batch.slice(0, last)])
            batch = batch.slice(last)
        if batch.num_rows:
            self._open.append(batch)

    def close(self) -> None:
        """Write what is left of the last journey and close."""
        whole = False
        try:
            self._end(self._take())
            whole = True
        finally:
            self._output.close(whole=whole)

    def _take(self) -> list[pa.RecordBatch]:
        """Return what is left of the last journey: if it can't be written now, it isn't tried again."""
        rows, self._open = self._open, []
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            if issubclass(kind, InputError):  # what was read of a damaged file is written
                self._end(self._take())
        finally:
            self._output.close(whole=False)

    def _header(self, split_id: int | None) -> bytes:
        facts = self.facts
        if split_id is not None:
            facts = dataclasses.replace(facts, split_id=split_id, split_limit_bytes=self._limit)
        event = startup_event(facts)
        return _line([event] if self._sorted else event)

    def _begins(self, batch: pa.RecordBatch) -> Places:
        """Return where journeys begin, knowing which one was written last; a row without one is one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = pc.struct_field(batch.column("journey"), "id")
        number = numbers_of(ids.fill_null(0).view(pa.int64()))
        none = ~flags_of(ids.is_valid())
        begins = none.copy()
        begins[1:] |= (number[1:] != number[:-1]) | none[:-1]
        if batch.num_rows:
            begins[0] = none[0] or int(number[0]) != self._journey_id
            self._journey_id = None if none[-1] else int(number[-1])
        return np.flatnonzero(begins)

    def _end(self, batches: list[pa.RecordBatch]) -> None:
        """Write batches that begin and end with a journey."""
        import pyarrow as pa

        if batches:
            whole = pa.concat_batches(batches)
            self._journey_id, last = None, self._journey_id
            self._lines(whole, self._begins(whole))
            self._journey_id = last

    def _lines(self, batch: pa.RecordBatch, begins: Places | None) -> None:
        """Write the rows, in blocks that the file has room for. begins: of journeys, in a sorted file."""
        if self._is_large(batch) and (parts := _halves(batch, begins)):
            for part in parts:
                self._lines(*part)
            return
        if not batch.num_rows:
            return
        if self._texts is not None:
            batch = self._texts.fill(batch)
        data, ends = lines_of(batch, begins, self._learned)
        self._append(batch, begins, data, ends)

    def _is_large(self, batch: pa.RecordBatch) -> bool:
        copied = 0 if self._texts is None else self._texts.size(batch)
        return copied > MAX_TEXT_BYTES or batch.nbytes > MAX_BATCH_BYTES

    def _append(self, batch: pa.RecordBatch, begins: Places | None, data: memoryview, ends: Places) -> None:
        notes = note_rows(batch)
        counts = np.ones(batch.num_rows, np.int64) if notes is None else (~notes).astype(np.int64)
        if begins is not None:
            counts = np.add.reduceat(counts, begins)
        place = start = 0
        while place < len(ends):
            # Few lines at a time: if the disk is full, no more of them are taken back.
            room = min(self._output.room(), PIECE)
            fit = int(np.searchsorted(ends, start + room, side="right"))
            following = max(fit, place + 1)
            end = int(ends[following - 1])
            self._output.append(data[start:end], int(counts[place:following].sum()))
            place, start = following, end


def _halves(
    batch: pa.RecordBatch, begins: Places | None
) -> list[tuple[pa.RecordBatch, Places | None]] | None:
    """Return the batch in two parts, None when it is a single line."""
    if begins is None:
        half = batch.num_rows // 2
        return [(batch.slice(0, half), None), (batch.slice(half), None)] if half else None
    if len(begins) < 2:
        return None
    half = len(begins) // 2
    cut = int(begins[half])
    return [(batch.slice(0, cut), begins[:half]), (batch.slice(cut), begins[half:] - cut)]


def _line(item: Any) -> bytes:
    return json_text(item).encode() + b"\n"
