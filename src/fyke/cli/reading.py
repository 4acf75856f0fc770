"""How commands read event files, and what they say about it."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from fyke.cli.filtering import recording_filter
from fyke.cli.progress import reading_shown
from fyke.errors import InputError
from fyke.events.reader import EventSource

if TYPE_CHECKING:
    from fyke.cli.filtering import RecordingFilter

log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_inputs(paths: Sequence[str], columns: Collection[str] | None = None) -> Iterator[EventSource]:
    """Open what a command is given, see `open_merged`. On a terminal it is shown how far reading is."""
    from fyke.events.heap import keep_freed
    from fyke.events.merged import open_merged

    keep_freed()
    with reading_shown(), open_merged(paths, columns) as source:
        yield source


@contextlib.contextmanager
def open_wanted(
    args: argparse.Namespace, columns: Collection[str] | None = None
) -> Iterator[tuple[EventSource, RecordingFilter | None]]:
    """Open the inputs of a command that has the options EVENTS, and what is wanted of them, None for all.

    columns: what is looked at where all is wanted, None for all. When the context ends well, or by damage,
    what reading brought to light is told.
    """
    wanted = recording_filter(args)
    with open_inputs(args.input, columns if wanted is None else None) as source:
        try:
            yield source, wanted
            report(source)
        except InputError:
            if wanted is not None:
                wanted.report()
            raise
        if wanted is not None:
            wanted.report()


def report(source: EventSource) -> None:
    """Tell what reading a source brought to light. Call it after the last batch."""
    for warning in source.warnings:
        log.warning(warning)
    for section, count in source.unknown_sections.items():
        log.warning(f"{count} events have a section '{section}' that this version can't show")
    for path in source.endless if source.problem is None else ():
        log.warning(f"{path} has no end: its collection was killed, or its disk was full")
