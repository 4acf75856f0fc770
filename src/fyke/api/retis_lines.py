"""The events of Retis' JSON files with all that is in their lines, also sections that have no columns here.

The reader of the file judges each line, and makes the columns that text needs; the lines are read beside it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from fyke.api.retis_event import RetisEvent, start_event
from fyke.api.retis_fields import Json
from fyke.api.rows import Rows
from fyke.errors import InputError
from fyke.events.facts import Facts
from fyke.events.reader import EventSource
from fyke.events.retis.mapping import OWN, STARTUP
from fyke.events.retis.startup import RETIS_VERSION
from fyke.events.retis.versions import fixes

_NOTES = frozenset({"gap", "closing"})


def json_groups(source: EventSource) -> Iterator[list[RetisEvent]]:
    """Yield the events of each line of the files of a source; notes of gaps and of the end are left out.

    Raises InputError as `source.batches()` does.
    """
    begun = 0
    lines: _Lines | None = None
    for batch in source.batches():
        while begun < len(source.files):
            if lines is not None:
                yield from lines.rest()
            lines = _Lines(*source.files[begun])
            begun += 1
        assert lines is not None
        rows = Rows(batch, source.files[-1][1])
        for row in range(len(batch)):
            yield from lines.take(rows, row)
    for path, facts in source.files[begun:]:
        if lines is not None:
            yield from lines.rest()
        lines = _Lines(path, facts)
    if lines is not None:
        yield from lines.rest()


class _Lines:
    """The lines of a file, which were found to be right; startup events have no row, all others have one."""

    def __init__(self, path: str, facts: Facts) -> None:
        self._facts = facts
        self._path = path
        self._fixes = fixes(str(facts.extra.get(RETIS_VERSION, ""))) if RETIS_VERSION in facts.extra else ()
        self._lines = self._read()
        self._waiting: deque[Json] = deque()  # events of the line begun whose rows have not come yet
        self._group: list[RetisEvent] = []

    def take(self, rows: Rows, row: int) -> Iterator[list[RetisEvent]]:
        """Take the next row; yield the lines that are complete with it."""
        while not self._waiting:
            line = next(self._lines, None)
            if line is None:
                raise InputError(f"{self._path} was changed while it was read")
            yield from self._begin(line)
        event = self._waiting.popleft()
        if not _NOTES & event.get(OWN, {}).keys():
            self._group.append(RetisEvent(rows, row, event))
        if not self._waiting and self._group:
            yield self._group
            self._group = []

    def rest(self) -> Iterator[list[RetisEvent]]:
        """Yield the startup events behind the last row."""
        for line in self._lines:
            starts = [event for event in line if STARTUP in event]
            if len(starts) < len(line):  # the file has grown
                return
            yield [start_event(event, self._facts) for event in starts]

    def _begin(self, line: list[Json]) -> Iterator[list[RetisEvent]]:
        starts = [event for event in line if STARTUP in event]
        if starts:
            yield [start_event(event, self._facts) for event in starts]
        self._waiting.extend(event for event in line if STARTUP not in event)

    def _read(self) -> Iterator[list[Json]]:
        with open(self._path, "rb") as file:
            for line in file:
                if line.isspace():
                    continue
                item: Any = json.loads(line)
                events = item if isinstance(item, list) else [item]
                for event in events:
                    for fix in self._fixes:
                        fix.apply(event)
                yield events
