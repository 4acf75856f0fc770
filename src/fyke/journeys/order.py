"""What sort.sql says, computed in memory: the same rows in the same order, at a fraction of the time.

sort.sql is the one home of the meaning: look there for what a journey is. Tests hold the two together on
random tables. A table too large for memory isn't brought here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

ROW_BYTES = 128  # what ordering takes of memory for each row, the tables that it is given included
_CHUNK_ROWS = 1 << 15  # ordered at once: their columns stay in the CPU's cache
_NO_LOSS = pa.array(["tracking_full", "stack_full"])
_MOST = np.iinfo(np.uint64).max


def placed(events: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the result of sort.sql (row, id, index, clone, lost), whole journeys in each batch.

    events: the table of sort.sql, its rows numbered from 0. Its memory is freed when nobody else holds it.
    """
    rows = _Rows.of(events)
    del events
    number = 0
    for order in rows.parts():
        part = _Part(rows, rows.with_ties(order))
        yield part.result(number)
        number += int(part.counted.sum())


@dataclass(frozen=True)
class _Rows:
    """What the order depends on, of each row. start_ns, head: of its journey; head is 0 where not `tracked`.

    A mask that is None holds for no row (is_note, is_end), or for all (chosen, tracked, has_skb).
    """

    timestamp_ns: Array
    start_ns: Array
    head: Array
    tracked: Mask | None
    skb: Array
    has_skb: Mask | None
    chosen: Mask | None
    is_note: Mask | None
    is_end: Mask | None
    cpu: Any  # as Arrow has it: looked at only when there are gaps
    gaps: list[tuple[int | None, int, int, int]]

    @classmethod
    def of(cls, events: pa.Table) -> _Rows:
        is_gap, is_end = (_some(events[name]) for name in ("gap", "closing"))
        is_note = is_gap if is_end is None else is_end if is_gap is None else is_gap | is_end
        packet, times = events["skb_tracking"], events["timestamp_ns"]
        if is_note is not None:
            packet = pc.if_else(pa.array(~is_note), packet, pa.scalar(None, packet.type))
        head, time_ns, skb = (pc.struct_field(packet, name) for name in ("orig_head", "timestamp_ns", "skb"))
        timestamp_ns, start_ns, skbs = times.to_numpy(), _numbers(time_ns), _numbers(skb)
        if (told := _all_but(time_ns)) is not None:
            np.copyto(start_ns, timestamp_ns, where=~told)
        has_skb = skbs != 0
        return cls(
            timestamp_ns=timestamp_ns,
            start_ns=start_ns,
            head=_numbers(head),
            tracked=_all_but(head),
            skb=skbs,
            has_skb=None if has_skb.all() else has_skb,
            chosen=_chosen(events["chosen"], is_note),
            is_note=is_note,
            is_end=is_end,
            cpu=events["cpu"],
            gaps=[] if is_gap is None else _gaps(events.filter(pa.array(is_gap))),
        )

    def parts(self) -> Iterator[Array]:
        """Yield the rows' numbers in order of their journeys' starts, in parts that share no start."""
        # Most of the order is that of the starts alone, and a file is nearly in it: a merge sort, then, that
        # leaves rows of one start as they are in the file.
        order = np.argsort(self.start_ns, kind="stable")
        if self.is_end is None:
            yield from self._cut(order)
            return
        last = self.is_end[order]
        yield from self._cut(order[~last])
        yield from self._cut(order[last])

    def _cut(self, order: Array) -> Iterator[Array]:
        begin = 0
        while begin < len(order):
            end = begin
            while True:
                ahead = self.start_ns[order[end : end + _CHUNK_ROWS + 1]]
                cuts = np.flatnonzero(ahead[1:] != ahead[:-1])
                if len(cuts) or end + len(ahead) >= len(order):
                    break
                end += _CHUNK_ROWS
            end = end + int(cuts[-1]) + 1 if end + len(ahead) < len(order) else len(order)
            yield order[begin:end]
            begin = end

    def with_ties(self, order: Array) -> Array:
        """Put rows of one start in order: untracked ones, then by head, then by time."""
        start, head, time_ns = self.start_ns[order], self.head[order], self.timestamp_ns[order]
        same = start[1:] == start[:-1]
        tracked = None if self.tracked is None else self.tracked[order]
        by_head = head[1:] > head[:-1]
        later = (head[1:] == head[:-1]) & (time_ns[1:] >= time_ns[:-1])
        if tracked is None:
            wrong = same & ~(by_head | later)
        else:
            time_ns = np.where(tracked, time_ns, 0)  # untracked ones stay as in the file
            later = (head[1:] == head[:-1]) & (time_ns[1:] >= time_ns[:-1])
            equal = tracked[1:] == tracked[:-1]
            wrong = same & ~((tracked[1:] > tracked[:-1]) | (equal & (by_head | later)))
        if not wrong.any():
            return order
        run = np.concatenate([[0], np.cumsum(~same)])  # number of the rows of one start
        in_wrong = np.zeros(run[-1] + 1, np.bool_)
        in_wrong[run[1:][wrong]] = True
        places = np.flatnonzero(in_wrong[run])
        keys = [key[places] for key in (time_ns, head, tracked, run) if key is not None]
        order = order.copy()
        order[places] = order[places][np.lexsort(keys)]
        return order


