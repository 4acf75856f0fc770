"""A block of a Retis file -> a batch, by shapes: whatever the exact way would make of it, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.events.retis.connections import Known
from fyke.events.retis.exact import Converter
from fyke.events.retis.layouts import Layouts
from fyke.events.retis.lines import Block, Places
from fyke.events.retis.scan import Flags, Numbers, whole_numbers
from fyke.events.retis.shapes import Shape, Unfit, learn
from fyke.events.retis.table import NO_COLUMN, NUMBERS, Part, Table
from fyke.events.retis.texts import Ending

LEAST_EVENTS = 8  # of one shape in a block, to learn it
_OVS = b'"ovs'
_LEARN_IN_BLOCK = 64  # a shape takes as long as some 20 events the exact way
_SAMPLE = 512  # events of a shape whose layouts are looked at
_FEW = 64  # events are looked at one by one
_SHAPES = 64  # with the same number of quotes
_BETWEEN = b'},{"common":'  # events of a series; outside of a string wherever a string's quotes are paired


@dataclass(frozen=True, eq=False)
class Events:
    """The events of a block that may be of a shape.

    starts, ends: where they are in the block. lines: the line each is in. positions: where in its series.
    """

    starts: Places
    ends: Places
    lines: Places
    positions: Places


class FastReader:
    """Knows the shapes of one file, and learns new ones as they come.

    wanted: see `Table`. least: see LEAST_EVENTS.
    """

    def __init__(self, converter: Converter, wanted: Collection[str], least: int = LEAST_EVENTS) -> None:
        self._converter = converter
        self._wanted = wanted
        self._least = least
        self._shapes: dict[int, list[Shape]] = {}  # by how many quotes they have
        self._layouts = Layouts()
        self._of_left: Collection[str] | None = None

    def leave(self, wanted: Collection[str]) -> None:
        """Leave events where they are. wanted: the columns to make of those that are left; others get all."""
        self._of_left = wanted

    def read(self, block: Block) -> Found:
        """Return the events of a block that are of some shape, in lines all of whose events are."""
        events = _events(block, self._converter.sorted)
        parts = self._guessed(block, events)
        rest = _others(events, parts)
        if parts and not _are_all_quotes(
            block, events, parts, rest
        ):  # some are in what was taken for strings
            parts = [part.with_its_quotes(block, events) for part in parts]
            rest = _others(events, parts)
        if len(rest):
            parts += self._searched(block, events, rest)
        are_left = self._of_left is not None and all(part.shape.ending for part in parts)
        wanted = self._of_left if are_left and self._of_left is not None else self._wanted
        return Found(block, events, parts, self._converter.sorted, wanted, are_left=are_left)

    def _guessed(self, block: Block, events: Events) -> list[Match]:
        """Return the events that are laid out as others were. They may have more quotes than their shape."""
        parts = []
        for shape, these, begins in self._layouts.guess(block, events.starts, events.ends):
            same = shape.whole.found(block, begins)
            parts.append(
                Match(shape, these, begins) if same.all() else Match(shape, these[same], begins[same])
            )
        return parts

    def _searched(self, block: Block, events: Events, rest: Places) -> list[Match]:
        """Return which of the rest are of some shape, and learn how these are laid out."""
        parts = list(self._matches(block, events, rest[~_is_ovs(block, events, rest)]))
        budget = self._layouts.budget()
        for part in sorted(parts, key=lambda part: -len(part.events)):
            for place in part.layouts(events)[:budget]:
                start, end = int(events.starts[part.events[place]]), int(events.ends[part.events[place]])
                self._layouts.learn(part.shape, part.begins[place] - start, block.content[start:end])
                budget -= 1
            if budget <= 0:
                break
        return parts

    def _matches(self, block: Block, events: Events, which: Places) -> Iterator[Match]:
        budget = _LEARN_IN_BLOCK
        quotes, firsts, counts = block.quotes_in(events.starts[which], events.ends[which])
        first_quotes = np.zeros(len(events.starts), np.int64)
        first_quotes[which] = firsts
        order = np.argsort(counts, kind="stable")
        numbers, begins_of = np.unique(counts[order], return_index=True)
        for count, rest in zip(numbers.tolist(), np.split(which[order], begins_of[1:]), strict=False):
            known = self._shapes.setdefault(count, [])
            useful: list[tuple[int, Shape]] = []
            queue = list(known)
            while len(rest) and (queue or (len(rest) >= self._least and budget)):
                if queue:
                    shape = queue.pop(0)
                else:
                    budget -= 1
                    place = int(rest[0])
                    try:
                        shape = learn(
                            block.content[int(events.starts[place]) : int(events.ends[place])],
                            self._converter,
                        )
                    except Unfit:
                        rest = rest[1:]
                        continue
                same, begins = shape.find(
                    block, quotes, first_quotes[rest], events.starts[rest], events.ends[rest]
                )
                useful.append((int(same.sum()), shape))
                if useful[-1][0]:
                    yield Match(shape, rest[same], begins)
                rest = rest[~same]
            useful.extend((0, shape) for shape in queue)
            useful.sort(key=lambda found: -found[0])
            self._shapes[count] = [shape for _, shape in useful[:_SHAPES]]


@dataclass(frozen=True, eq=False)
class Match:
    """Events of one shape: which (places in Events), and where their literals begin, a row an event."""

    shape: Shape
    events: Places
    begins: Places

    def spans(self, slots: Places) -> tuple[Places, Places]:
        """Return where the values begin and end, a row an event and a column a slot."""
        return self.begins[:, slots] + self.shape.lengths[slots], self.begins[:, slots + 1]

    def layouts(self, events: Events) -> list[int]:
        """Return one event (a place in `events`) of each layout, of the most usual first."""
        few = self.begins[:_SAMPLE] - events.starts[self.events[:_SAMPLE]][:, None]
        _, places, counts = np.unique(few, axis=0, return_index=True, return_counts=True)
        found: list[int] = places[np.argsort(-counts, kind="stable")].tolist()
        return found

    def with_its_quotes(self, block: Block, events: Events) -> Match:
        """Return which of the events have as many quotes as the shape has."""
        _, _, quotes = block.quotes_in(events.starts[self.events], events.ends[self.events])
        right = quotes == self.shape.quotes
        return Match(self.shape, self.events[right], self.begins[right])

    def numbers(self, block: Block, good: Flags) -> Numbers:
        """Return the numbers, a column an event. good: set for events all of whose numbers are."""
        begins, ends = (np.ascontiguousarray(places.T) for places in self.spans(self.shape.numbers))
        values, right = whole_numbers(block, begins, ends)
        right &= values <= NUMBERS.limits[_number_columns(self.shape)][:, None]
        good[self.events] = right.all(axis=0)
        return values


class Found:
    """What was found in a block.

    lines: for each of its lines whether all its events were. are_left: they are left where they are.
    """

    def __init__(
        self,
        block: Block,
        events: Events,
        parts: list[Match],
        is_sorted: bool,
        wanted: Collection[str],
        *,
        are_left: bool = False,
    ) -> None:
        self.are_left = are_left
        self._block = block
        self._events = events
        self._parts = parts
        self._sorted = is_sorted
        self._wanted = wanted
        good = np.zeros(len(events.starts), np.bool_)
        self._numbers = [part.numbers(block, good) for part in parts]
        self.lines = np.zeros(len(block.starts), np.bool_)
        self.lines[events.lines] = True
        self.lines[events.lines[~good]] = False
        self._taken: Flags = self.lines[events.lines]

    def refuse(self, rows: Flags) -> None:
        """Take lines with any of these rows for not found."""
        self.lines[self.row_lines()[rows]] = False
        self._taken = self.lines[self._events.lines]

    def row_lines(self) -> Places:
        """Return the line of each row that `batch` gives."""
        return self._events.lines[self._taken]

    def insides(self) -> Flags:
        """Say for each line whether its event has room inside of its last section."""
        insides = np.zeros(len(self.lines), np.bool_)
        for part in self._parts:
            insides[self._events.lines[part.events]] = part.shape.ending == Ending.INSIDE
        return insides

    def batch(self, schema: pa.Schema, series: Places) -> tuple[pa.RecordBatch, Flags]:
        """Return the rows, and which of them are right: of the others the base64 isn't.

        series: the number of each line's series in the file, in sorted files.
        """
        taken = self._taken
        rows = np.cumsum(taken) - 1
        parts = []
        for part, numbers in zip(self._parts, self._numbers, strict=True):
            kept = taken[part.events]
            if kept.any():
                begins, ends = part.spans(part.shape.strings)
                if not kept.all():
                    numbers, begins, ends = numbers[:, kept], begins[kept], ends[kept]
                parts.append(Part(part.shape, rows[part.events[kept]], numbers, begins, ends))
        lines = self._events.lines[taken]
        of_lines = series[lines] if self._sorted else None
        positions = self._events.positions[taken]
        return Table(self._block, parts, self._wanted, of_lines, positions).batch(schema)


def _number_columns(shape: Shape) -> npt.NDArray[np.int64]:
    """Return the column of each number of a shape."""
    columns = np.full(len(shape.numbers), NO_COLUMN, np.int64)
    for key, place in shape.columns.items():
        column = NUMBERS.places.get(key)
        if column is not None and not isinstance(place, Known):
            columns[place] = column
    return columns


def _events(block: Block, is_sorted: bool) -> Events:
    plain = block.plain & (block.ends > block.starts)
    if is_sorted:
        starts, ends, lines, positions = _in_series(block, plain)
    else:
        lines = np.flatnonzero(plain)
        starts, ends, positions = block.starts[lines], block.ends[lines], np.zeros(len(lines), np.int64)
    return Events(starts, ends, lines, positions)


def _others(events: Events, parts: list[Match]) -> Places:
    """Return the events that are in no part."""
    rest = np.ones(len(events.starts), np.bool_)
    for part in parts:
        rest[part.events] = False
    return np.flatnonzero(rest)


def _are_all_quotes(block: Block, events: Events, parts: list[Match], rest: Places) -> bool:
    """Say whether the block has no more quotes than the parts' shapes and what is in no part."""
    lines = np.ones(len(block.starts), np.bool_)
    lines[events.lines] = False
    _, _, others = block.quotes_in(
        np.concatenate((events.starts[rest], block.starts[lines])),
        np.concatenate((events.ends[rest], block.ends[lines])),
    )
    known = sum(part.shape.quotes * len(part.events) for part in parts)
    return block.quotes == known + int(others.sum())


