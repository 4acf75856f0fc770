"""What -f, -F and --journeys ask for: the packet filter, and a recording seen through it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fyke.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.reader import EventSource
    from fyke.filters.pcap.compile import PacketFilter

log = logging.getLogger(__name__)


def filter_text(args: argparse.Namespace) -> str | None:
    """Return the expression of FILTER or FILTER_FILE, None when there is none. Raises UsageError."""
    text: str | None = args.filter_packet
    if args.filter_file is not None:
        if text is not None:
            raise UsageError(
                "-f and -F are both given", "join the two expressions with `and`, in one of them"
            )
        from fyke.filters.pcap.compile import read_filter_file

        text = read_filter_file(args.filter_file)
    return text


def packet_filter(args: argparse.Namespace) -> PacketFilter | None:
    """Return the compiled filter of these options, None when there is none. Raises UsageError."""
    text = filter_text(args)
    if text is None:
        return None
    from fyke.filters.pcap.compile import compile_packet_filter

    return compile_packet_filter(text)


def recording_filter(args: argparse.Namespace) -> RecordingFilter | None:
    """Return what is asked for of a recording, None when all of it is. Raises UsageError."""
    compiled = packet_filter(args)
    if compiled is not None:
        return RecordingFilter(compiled, journeys=args.journeys)
    if args.journeys:
        raise UsageError("--journeys needs a packet filter", "say which packets: -f EXPR, or -F FILE")
    return None


class RecordingFilter:
    """A packet filter on the events of a recording.

    journeys: whether all events of a packet stay when one of them matches. events: judges batches.
    """

    def __init__(self, compiled: PacketFilter, *, journeys: bool) -> None:
        from fyke.filters.events import EventFilter

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
            from fyke.journeys.keep import whole_journeys

            return whole_journeys(source, self.events.matches)
        return self._matching(source)

    def sorted(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        """Return what stays of a source as journeys. For a sorted one, `batches` says what it may raise."""
        if source.facts.order == "journey":
            from fyke.journeys.keep import renumbered

            return renumbered(self.batches(source))
        from fyke.journeys.sort import sort

        if self.journeys:
            return sort(source.batches(), source.schema, self.events.matches)
        return sort(self._matching(source), source.schema)

    def report(self) -> None:
        """Tell what could not be judged. Call it after the last batch."""
        for warning in self.events.warnings():
            log.warning(warning)

    def _matching(self, source: EventSource) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in source.batches():
            stays = self.events.mask(batch)
            yield batch if stays.all() else batch.filter(pa.array(stays))
