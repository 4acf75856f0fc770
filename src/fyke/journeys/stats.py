"""Statistics of a recording: what one pass over few of its columns tells, and what the views tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.coded import encoded, plain
from fyke.events.facts import Facts
from fyke.events.ovs import STEPS
from fyke.events.store import count_events
from fyke.journeys.ambiguous import count_marked
from fyke.journeys.stats_rates import Rates
from fyke.journeys.stitch import Stitches, is_unstitched
from fyke.journeys.views_rows import Rows

if TYPE_CHECKING:
    from fyke.journeys.views import Views

_PROBE = ("kernel", "userspace")  # one of these says which
# Parts that count rows, and the columns each looks at; then those that are queries.
COUNTED = {
    "summary": _PROBE,
    "loss": ("cpu", "kernel"),
    "tracking": ("skb_tracking", *STEPS),
    "drops": ("skb_drop",),
    "rate": _PROBE,
}
QUERIED = ("flows", "paths", "hops")
PARTS = (*COUNTED, *QUERIED)
# Causes of gaps that are no lost events (see sort.sql).
NO_EVENTS = ("tracking_full", "stack_full")

_QUERIES = ("flows", "paths", "hops", "journeys")  # as in stats.sql


@dataclass
class FileStats:
    """Of one file. series: journeys, when it is sorted. probes: events by `TYPE/SYMBOL`; times in ns."""

    path: str
    facts: Facts
    events: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    series: int = 0
    probes: Counter[str] = field(default_factory=Counter)


class Stats:
    """What is counted of a recording, batch by batch. Parts that were not asked for stay empty.

    files: of each file, in order. lost: events (or what else the cause counts) by cause, CPU and probe, as
    gap rows tell. ambiguous: events of a packet on its way through user space that can't be told from others.
    closing: what the closing row tells of the whole collection; None when there is none.
    """

    def __init__(self, parts: frozenset[str]) -> None:
        self.parts = parts
        self.files: list[FileStats] = []
        self.lost: Counter[tuple[str, int | None, str | None]] = Counter()
        self.closing: dict[str, Any] | None = None
        self.tracked = self.untracked = self.ambiguous = 0
        self.drops: Counter[str] = Counter()
        self.rates = Rates()
        self.probe_numbers: dict[str, int] = {}
        self._journey: int | None = None

    @property
    def events(self) -> int:
        """Events in all files."""
        return sum(file.events for file in self.files)

    def read(self, rows: Rows) -> None:
        """Count all of a recording. Damage ends it quietly: see `rows.problem`."""
        columns = {name for part in self.parts & COUNTED.keys() for name in COUNTED[part]}
        # Decoding it says how many series a sorted file has.
        columns |= {"journey"} if rows.is_sorted else set()
        stitches = Stitches() if "tracking" in self.parts and _stitched_later(rows) else None
        columns |= {"timestamp_ns", "cpu"} if stitches else set()
        for _, batch in rows.numbered(columns, by_number=True):
            self._begin(rows)
            if stitches:
                stitches.tracking(batch)
            self._add(batch, self.files[-1])
        self._begin(rows)
        self.ambiguous += len(stitches.marks) if stitches else 0

    def _begin(self, rows: Rows) -> None:
        for path, facts in rows.source.files[len(self.files) :]:
            self.files.append(FileStats(path, facts))

    def _add(self, batch: pa.RecordBatch, file: FileStats) -> None:
        if count_events(batch) != len(batch):
            notes = pc.or_(batch.column("gap").is_valid(), batch.column("closing").is_valid())
            self._notes(batch.filter(notes))
            batch = batch.filter(pc.invert(notes))
            if not len(batch):
                return
        file.events += len(batch)
        times = _values(batch.column("timestamp_ns"), np.uint64)
        low, high = int(times.min()), int(times.max())
        file.first_ns = low if file.first_ns is None else min(low, file.first_ns)
        file.last_ns = high if file.last_ns is None else max(high, file.last_ns)
        self._journeys(batch, file)
        if self.parts & {"summary", "rate"}:
            probes = self._probes(batch, file)
            if "rate" in self.parts:
                self.rates.add(probes, times)
        if "tracking" in self.parts:
            missing = pc.struct_field(batch.column("skb_tracking"), "orig_head").null_count
            self.untracked += missing
            self.tracked += len(batch) - missing
            self.ambiguous += count_marked(batch)
        if "drops" in self.parts:
            self._drops(batch.column("skb_drop"))

    def _probes(self, batch: pa.RecordBatch, file: FileStats) -> npt.NDArray[np.int64]:
        """Count the batch's probes; return the number of each event's. Events without have that of `?`."""
        sections = [batch.column(name) for name in _PROBE]
        there = [section for section in sections if section.null_count < len(batch)] or sections[:1]
        names = ([pc.struct_field(section, name) for section in there] for name in ("probe_type", "symbol"))
        which, pairs = _pairs(*(found[0] if len(found) == 1 else _either(found) for found in names))
        numbers = np.zeros(len(pairs), np.int64)
        for place, (kind, symbol, count) in enumerate(pairs):
            name = "?" if kind is None and symbol is None else f"{kind or '?'}/{symbol or '?'}"
            file.probes[name] += count
            numbers[place] = self.probe_numbers.setdefault(name, len(self.probe_numbers))
        result: npt.NDArray[np.int64] = numbers[which]
        return result

    def _journeys(self, batch: pa.RecordBatch, file: FileStats) -> None:
        journey = batch.column("journey")
        if journey.null_count == len(journey):
            return
        ids = _values(pc.struct_field(journey, "id").drop_null(), np.uint64)
        if len(ids):
            file.series += int(np.count_nonzero(ids[1:] != ids[:-1])) + (int(ids[0]) != self._journey)
            self._journey = int(ids[-1])

    def _drops(self, section: pa.Array) -> None:
        if section.null_count == len(section):
            return
        dropped = section.drop_null()
        names = (pc.struct_field(dropped, name) for name in ("subsys", "drop_reason"))
        for owner, reason, count in _pairs(*names)[1]:
            self.drops[f"{owner}/{reason or '?'}" if owner else reason or "?"] += count

    def _notes(self, notes: pa.RecordBatch) -> None:
        if not self.parts & {"loss", "summary"}:
            return
        for row in notes.select(["cpu", "kernel", "gap", "closing"]).to_pylist():
            if (gap := row["gap"]) and "loss" in self.parts:
                kernel = row["kernel"] or {}
                symbol = kernel.get("symbol")
                probe = None if symbol is None else f"{kernel['probe_type'] or '?'}/{symbol}"
                self.lost[gap["cause"] or "?", row["cpu"], probe] += gap["count"] or 0
            if row["closing"]:
                self.closing = row["closing"]


def _stitched_later(rows: Rows) -> bool:
    """Say whether the marks of what can't be told apart are missing."""
    return not rows.is_sorted and is_unstitched(rows.source)