class _Part:
    """Rows in order, of whole journeys. counted: whether each journey is one, not a note."""

    def __init__(self, rows: _Rows, order: Array) -> None:
        self._rows = rows
        self._order = order
        self._find()
        if rows.chosen is not None and len(order):
            chosen = np.logical_or.reduceat(rows.chosen[order], self._starts)
            self._order = order[chosen[self._journey]]
            self._find()
        heads = self._order[self._starts]
        self.counted = np.ones(len(heads), np.bool_) if rows.is_note is None else ~rows.is_note[heads]

    def _find(self) -> None:
        """Find where journeys begin."""
        rows, order = self._rows, self._order
        start, head = rows.start_ns[order], rows.head[order]
        self._first = np.ones(len(order), np.bool_)
        self._first[1:] = (start[1:] != start[:-1]) | (head[1:] != head[:-1])
        if rows.tracked is not None:
            tracked = rows.tracked[order]
            self._first[1:] |= ~(tracked[1:] & tracked[:-1])
        self._starts = np.flatnonzero(self._first)
        self._journey = np.cumsum(self._first) - 1

    def result(self, number: int) -> pa.RecordBatch:
        """Return the rows' places. number: of the first journey."""
        numbers = (np.cumsum(self.counted) + (number - 1)).astype(np.uint64)
        mask = None if self.counted.all() else ~self.counted[self._journey]
        index = np.arange(len(self._order)) - self._starts[self._journey]
        columns = {
            "row": pa.array(self._order),
            "id": pa.array(numbers[self._journey], mask=mask),
            "index": pa.array(index.astype(np.uint32)),
            "clone": pa.array(self._clones()),
            "lost": pa.array(self._lost()[self._journey]),
        }
        return pa.RecordBatch.from_pydict(columns)

    def _clones(self) -> Array:
        """Number the skbs of each journey in order of first sight."""
        clones = np.zeros(len(self._order), np.uint32)
        skb = self._rows.skb[self._order]
        has_skb = None if self._rows.has_skb is None else self._rows.has_skb[self._order]
        other = skb != skb[self._starts][self._journey]
        if has_skb is None and not other.any():
            return clones
        # Most have two at most: the first row's, and one other.
        places = np.flatnonzero(other)[::-1]
        second = np.zeros(len(self._starts), skb.dtype)
        second[self._journey[places]] = skb[places]
        hard = other & (skb != second[self._journey])
        if has_skb is not None:
            hard |= ~has_skb
        clones[other] = 1
        if hard.any():
            of_hard = np.zeros(len(self._starts), np.bool_)
            of_hard[self._journey[hard]] = True
            in_hard = of_hard[self._journey]
            clones[in_hard] = 0
            places = np.flatnonzero(in_hard if has_skb is None else in_hard & has_skb)
            clones[places] = _ranks(self._journey[places], skb[places])
        return clones

    def _lost(self) -> Array:
        """Return how many events each journey may have lost: the gaps on its CPUs in its time."""
        lost = np.zeros(len(self._starts), np.uint64)
        if not self._rows.gaps or not len(lost):
            return lost
        times = self._rows.timestamp_ns[self._order]
        first_ns, last_ns = (f.reduceat(times, self._starts) for f in (np.minimum, np.maximum))
        begin, end = int(first_ns.min()), int(last_ns.max())
        cpu = self._rows.cpu.take(pa.array(self._order))
        seen: dict[int | None, Mask] = {None: self.counted}
        for at, since_ns, until_ns, count in self._rows.gaps:
            if until_ns < begin or since_ns > end:
                continue
            if at not in seen:
                on_it = pc.fill_null(pc.equal(cpu, at), True).to_numpy()
                seen[at] = np.logical_or.reduceat(on_it, self._starts) & self.counted
            hit = seen[at] & (first_ns <= until_ns) & (last_ns >= since_ns)
            more = lost[hit] + np.uint64(count)
            lost[hit] = np.where(more < lost[hit], _MOST, more)
        return lost


