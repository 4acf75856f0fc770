"""Event files as Retis' Python package has them: EventFile, EventReader, SeriesReader, EventSeries.

They read every file that fyke reads. What goes wrong is told by ReaderError: an InputError, and as Retis'
errors are, a RuntimeError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from typing import Self

import pyarrow as pa

from fyke.api.retis_event import RetisEvent, start_event
from fyke.api.retis_lines import json_groups
from fyke.api.rows import Rows
from fyke.errors import InputError
from fyke.events.reader import EventSource, open_events
from fyke.events.recognise import RETIS_JSON
from fyke.events.retis.events import event_of
from fyke.events.retis.startup import startup_event
from fyke.events.rotation import FOLLOW
from fyke.events.store import note_rows

Path = str | os.PathLike[str]


class ReaderError(InputError, RuntimeError):
    """An event file that can't be read, not to its end, or not in this way."""


class EventSeries:
    """The events of one packet, in a sorted file."""

    def __init__(self, events: list[RetisEvent]) -> None:
        self._events = events
        self._rest = iter(events)

    def __next__(self) -> RetisEvent:
        return next(self._rest)

    def __iter__(self) -> Iterator[RetisEvent]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        first = self._events[0].common.timestamp if self._events else None
        return f"<EventSeries of {len(self)} events from {first}>"


class _Reader:
    """What both readers share: an iterator that is its own."""

    wants_sorted = False

    def __init__(self, path: Path) -> None:
        self._start(path, follow=False)

    def _start(self, path: Path, *, follow: bool) -> None:
        name = os.fsdecode(path)
        self._source = _opened(name + FOLLOW if follow else name)
        if (self._source.facts.order == "journey") != self.wants_sorted:
            self._source.close()
            here, other = (
                ("SeriesReader", "EventReader") if self.wants_sorted else ("EventReader", "SeriesReader")
            )
            kind = "an unsorted" if self.wants_sorted else "a sorted"
            raise ReaderError(f"{here} can't read {kind} file: {name}", f"use {other}")
        self._groups = _groups(self._source)

    def __iter__(self) -> Self:
        return self


class EventReader(_Reader):
    """The events of an unsorted file: an iterator. The first one is the start of the collection."""

    @classmethod
    def with_rotation(cls, path: Path) -> Self:
        """Read the files of a split set that follow this one as well."""
        reader = cls.__new__(cls)
        reader._start(path, follow=True)
        return reader

    def __next__(self) -> RetisEvent:
        (event,) = _next(self._groups)
        return event


class SeriesReader(_Reader):
    """The series of a sorted file: an iterator. The first one is the start of the collection."""

    wants_sorted = True

    def __next__(self) -> EventSeries:
        return EventSeries(_next(self._groups))


class EventFile:
    """An event file; `events()` or, where it is `sorted()`, `series()` read it, as often as one likes."""

    def __init__(self, path: Path) -> None:
        self._path = os.fsdecode(path)
        self._follow = False
        with _opened(self._path) as source:
            self._sorted = source.facts.order == "journey"

    @classmethod
    def with_rotation(cls, path: Path) -> Self:
        """Read the files of a split set that follow this one as well."""
        file = cls(path)
        file._follow = True
        return file

    def __repr__(self) -> str:
        return f"<EventFile {self._path}{FOLLOW if self._follow else ''}>"

    def sorted(self) -> bool:
        """Say whether it holds series, as `fyke sort -o` and `retis sort -o` write them."""
        return self._sorted

    def events(self) -> EventReader:
        """Return a reader of the events. Raises ReaderError for a sorted file."""
        return EventReader.with_rotation(self._path) if self._follow else EventReader(self._path)

    def series(self) -> SeriesReader:
        """Return a reader of the series. Raises ReaderError for a file that isn't sorted."""
        return SeriesReader(self._path)


def _opened(name: str) -> EventSource:
    try:
        return open_events(name)
    except InputError as error:
        raise ReaderError(error.message, error.hint) from error


def _next(groups: Iterator[list[RetisEvent]]) -> list[RetisEvent]:
    try:
        return next(groups)
    except InputError as error:
        raise ReaderError(error.message, error.hint) from error


def _groups(source: EventSource) -> Iterator[list[RetisEvent]]:
    """Yield the events of a source, those of a series together; each file's start is an event."""
    with source:
        if source.format == RETIS_JSON:
            yield from json_groups(source)
        else:
            yield from _arrow_groups(source)


def _arrow_groups(source: EventSource) -> Iterator[list[RetisEvent]]:
    begun = 0
    series: list[RetisEvent] = []
    for batch in source.batches():
        while begun < len(source.files):
            facts = source.files[begun][1]
            yield [start_event(startup_event(facts), facts)]
            begun += 1
        for number, events in groupby(_events(batch, source), key=lambda found: found[0]):
            if number is None:
                yield from ([event] for _, event in events)
                continue
            if series and _journey(series[0]) != number:
                yield _tracked(series)
                series = []
            series += [event for _, event in events]
    if not begun:
        yield [start_event(startup_event(source.facts), source.facts)]
    if series:
        yield _tracked(series)


def _events(batch: pa.RecordBatch, source: EventSource) -> Iterator[tuple[int | None, RetisEvent]]:
    """Yield the events of a batch with the number of their journey, None in a file that isn't sorted."""
    rows = Rows(batch, source.files[-1][1])
    notes = note_rows(batch)
    for row in range(len(batch)):
        if notes is not None and notes[row]:
            continue
        values = {name: value for name in rows.names if (value := rows.value(name, row)) is not None}
        event = RetisEvent(rows, row, event_of(values))
        yield _journey(event) if source.facts.order == "journey" else None, event


def _journey(event: RetisEvent) -> int | None:
    journey = event._rows.value("journey", event._row)
    return None if journey is None else journey["id"]


def _tracked(series: list[RetisEvent]) -> list[RetisEvent]:
    """Give the events of a series the section `tracking`, as Retis' sorted files have it."""
    first = next((event._json["skb-tracking"] for event in series if "skb-tracking" in event._json), None)
    if first is not None:
        for place, event in enumerate(series):
            index = event._rows.value("journey", event._row)["index"]
            event._json["tracking"] = {"skb": first, "idx": place if index is None else index}
    return series
