"""A block of a Retis file -> a batch, by shapes: whatever the exact way would make of it, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.events.retis.connections import Known
from fyke.events.retis.exact import Converter
from fyke.events.retis.lines import Block, Places
from fyke.events.retis.scan import Flags, Numbers, whole_numbers
from fyke.events.retis.shapes import Shape, Unfit, learn
from fyke.events.retis.table import NO_COLUMN, NUMBERS, Table

LEAST_EVENTS = 8  # of one shape in a block, to learn it
_OVS = b'"ovs'
_LEARN_IN_BLOCK = 64  # a shape takes as long as some 20 events the exact way
_SHAPES = 64  # with the same number of quotes
_BETWEEN = b'},{"common":'  # events of a series; outside of a string wherever a string's quotes are paired


@dataclass(frozen=True, eq=False)
class Events:
    """The events of a block that may be of a shape.

    starts, ends: where they are in the block. lines: the line each is in. positions: where in its series.
    first_quotes, quotes: place in `block.quotes`, and how many.
    """

    starts: Places
    ends: Places
    lines: Places
    positions: Places
    first_quotes: Places
    quotes: Places


class FastReader:
    """Knows the shapes of one file, and learns new ones as they come.

    wanted: see `Table`. least: see LEAST_EVENTS.
    """

    def __init__(self, converter: Converter, wanted: Collection[str], least: int = LEAST_EVENTS) -> None:
        self._converter = converter
        self._wanted = wanted
        self._least = least
        self._shapes: dict[int, list[Shape]] = {}

    def read(self, block: Block) -> Found:
        """Return the events of a block that are of some shape, in lines all of whose events are."""
        events = _events(block, self._converter.sorted)
        parts = []
        for shape, these, begins in self._matches(block, events):
            parts.append(_Part(shape, these, begins))
        return Found(block, events, parts, self._converter.sorted, self._wanted)

    def _matches(self, block: Block, events: Events) -> Iterator[tuple[Shape, Places, Places]]:
        budget = _LEARN_IN_BLOCK
        order = np.argsort(events.quotes, kind="stable")
        order = order[~_is_ovs(block, events)[order]]
        if not len(order):
            return
        counts, firsts = np.unique(events.quotes[order], return_index=True)
        for count, rest in zip(counts.tolist(), np.split(order, firsts[1:]), strict=False):
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
                    block, events.first_quotes[rest], events.starts[rest], events.ends[rest]
                )
                useful.append((int(same.sum()), shape))
                if useful[-1][0]:
                    yield shape, rest[same], begins
                rest = rest[~same]
            useful.extend((0, shape) for shape in queue)
            useful.sort(key=lambda found: -found[0])
            self._shapes[count] = [shape for _, shape in useful[:_SHAPES]]


@dataclass(frozen=True, eq=False)
class _Part:
    """Events of one shape: which (places in Events), and where their literals begin."""

    shape: Shape
    events: Places
    begins: Places

    def spans(self, slots: Places) -> tuple[Places, Places]:
        """Return where the values begin and end, a row an event and a column a slot."""
        return self.begins[:, slots] + self.shape.lengths[slots], self.begins[:, slots + 1]


class Found:
    """What was found in a block. lines: for each of its lines whether all its events were."""

    def __init__(
        self, block: Block, events: Events, parts: list[_Part], is_sorted: bool, wanted: Collection[str]
    ) -> None:
        self._block = block
        self._events = events
        self._parts = parts
        self._sorted = is_sorted
        self._wanted = wanted
        self._numbers, good = self._read_numbers()
        self.lines = np.zeros(len(block.starts), np.bool_)
        self.lines[events.lines] = True
        self.lines[events.lines[~good]] = False
        self._taken: Flags = self.lines[events.lines]

    def _read_numbers(self) -> tuple[tuple[Places, Places, Numbers], Flags]:
        """Return events, columns and values of all numbers, and which events have right ones."""
        good = np.zeros(len(self._events.starts), np.bool_)
        starts, ends, events, columns = [], [], [], []
        for part in self._parts:
            good[part.events] = True
            slots = part.shape.numbers
            begin, end = part.spans(slots)
            starts.append(begin.ravel())
            ends.append(end.ravel())
            events.append(np.repeat(part.events, len(slots)))
            columns.append(np.tile(_number_columns(part.shape), len(part.events)))
        if not starts:
            empty = np.zeros(0, np.int64)
            return (empty, empty, empty.astype(np.uint64)), good
        event, column = np.concatenate(events), np.concatenate(columns)
        values, right = whole_numbers(self._block, np.concatenate(starts), np.concatenate(ends))
        right &= values <= NUMBERS.limits[column]
        good[event[~right]] = False
        return (event, column, values), good

    def refuse(self, rows: Flags) -> None:
        """Take lines with any of these rows for not found."""
        self.lines[self.row_lines()[rows]] = False
        self._taken = self.lines[self._events.lines]

    def row_lines(self) -> Places:
        """Return the line of each row that `batch` gives."""
        return self._events.lines[self._taken]

    def batch(self, schema: pa.Schema, series: Places) -> tuple[pa.RecordBatch, Flags]:
        """Return the rows, and which of them are right: of the others the base64 isn't.

        series: the number of each line's series in the file, in sorted files.
        """
        taken = self._taken
        rows = np.cumsum(taken) - 1
        table = Table(self._block, int(taken.sum()), self._wanted)
        event, column, values = self._numbers
        if not taken.all():
            there = taken[event]
            event, column, values = rows[event[there]], column[there], values[there]
        table.set_numbers(column, event, values)
        for part in self._parts:
            kept = taken[part.events]
            if kept.any():
                begins, ends = part.spans(part.shape.strings)
                table.set_shape(part.shape, rows[part.events[kept]], begins[kept], ends[kept])
        if self._sorted:
            lines, positions = self._events.lines[taken], self._events.positions[taken]
            table.set_places(series[lines], positions)
        return table.batch(schema)


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
    first_quotes = np.searchsorted(block.quotes, starts)
    quotes = np.searchsorted(block.quotes, ends) - first_quotes
    return Events(starts, ends, lines, positions, first_quotes, quotes)


def _is_ovs(block: Block, events: Events) -> Flags:
    """Say which events are of Open vSwitch: no shape can be made of them, and trying to takes its time."""
    there = []
    at = block.content.find(_OVS)
    while at >= 0:
        there.append(at)
        at = block.content.find(_OVS, at + len(_OVS))
    is_ovs = np.zeros(len(events.starts) + 1, np.bool_)
    is_ovs[np.searchsorted(events.starts, np.array(there, np.int64), side="right")] = True
    return is_ovs[1:]


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