def _ranks(journey: Array, skb: Array) -> Array:
    """Number the skbs of each journey in the order in which they come. journey: ascending."""
    by_skb = np.lexsort((skb, journey))
    new = np.ones(len(by_skb), np.bool_)
    new[1:] = (np.diff(journey[by_skb]) != 0) | (np.diff(skb[by_skb]) != 0)
    sights = by_skb[new]  # where each skb comes first
    in_order = np.sort(sights)
    ranks = np.arange(len(in_order))
    begins = np.ones(len(in_order), np.bool_)
    begins[1:] = np.diff(journey[in_order]) != 0
    ranks -= np.maximum.accumulate(np.where(begins, ranks, 0))
    result = np.empty(len(by_skb), np.uint32)
    result[by_skb] = ranks[np.searchsorted(in_order, sights)][np.cumsum(new) - 1]
    return result


def _chosen(chosen: pa.ChunkedArray, is_note: Mask | None) -> Mask | None:
    if pc.all(chosen).as_py() is not False:
        return None
    mask: Mask = chosen.to_numpy()
    return mask if is_note is None else mask | is_note


def _gaps(noted: pa.Table) -> list[tuple[int | None, int, int, int]]:
    """Return CPU, first and last moment, and count of each gap in which events were lost."""
    gap, times = noted["gap"], noted["timestamp_ns"]
    count, cause, since_ns = (pc.struct_field(gap, name) for name in ("count", "cause", "since_ns"))
    losing = pc.and_not(
        pc.fill_null(pc.not_equal(count, pa.scalar(0, pa.uint64())), False),
        pc.is_in(cause, value_set=_NO_LOSS),
    )
    columns = (noted["cpu"], pc.coalesce(since_ns, times), times, count)
    return list(zip(*(column.filter(losing).to_pylist() for column in columns), strict=True))


def _numbers(column: pa.ChunkedArray) -> Array:
    """Return a column of uint64, 0 where there is no value. pyarrow's ways take several times as long."""
    found = np.zeros(len(column), np.uint64)
    begin = 0
    for chunk in column.chunks:
        part = found[begin : begin + len(chunk)]
        begin += len(chunk)
        if chunk.null_count < len(chunk):
            part[:] = np.frombuffer(chunk.buffers()[1], np.uint64)[chunk.offset : chunk.offset + len(chunk)]
            if chunk.null_count:
                part *= chunk.is_valid().to_numpy(zero_copy_only=False)
    return found


def _all_but(column: pa.ChunkedArray) -> Mask | None:
    """Say for each row whether it has a value; None when all have."""
    return column.is_valid().to_numpy() if column.null_count else None


def _some(column: pa.ChunkedArray) -> Mask | None:
    """Say for each row whether it has a value; None when none has."""
    return None if column.null_count == len(column) else column.is_valid().to_numpy()
