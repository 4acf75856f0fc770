"""How commands read event files, and what they say about it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence

from fyke.cli.progress import reading_shown
from fyke.events.reader import EventSource

log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_inputs(paths: Sequence[str], columns: Collection[str] | None = None) -> Iterator[EventSource]:
    """Open what a command is given, see `open_merged`. On a terminal it is shown how far reading is."""
    from fyke.events.merged import open_merged

    with reading_shown(), open_merged(paths, columns) as source:
        yield source


def report(source: EventSource) -> None:
    """Tell what reading a source brought to light. Call it after the last batch."""
    for warning in source.warnings:
        log.warning(warning)
    for section, count in source.unknown_sections.items():
        log.warning(f"{count} events have a section '{section}' that this version can't show")
    for path in source.endless if source.problem is None else ():
        log.warning(f"{path} has no end: its collection was killed, or its disk was full")
