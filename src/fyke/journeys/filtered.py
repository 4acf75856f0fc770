"""A recording seen through a packet filter: its events that match, or the whole journeys of those."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pyarrow as pa

from fyke.events.reader import EventSource
from fyke.filters.events import EventFilter
from fyke.filters.pcap.compile import PacketFilter
from fyke.journeys.keep import renumbered, whole_journeys

log = logging.getLogger(__name__)


class RecordingFilter:
    """A packet filter on the events of a recording.

    journeys: whether all events of a packet stay when one of them matches. events: judges batches.
    """

    def __init__(self, compiled: PacketFilter, *, journeys: bool) -> None:
        self.journeys = journeys
        self.events = EventFilter(compiled)

    @property
    def note(self) -> str:
        """What the facts of a filtered file are to say."""
        text = " ".join(self.events.filter.text.split())
        what = "whole journeys with an event that matches" if self.journeys else "events that match"
        return f"filtered: only {what} the packet filter {text}"

    def batches(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        """Return the batches of a source with the rows that stay.

        With `journeys` the source is read to its end at once. Raises UsageError where that can't be.
        """
        if self.journeys:
            return whole_journeys(source, self.events.matches)
        return self._matching(source)

    def sorted(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        """Return what stays of a source as journeys. For a sorted one, `batches` says what it may raise."""
        if source.facts.order == "journey":
            return renumbered(self.batches(source))
        from fyke.journeys.sort import sort  # brings DuckDB with it

        if self.journeys:
            return sort(source.batches(), source.schema, self.events.matches)
        return sort(self._matching(source), source.schema)

    def report(self, path: str | None = None) -> None:
        """Log what could not be judged. Call it after the last batch. path: which of several recordings."""
        for warning in self.events.warnings():
            log.warning(warning if path is None else f"{path}: {warning}")

    def rows(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        """Return what stays of a source in its own order; the journeys of a sorted one are numbered anew."""
        return self.sorted(source) if source.facts.order == "journey" else self.batches(source)

    def _matching(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        for batch in source.batches():
            stays = self.events.mask(batch)
            yield batch if stays.all() else batch.filter(pa.array(stays))
