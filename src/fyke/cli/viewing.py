"""A recording as the commands that ask it with SQL see it: what -f, -F and --journeys leave, as views."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.reader import EventSource
    from fyke.filters.pcap.compile import PacketFilter
    from fyke.journeys.filtered import RecordingFilter
    from fyke.journeys.views import Views
    from fyke.journeys.views_rows import Rows


@contextlib.contextmanager
def open_rows(args: argparse.Namespace, path: str | None) -> Iterator[Rows]:
    """Open the rows of a recording that the options leave.

    When all went well, what reading brought to light is told at the end, and damage raised as InputError.
    """
    from fyke.cli.filtering import packet_filter
    from fyke.cli.progress import reading_shown
    from fyke.cli.reading import report
    from fyke.errors import UsageError
    from fyke.journeys.views_rows import Rows

    compiled = packet_filter(args)
    if compiled is None and args.journeys:
        raise UsageError("--journeys needs a packet filter", "say which packets: -f EXPR, or -F FILE")
    choice = None if compiled is None else _Choice(compiled, journeys=args.journeys)
    with reading_shown(), contextlib.closing(Rows(path, choice)) as rows:
        yield rows
        if choice is not None and choice.first is not None:
            choice.first.report()
        if rows.problem is not None:
            raise rows.problem
        report(rows.source)


@contextlib.contextmanager
def open_views(args: argparse.Namespace, path: str | None) -> Iterator[Views]:
    """Open the views of the rows that the options leave; see `open_rows`. args.memory: their memory limit."""
    from fyke.journeys.views import Views

    with open_rows(args, path) as rows, Views(rows, memory_bytes=memory_bytes(args.memory)) as views:
        yield views


def memory_bytes(text: str | None) -> int | None:
    """Return the value of --memory. Raises UsageError."""
    if text is None:
        return None
    from fyke.errors import UsageError
    from fyke.events.rotation import parse_size
    from fyke.journeys.views import LEAST_MEMORY_BYTES

    size = parse_size(text)
    if size < LEAST_MEMORY_BYTES:
        least = f"{LEAST_MEMORY_BYTES >> 20}MiB"
        raise UsageError(f"--memory {text} is too little to work with", f"give at least {least}")
    return size


def refuse_output_over_input(out: str | None, rows: Rows) -> None:
    """Raise UsageError for an output that is what is read."""
    from fyke.errors import UsageError

    if out is not None and os.path.exists(out):
        for path, _ in rows.source.files:
            if os.path.exists(path) and os.path.samefile(path, out):
                raise UsageError(f"{out} is the recording that is read", "write to another file")


class _Choice:
    """Makes a filter for each reading of the recording. first: that of the first reading to the end."""

    def __init__(self, compiled: PacketFilter, *, journeys: bool) -> None:
        self._compiled = compiled
        self._journeys = journeys
        self.first: RecordingFilter | None = None

    def __call__(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        from fyke.journeys.filtered import RecordingFilter

        wanted = RecordingFilter(self._compiled, journeys=self._journeys)
        # A sorted file's journeys are numbered anew, so that their events follow each other again.
        yield from wanted.sorted(source) if source.facts.order == "journey" else wanted.batches(source)
        if self.first is None:
            self.first = wanted
