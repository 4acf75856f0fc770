"""Several recordings and captures as one: their events in order of time, on one clock.

The clock is that of the first recording. Captures have the wall clock's times, and a recording knows how far
that was from its own clock when it began: what the wall clock was put forward or back since then, events of
the others are off. A recording's own events keep their order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import InputError, UsageError
from fyke.events.clock import Times, on_clock
from fyke.events.closing import joined_closing
from fyke.events.conform import conform, joined_schema
from fyke.events.facts import CAPTURED_WITH, Facts
from fyke.events.reader import open_events
from fyke.events.source import EventSource

MERGED = "merged"


def open_merged(paths: Sequence[str], columns: Collection[str] | None = None) -> EventSource:
    """Open what a command is given: nothing, a file, or several, whose events are then merged.

    paths, columns: as `open_events` takes them. Raises also UsageError, for files that can't be merged.
    """
    if len(paths) <= 1:
        return open_events(paths[0] if paths else None, columns)
    with contextlib.ExitStack() as opened:
        sources = [opened.enter_context(open_events(path, columns)) for path in paths]
        merged = MergedSource(sources)
        opened.pop_all()
        return merged


class MergedSource(EventSource):
    """Events of several sources. The facts are those of the source whose clock it is.

    What is damaged ends early, and is told after the last event of all. The notes of the collections' ends
    are one, the last row; there is none when a collection has no end.
    """

    format = MERGED

    def __init__(self, sources: Sequence[EventSource]) -> None:
        super().__init__()
        _refuse(sources)
        self._sources = tuple(sources)
        main = next((source for source in sources if not _is_capture(source.facts)), sources[0])
        self.path = sources[0].path
        self.schema = joined_schema([source.schema for source in sources])
        self.facts = _facts(main, sources)
        self.files = [file for source in sources for file in source.files]
        self._offset_ns = main.facts.clock_monotonic_offset_ns

    @property
    def parts(self) -> Sequence[EventSource]:
        """The sources that this one is made of."""
        return self._sources

    @property
    def unknown_sections(self) -> dict[str, int]:
        """Sections that were not read, and how many events had them."""
        return dict(sum((Counter(source.unknown_sections) for source in self._sources), Counter()))

    def again(self, columns: Collection[str] | None = None) -> MergedSource:
        """Open the same once more, with these columns. Raises what opening it raised."""
        with contextlib.ExitStack() as opened:
            merged = MergedSource([opened.enter_context(s.again(columns)) for s in self._sources])
            opened.pop_all()
            return merged

    def close(self) -> None:
        """Close the files; reading to the end does it too."""
        for source in self._sources:
            source.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the events in order of time.

        Raises the InputError of the first source that is damaged, after everything else.
        """
        streams = [_Stream(source, self.schema, self._offset_ns) for source in self._sources]
        try:
            yield from _in_order(streams, self.schema)
            ends = [stream.closing for stream in streams if not _is_capture(stream.source.facts)]
            closing = joined_closing(ends, self.schema)
            if closing is not None:
                yield closing
        finally:
            for stream in streams:
                stream.close()
            self._learn()
            self.close()
        if self.problem is not None:
            raise self.problem

    def _learn(self) -> None:
        """Take over what reading the sources brought to light."""
        self.files = [file for source in self._sources for file in source.files]
        for source in self._sources:
            self.warnings.extend(source.warnings)
            self.endless.extend(source.endless if source.problem is None else ())
            self.complete = self.complete and source.complete
            self.problem = self.problem or source.problem


