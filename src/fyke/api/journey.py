"""The way of one packet: its events in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.api.event import Event
from fyke.api.rows import Rows
from fyke.collectors.formatting import Style
from fyke.events.facts import Facts
from fyke.render.text import EventText


class Journey:
    """A packet's journey, or a single event whose packet isn't tracked.

    id: its number in the recording, from 0; the one that SQL knows where the recording is of one file.
    events: in order of time, at least one.
    """

    __slots__ = ("_facts", "_parts", "events", "id")

    def __init__(self, number: int, parts: list[pa.RecordBatch], facts: Facts) -> None:
        self.id = number
        self._parts = parts
        self._facts = facts
        rows = [Rows(part, facts) for part in parts]
        self.events = tuple(Event(part, row) for part in rows for row in range(len(part.batch)))

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    @property
    def facts(self) -> Facts:
        """The facts of the collection that it is from."""
        return self._facts

    @property
    def path(self) -> tuple[str, ...]:
        """Where it was seen: the symbols of its events' probes."""
        symbols = (event.kernel.symbol for event in self.events if event.kernel is not None)
        return tuple(symbol for symbol in symbols if symbol is not None)

    @property
    def duration_ns(self) -> int:
        """From its first event to its last, in nanoseconds."""
        return self.events[-1].timestamp_ns - self.events[0].timestamp_ns

    @property
    def dropped(self) -> bool:
        """Whether some event of it is a drop."""
        return any(event.skb_drop is not None for event in self.events)

    @property
    def drop_reason(self) -> str | None:
        """Why it was dropped, of the first drop; None when it wasn't, or nobody knows."""
        return next((event.skb_drop.drop_reason for event in self.events if event.skb_drop), None)

    @property
    def lost(self) -> int:
        """Events lost on its CPUs while it went on: 0 when it is whole."""
        place = self.events[0].journey
        return (place and place.lost) or 0

    def __str__(self) -> str:
        """Return the text that `fyke sort` shows of it, without an empty line around it."""
        text = EventText(Style(), series=True)
        return (
            b"".join(bytes(piece) for part in self._parts for piece in text.batch(part)).decode().rstrip("\n")
        )

    def __repr__(self) -> str:
        end = f", dropped: {self.drop_reason}" if self.dropped else ""
        return f"<Journey {self.id}: {len(self)} events, {self.duration_ns} ns{end}>"


def journeys_of(batches: Iterable[pa.RecordBatch], facts: Facts, first: int) -> Iterator[Journey]:
    """Yield the journeys of sorted batches, numbered from `first`; notes of gaps and of the end are none."""
    number, parts, current = first, list[pa.RecordBatch](), None
    for batch in batches:
        ids = pc.struct_field(batch.column("journey"), "id")
        if ids.null_count:
            there = ids.is_valid()
            batch, ids = batch.filter(there), ids.filter(there)
        if not len(batch):
            continue
        values = ids.to_numpy()
        cuts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(batch)]
        for start, end in pairwise(cuts):
            if parts and values[start] != current:
                yield Journey(number, parts, facts)
                number, parts = number + 1, []
            current = values[start]
            parts.append(batch.slice(start, end - start))
    if parts:
        yield Journey(number, parts, facts)
