"""A recording as the commands that ask it with SQL see it: what -f, -F and --journeys leave, as views."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fyke.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.reader import EventSource
    from fyke.filters.pcap.compile import PacketFilter
    from fyke.journeys.filtered import RecordingFilter
    from fyke.journeys.views import Views
    from fyke.journeys.views_rows import Recorded, Rows

log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_rows(args: argparse.Namespace, paths: Sequence[str]) -> Iterator[Recorded]:
    """Open the rows of the recordings at these paths, or of the default one, that the options leave.

    paths: files, directories and patterns, as `fyke.events.places` takes them.
    When all went well, what reading brought to light is told at the end, and damage raised as InputError.
    """
    from fyke.cli.progress import reading_shown
    from fyke.events.places import places
    from fyke.journeys.views_many import recorded_rows

    choice = _choice(args)
    found, notes = places(paths or None)
    for note in notes:
        log.warning(note)
    with reading_shown(), contextlib.closing(recorded_rows(found, choice)) as rows:
        yield rows
        _report(rows, choice)


@contextlib.contextmanager
def open_one(args: argparse.Namespace, path: str | None) -> Iterator[Rows]:
    """Open the rows of one recording; otherwise as `open_rows`."""
    from fyke.cli.progress import reading_shown
    from fyke.journeys.views_rows import Rows

    choice = _choice(args)
    with reading_shown(), contextlib.closing(Rows(path, choice)) as rows:
        yield rows
        _report(rows, choice)


@contextlib.contextmanager
def open_views(args: argparse.Namespace, paths: Sequence[str]) -> Iterator[Views]:
    """Open the views of the rows that the options leave; see `open_rows`. args.memory: their memory limit."""
    from fyke.journeys.views import Views

    with open_rows(args, paths) as rows, Views(rows, memory_bytes=memory_bytes(args.memory)) as views:
        yield views


def _choice(args: argparse.Namespace) -> _Choice | None:
    from fyke.cli.filtering import packet_filter

    compiled = packet_filter(args)
    if compiled is None and args.journeys:
        raise UsageError("--journeys needs a packet filter", "say which packets: -f EXPR, or -F FILE")
    return None if compiled is None else _Choice(compiled, journeys=args.journeys)


def _report(rows: Recorded, choice: _Choice | None) -> None:
    """Tell what reading brought to light; raise the InputError of what is damaged."""
    from fyke.cli.reading import report

    if choice is not None:
        choice.report()
    if rows.problem is not None:
        raise rows.problem
    for source in rows.sources:
        report(source)


def memory_bytes(text: str | None) -> int | None:
    """Return the value of --memory. Raises UsageError."""
    if text is None:
        return None
    from fyke.events.rotation import parse_size
    from fyke.journeys.views import LEAST_MEMORY_BYTES

    size = parse_size(text)
    if size < LEAST_MEMORY_BYTES:
        least = f"{LEAST_MEMORY_BYTES >> 20}MiB"
        raise UsageError(f"--memory {text} is too little to work with", f"give at least {least}")
    return size


def refuse_output_over_input(out: str | None, rows: Recorded) -> None:
    """Raise UsageError for an output that is what is read."""
    if out is not None and os.path.exists(out):
        for path in (path for source in rows.sources for path, _ in source.files):
            if os.path.exists(path) and os.path.samefile(path, out):
                raise UsageError(f"{out} is the recording that is read", "write to another file")


class _Choice:
    """Makes a filter for each reading of each recording, and keeps that of the first reading to the end."""

    def __init__(self, compiled: PacketFilter, *, journeys: bool) -> None:
        self._compiled = compiled
        self._journeys = journeys
        self._first: dict[str, RecordingFilter] = {}

    def __call__(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        from fyke.journeys.filtered import RecordingFilter

        wanted = RecordingFilter(self._compiled, journeys=self._journeys)
        yield from wanted.rows(source)
        self._first.setdefault(source.path, wanted)

    def report(self) -> None:
        """Log what could not be judged."""
        for path, wanted in self._first.items():
            wanted.report(path if len(self._first) > 1 else None)