class _Stream:
    """Rows of one source that wait for those of the others. closing: its note of the end, when it was met.

    keys: a time for each row that waits; none is less than that of the row before it.
    """

    def __init__(self, source: EventSource, schema: pa.Schema, offset_ns: int) -> None:
        self.source = source
        self.closing: pa.RecordBatch | None = None
        self._schema = schema
        self._shift_ns = source.facts.clock_monotonic_offset_ns - offset_ns
        self._batches = source.batches()
        self._rows: pa.RecordBatch | None = None
        self.keys: Times = np.empty(0, np.uint64)

    def fill(self) -> bool:
        """Read on when no row waits; say whether one does then."""
        while not len(self.keys):
            try:
                batch = next(self._batches, None)
                if batch is None:
                    return False
                moved = on_clock(conform(batch, self._schema), self._shift_ns)
                if moved is None:
                    raise InputError(
                        f"{self.source.path} has events from before the machine of the recording booted",
                        "merge what was recorded at the same time",
                    )
            except InputError as error:
                self.source.problem = error
                self.close()
                return False
            rows = self._without_closing(moved)
            self._rows, self.keys = rows, np.maximum.accumulate(rows.column("timestamp_ns").to_numpy())
        return True

    def take(self, count: int) -> tuple[pa.RecordBatch, Times]:
        """Return that many rows and their keys."""
        assert self._rows is not None
        taken = self._rows.slice(0, count), self.keys[:count]
        self._rows, self.keys = self._rows.slice(count), self.keys[count:]
        return taken

    def close(self) -> None:
        """End the reading."""
        self._batches.close()  # type: ignore[attr-defined]  # a generator

    def _without_closing(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ends = batch.column("closing").is_valid()
        if not pc.any(ends).as_py():
            return batch
        self.closing = batch.filter(ends).slice(0, 1)
        return batch.filter(pc.invert(ends))


def _in_order(streams: list[_Stream], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all streams; of one time, those of the first stream first. Holds a batch of each."""
    while alive := [stream for stream in streams if stream.fill()]:
        # Up to here nothing earlier can come.
        until = min(stream.keys[-1] for stream in alive)
        taken = [stream.take(int(np.searchsorted(stream.keys, until, "right"))) for stream in alive]
        taken = [(rows, keys) for rows, keys in taken if len(rows)]
        if len(taken) == 1:
            yield taken[0][0]
            continue
        order = pa.array(np.argsort(np.concatenate([keys for _, keys in taken]), kind="stable"))
        columns = []
        for place, field in enumerate(schema):
            pieces = [rows.column(place) for rows, _ in taken]
            # Most sections of most collections are empty: don't copy nulls.
            empty = all(piece.null_count == len(piece) for piece in pieces)
            columns.append(
                pa.nulls(len(order), field.type) if empty else pa.concat_arrays(pieces).take(order)
            )
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_capture(facts: Facts) -> bool:
    return CAPTURED_WITH in facts.extra


def _facts(main: EventSource, sources: Sequence[EventSource]) -> Facts:
    """Return the facts of the whole: one file of the main one's, with what the others add."""
    collectors: dict[str, None] = {}
    probes: list[dict[str, Any]] = []
    notes = list(main.facts.notes)
    for source in sources:
        facts = source.facts
        collectors.update(dict.fromkeys(facts.collectors))
        probes += [probe for probe in facts.probes if probe not in probes]
        if source is not main:
            what = (
                "packets captured with " + str(facts.extra[CAPTURED_WITH])
                if _is_capture(facts)
                else facts.cmdline
            )
            notes += [*facts.notes, f"merged with {source.path}: {what}"]
    return dataclasses.replace(
        main.facts,
        collectors=tuple(collectors),
        probes=tuple(probes),
        notes=tuple(dict.fromkeys(notes)),
        split_id=None,
        split_limit_bytes=None,
    )


def _refuse(sources: Sequence[EventSource]) -> None:
    """Raise UsageError for sources that can't be merged."""
    known = any(source.facts.clock_monotonic_offset_ns or _is_capture(source.facts) for source in sources)
    for number, source in enumerate(sources):
        if any(_same(source.path, other.path) for other in sources[:number]):
            raise UsageError(f"{source.path} is given twice", "name it once")
        if source.facts.order == "journey":
            raise UsageError(
                f"{source.path} is sorted, and can't be merged with others",
                "merge what it was sorted from: fyke sort takes several files",
            )
        if known and not source.facts.clock_monotonic_offset_ns and not _is_capture(source.facts):
            raise UsageError(
                f"{source.path} doesn't tell its clock, so its events have no place among those of others",
                "read it alone",
            )


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