def _either(columns: list[pa.Array]) -> pa.Array:
    """Return the first value of each row of text columns."""
    whole = [plain(c) if pa.types.is_dictionary(c.type) else c for c in columns]
    return pc.coalesce(*whole)


def _pairs(
    first: pa.Array, second: pa.Array
) -> tuple[npt.NDArray[np.int64], list[tuple[str | None, str | None, int]]]:
    """Count pairs of values of two text columns; return which pair each row has, and the counts of pairs."""
    one, two = encoded(first), encoded(second)
    width = len(two.dictionary)
    codes = _values(one.indices, np.int32).astype(np.int64) * width + _values(two.indices, np.int32)
    if len(one.dictionary) * width <= len(codes):
        counts = np.bincount(codes)
        there = np.flatnonzero(counts)
        numbers = np.zeros(len(counts), np.int64)
        numbers[there] = np.arange(len(there))
        which, counts = numbers[codes], counts[there]
    else:  # few rows, or a file with almost as many names as rows
        there, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    values = [
        (one.dictionary[code // width].as_py(), two.dictionary[code % width].as_py(), count)
        for code, count in zip(there.tolist(), counts.tolist(), strict=True)
    ]
    return which, values


def _values(array: pa.Array, kind: type[np.generic]) -> npt.NDArray[Any]:
    """Return the numbers of an array without nulls. pyarrow's own way imports pandas where there is one."""
    return np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]


def queried(views: Views, parts: frozenset[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the parts that are queries (stats.sql), and `journeys` beside `paths`."""
    text = resources.files("fyke.journeys").joinpath("stats.sql").read_text(encoding="utf-8")
    statements = dict(zip(_QUERIES, views.statements(text), strict=True))
    wanted = {*parts, *(("journeys",) if "paths" in parts else ())}
    return {name: views.table(sql).to_pylist() for name, sql in statements.items() if name in wanted}