def _is_ovs(block: Block, events: Events, which: Places) -> Flags:
    """Say which events are of Open vSwitch: no shape can be made of them, and trying to takes its time."""
    if len(which) < _FEW:
        spans = zip(events.starts[which].tolist(), events.ends[which].tolist(), strict=True)
        return np.array([_OVS in block.content[start:end] for start, end in spans], np.bool_)
    there = []
    at = block.content.find(_OVS)
    while at >= 0:
        there.append(at)
        at = block.content.find(_OVS, at + len(_OVS))
    is_ovs = np.zeros(len(events.starts) + 1, np.bool_)
    is_ovs[np.searchsorted(events.starts, np.array(there, np.int64), side="right")] = True
    return is_ovs[1:][which]


def _in_series(block: Block, plain: Flags) -> tuple[Places, Places, Places, Places]:
    """Return where events of series begin and end, their lines and places in them."""
    plain &= (block.bytes[block.starts] == ord("[")) & (block.bytes[block.ends - 1] == ord("]"))
    plain &= block.ends - block.starts > 1
    cuts = []
    at = block.content.find(_BETWEEN)
    while at >= 0:
        cuts.append(at)
        at = block.content.find(_BETWEEN, at + len(_BETWEEN))
    between = np.array(cuts, np.int64)
    lines = np.searchsorted(block.starts, between, side="right") - 1
    between, lines = between[plain[lines]], lines[plain[lines]]
    whole = np.flatnonzero(plain)
    starts = np.sort(np.concatenate((block.starts[whole] + 1, between + 2)))
    ends = np.sort(np.concatenate((block.ends[whole] - 1, between + 1)))
    lines = np.sort(np.concatenate((whole, lines)))
    first = np.searchsorted(lines, lines)
    return starts, ends, lines, np.arange(len(lines)) - first
