"""A recording: what was collected, as events, journeys, tables and answers to SQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from fyke.api.event import Event, events_of
from fyke.api.frames import flat, joined_schema, to_pandas
from fyke.api.journey import Journey, journeys_of
from fyke.api.optional import optional
from fyke.api.rows import Rows
from fyke.errors import InputError, UsageError
from fyke.events.conform import conform
from fyke.events.facts import Facts
from fyke.events.places import Path, places, read_once
from fyke.events.reader import EventSource, open_events

if TYPE_CHECKING:
    from fyke.filters.pcap.compile import PacketFilter
    from fyke.journeys.filtered import RecordingFilter


class Recording:
    """Events of one or more event files. Made by `fyke.open`; a context manager.

    Every method that reads begins anew, so that a recording can be read as often as one likes; a pipe can be
    read once. Memory is bounded, but for `to_arrow`, `to_pandas` and `to_polars`.

    A damaged file is read up to the damage; then InputError is raised, where there are several files after
    the others were read.

    facts: of the first file. schema: of `batches()`, see docs/columns.md.
    """

    def __init__(
        self,
        found: tuple[str, ...],
        left_out: tuple[str, ...] = (),
        chosen: tuple[PacketFilter, bool] | None = None,
        parent: Recording | None = None,
    ) -> None:
        self._places = found
        self._left_out = left_out
        self._chosen = chosen
        self._active: set[EventSource] = set() if parent is None else parent._active
        self._kept: list[EventSource] = [] if parent is None else parent._kept
        self._pass: list[EventSource] = []
        self._warnings: list[str] = []
        if parent is None:
            heads = [self._head(place) for place in found]
            facts, schema = heads[0].facts, joined_schema([head.schema for head in heads])
        else:
            facts, schema = parent.facts, parent.schema
        self.facts: Facts = facts
        self.schema: pa.Schema = schema

    @property
    def paths(self) -> tuple[str, ...]:
        """The files; `FILE..` stands for a split set."""
        return self._places

    @property
    def problem(self) -> InputError | None:
        """What is wrong with a file, as far as it was read."""
        return next((source.problem for source in self._pass if source.problem is not None), None)

    @property
    def complete(self) -> bool:
        """False once a file was read that has no end: its collection was killed, or its disk was full."""
        return all(source.complete for source in self._pass)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to know: the notes of the collections, and what reading brought to light so far."""
        said = [note for source in self._pass for _, facts in source.files for note in facts.notes]
        for source in self._pass:
            said += source.warnings
            said += [
                f"{n} events have a section '{s}' without columns" for s, n in source.unknown_sections.items()
            ]
            said += [f"{path} has no end" for path in source.endless]
        return tuple(dict.fromkeys([*self._left_out, *(said or self.facts.notes), *self._warnings]))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield everything as RecordBatches of `schema`, with the rows that note a gap or the end."""
        for _, batch in self._batches():
            yield batch if batch.schema.equals(self.schema) else conform(batch, self.schema)

    def __iter__(self) -> Iterator[Event]:
        """Yield the events, file by file, in the order of the file."""
        for source, batch in self._batches():
            yield from events_of(Rows(batch, source.files[-1][1]))

    events = __iter__

    def gaps(self) -> Iterator[Event]:
        """Yield the notes of lost events: `gap.count` of them, for `gap.cause`, since `gap.since_ns`."""
        for source, batch in self._batches():
            some = batch.filter(batch.column("gap").is_valid())
            rows = Rows(some, source.files[-1][1])
            yield from (Event(rows, row) for row in range(len(some)))

    def journeys(self) -> Iterator[Journey]:
        """Yield the journeys, in the order in which their packets were first seen, file by file."""
        from fyke.journeys.sort import sort, sorted_facts

        def ordered(source: EventSource, choice: RecordingFilter | None) -> Iterator[pa.RecordBatch]:
            if choice is not None:
                return choice.sorted(source)
            if source.facts.order == "journey":
                return source.batches()
            return sort(source.batches(), source.schema)

        number = 0
        for source, batches in self._sources(ordered):
            for journey in journeys_of(batches, sorted_facts(source.facts), number):
                yield journey
                number = journey.id + 1

    def filter(self, expression: str, *, journeys: bool = False) -> Recording:
        """Return this recording with only the events whose packet matches a filter in tcpdump's language.

        journeys: keep all events of a packet of which one matches. Raises UsageError.
        """
        from fyke.filters.pcap.compile import compile_packet_filter

        if not isinstance(expression, str):
            raise TypeError(f"a filter is a string, not {type(expression).__name__}")
        compiled = compile_packet_filter(expression)
        if self._chosen is not None:
            before, whole = self._chosen
            if whole or journeys:
                raise UsageError(
                    "a filter with journeys=True can't be joined with another",
                    "join the two expressions with `and`, in one filter",
                )
            compiled = compile_packet_filter(f"({before.text}) and ({expression})")
        return Recording(self._places, self._left_out, (compiled, journeys), self)

    def query(self, sql: str, *, memory_bytes: int | None = None) -> pa.Table:
        """Return the result of SQL over the views events, journeys, hops, drops, connections and losses.

        The views and their columns are in docs/views.md. memory_bytes: what DuckDB may hold before it goes to
        disk; half of what the machine has without it. Raises UsageError for SQL that is wrong or does more
        than read, RunError when memory or disk don't suffice, InputError for a damaged file.
        """
        from fyke.api.query import query

        if not isinstance(sql, str):
            raise TypeError(f"SQL is a string, not {type(sql).__name__}")
        if memory_bytes is not None and (not isinstance(memory_bytes, int) or memory_bytes < 1):
            raise UsageError(f"memory_bytes {memory_bytes!r} is not a number of bytes")
        return query(sql, self._places, self._choice, memory_bytes)

    def to_arrow(self) -> pa.Table:
        """Return all rows as a pyarrow Table of `schema`."""
        return pa.Table.from_batches(self.batches(), schema=self.schema)

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the rows as a pyarrow RecordBatchReader: what doesn't fit into memory, batch by batch."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows to anything that takes Arrow streams (Arrow PyCapsule Interface)."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: a column `section.column` for each, integers as they are, NA for null.

        Raises MissingPackage where pandas isn't installed.
        """
        return to_pandas(optional("pandas"), flat(self.to_arrow()))

    def to_polars(self) -> Any:
        """Return a polars DataFrame with a struct for each section. Raises MissingPackage."""
        return optional("polars").from_arrow(self.to_arrow())

    def close(self) -> None:
        """Close the files, also of iterations that are not at their end."""
        for source in list(self._active):
            source.close()
        self._active.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        through = f" through '{self._chosen[0].text}'" if self._chosen else ""
        return f"<Recording of {', '.join(self._places)}{through}>"

    def _choice(self) -> RecordingFilter | None:
        if self._chosen is None:
            return None
        from fyke.journeys.filtered import RecordingFilter

        return RecordingFilter(self._chosen[0], journeys=self._chosen[1])

    def _batches(self) -> Iterator[tuple[EventSource, pa.RecordBatch]]:
        def chosen(source: EventSource, choice: RecordingFilter | None) -> Iterator[pa.RecordBatch]:
            return source.batches() if choice is None else choice.batches(source)

        for source, batches in self._sources(chosen):
            for batch in batches:
                yield source, batch

    def _sources(
        self, read: Callable[[EventSource, RecordingFilter | None], Iterator[pa.RecordBatch]]
    ) -> Iterator[tuple[EventSource, Iterator[pa.RecordBatch]]]:
        """Open the files one after another; raise the first problem after the last of them."""
        choice = self._choice()
        self._pass, self._warnings = [], []
        problems: list[InputError] = []
        for place in self._places:
            source = self._open(place)
            self._pass.append(source)
            self._active.add(source)
            try:
                yield source, _until_damage(read(source, choice), problems)
            finally:
                source.close()
                self._active.discard(source)
        if choice is not None:
            self._warnings = choice.events.warnings()
        if problems:
            raise problems[0]

    def _head(self, place: str) -> EventSource:
        """Open a place for what it says of itself; keep what can't be opened again."""
        source = open_events(place)
        if read_once(place):
            self._active.add(source)
            self._kept.append(source)
        else:
            source.close()
        return source

    def _open(self, place: str) -> EventSource:
        if not read_once(place):
            return open_events(place)
        for source in self._kept:
            if source.path == place:
                self._kept.remove(source)
                return source
        raise UsageError(f"{place} can't be read twice", "write it to a file")


def open(path: Path | Iterable[Path] | None = None) -> Recording:
    """Open a recording of fyke or Retis, recognised by its content.

    path: an event file; `FILE..` for it and the files of a split set that follow it; a directory or a pattern
    (`*.arrow`) for all recordings there, as one; or several of these. None: what `fyke print` reads without a
    name. What is damaged in a directory is left out, which `notes` tell.
    Raises InputError, one sentence, when it isn't to be had or is no event file.
    """
    return Recording(*places(path))


def _until_damage(batches: Iterator[pa.RecordBatch], problems: list[InputError]) -> Iterator[pa.RecordBatch]:
    with contextlib.closing(batches):  # type: ignore[type-var]
        try:
            yield from batches
        except InputError as error:
            problems.append(error)
