"""What the commands that read an event file say about it."""

from __future__ import annotations

import logging

from fyke.events.reader import EventSource

log = logging.getLogger(__name__)


def report(source: EventSource) -> None:
    """Tell what reading a source brought to light. Call it after the last batch."""
    for warning in source.warnings:
        log.warning(warning)
    for section, count in source.unknown_sections.items():
        log.warning(f"{count} events have a section '{section}' that this version can't show")
    for path in source.endless if source.problem is None else ():
        log.warning(f"{path} has no end: its collection was killed, or its disk was full")
