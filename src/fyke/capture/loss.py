"""What was lost, where, why and when: the counters of the programs, as gap rows and as totals."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.capture.plan import Plan
from fyke.events import schema
from fyke.kernel import syscall_bpf

# cause -> member of struct counters in core/probe.bpf.h
COUNTED = {name: name for name in ("ring_full", "missed_return", "tracking_full", "stack_full")}
# Causes that cost whole events; the others cost an id or a stack.
LOST_EVENTS = ("ring_full", "recursion", "missed_return", "abandoned")


@dataclass(frozen=True)
class Gap:
    """Something lost between two looks. symbol and cpu are None where the kernel doesn't say."""

    since_ns: int
    until_ns: int
    cause: str
    count: int
    symbol: str | None = None
    probe_type: str | None = None
    cpu: int | None = None


class LossCounters:
    """Looks at the counters; each look gives what is new.

    programs: descriptor -> mechanism, and the symbol when the program is at one probe only.
    """

    def __init__(
        self,
        plan: Plan,
        counters: npt.NDArray[np.void],
        programs: dict[int, tuple[str, str | None]],
        start_ns: int,
    ) -> None:
        self._plan = plan
        self._counters = counters
        self._programs = programs
        self._since_ns = start_ns
        self._seen = {cause: np.zeros(counters.shape, np.uint64) for cause in COUNTED}
        self._recursion = {fd: self._recursion_misses(fd) for fd in programs}
        self.totals: dict[str, int] = {}
        self._abandoned = 0
        self._unreturned = np.zeros(counters.shape[0], np.int64)
        self._reported = self._unreturned.copy()

    def look(self, clock_ns: Callable[[], int]) -> list[Gap]:
        """Return what was lost since the last look, one entry per probe, CPU and cause.

        Intervals overlap by the time that looking takes: what is lost meanwhile is in either of them.
        """
        began_ns = clock_ns()
        new = {cause: self._new(cause) for cause in COUNTED}
        misses = self._new_misses()
        gaps = self._gaps(new, misses, clock_ns())
        if self._abandoned:
            gaps.append(Gap(self._since_ns, clock_ns(), "abandoned", self._abandoned))
            self._abandoned = 0
        gaps += self._late_returns(clock_ns())
        for gap in gaps:
            self.totals[gap.cause] = self.totals.get(gap.cause, 0) + gap.count
        self._since_ns = began_ns
        return gaps

    def _new(self, cause: str) -> npt.NDArray[np.uint64]:
        there = len(self._plan.probes)
        now = self._counters[COUNTED[cause]][:there].copy()
        new: npt.NDArray[np.uint64] = now - self._seen[cause][:there]
        self._seen[cause][:there] = now
        return new

    def _new_misses(self) -> dict[int, int]:
        new = {}
        for fd in self._programs:  # those of added probes are new, and have missed nothing before
            now = self._recursion_misses(fd)
            new[fd] = now - self._recursion.get(fd, 0)
            self._recursion[fd] = now
        return new

    def _gaps(
        self, new: dict[str, npt.NDArray[np.uint64]], misses: dict[int, int], until_ns: int
    ) -> list[Gap]:
        gaps: list[Gap] = []
        for cause, counts in new.items():
            for number, cpu in np.argwhere(counts):
                probe = self._plan.probes[int(number)]
                count = int(counts[number, cpu])
                gaps.append(
                    Gap(self._since_ns, until_ns, cause, count, probe.symbol, probe.mechanism, int(cpu))
                )
        for fd, count in misses.items():
            if count > 0:
                mechanism, symbol = self._programs[fd]
                gaps.append(Gap(self._since_ns, until_ns, "recursion", count, symbol, mechanism))
        return gaps

    @staticmethod
    def _recursion_misses(fd: int) -> int:
        # Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was prevented")
        # (in v5.12).
        return syscall_bpf.prog_info(fd).recursion_misses or 0

    def _late_returns(self, until_ns: int) -> list[Gap]:
        new, self._reported = self._unreturned - self._reported, self._unreturned.copy()
        probes = self._plan.probes
        return [
            Gap(
                self._since_ns,
                until_ns,
                "missed_return",
                int(new[n]),
                probes[int(n)].symbol,
                probes[int(n)].mechanism,
            )
            for n in np.flatnonzero(new)
        ]

    def never_returned(self, calls: Mapping[int, int]) -> None:
        """Count calls, by number of the probe, whose return wasn't seen until the end."""
        for number, count in calls.items():
            self._unreturned[number] += count

    def abandon(self, count: int) -> None:
        """Count events that were taken from the rings and are not written."""
        self._abandoned += count

    @property
    def lost_events(self) -> int:
        """Events lost so far."""
        return sum(self.totals.get(cause, 0) for cause in LOST_EVENTS)

    def hits(self) -> list[int]:
        """Return how often each probe was hit, filtered or lost ones included."""
        return [int(n) for n in self._of_probes("hits")]

    def filtered(self) -> list[int]:
        """Return how many hits of each probe gave no event because nobody asked for it."""
        hits, recorded = (self._of_probes(name) for name in ("hits", "recorded"))
        return [int(h - r) - lost for h, r, lost in zip(hits, recorded, self.lost(), strict=True)]

    def lost(self) -> list[int]:
        """Return how many events of each probe were lost, as far as the kernel says of which."""
        counted = self._of_probes("ring_full") + self._of_probes("missed_return")
        return [int(n) + int(late) for n, late in zip(counted, self._unreturned, strict=False)]

    def unreadable(self) -> list[int]:
        """Return how many packets of each probe a filter couldn't judge, since bytes are out of reach."""
        return [int(n) for n in self._of_probes("unreadable")]

    def no_link_layer(self) -> list[int]:
        """Return how many packets of each probe had no link-layer header for a filter that looks at it."""
        return [int(n) for n in self._of_probes("no_link_layer")]

    def _of_probes(self, counter: str) -> npt.NDArray[np.uint64]:
        """Return a counter of each probe there is by now; there may be room for more."""
        counted: npt.NDArray[np.uint64] = self._counters[counter][: len(self._plan.probes)].sum(axis=1)
        return counted

    def by_probe(self, missing: Collection[str] = ()) -> str:
        """Return JSON: one object a probe with its hits and lost events, and what a filter couldn't judge; of
        one that was added, when. missing: symbols that could not be probed."""
        columns = {"hits": self.hits(), "filtered": self.filtered(), "lost": self.lost()}
        if self._plan.filters:
            columns |= {"unreadable": self.unreadable(), "no_link_layer": self.no_link_layer()}
        return json.dumps(
            [
                {"symbol": p.symbol, "probe_type": p.mechanism}
                | {name: counts[number] for name, counts in columns.items()}
                | ({} if p.added_ns is None else {"added_ns": p.added_ns})
                for number, p in enumerate(self._plan.probes)
                if p.symbol not in missing
            ]
        )


def gap_batch(gaps: list[Gap]) -> pa.RecordBatch:
    """Return gap rows as a batch of the event table; cpu and kernel section are null where unknown."""
    rows: list[dict[str, object]] = [
        {
            "timestamp_ns": gap.until_ns,
            "cpu": gap.cpu,
            "kernel": {"symbol": gap.symbol, "probe_type": gap.probe_type} if gap.probe_type else None,
            "gap": {"since_ns": gap.since_ns, "cause": gap.cause, "count": gap.count},
        }
        for gap in gaps
    ]
    return _batch(rows)


def closing_batch(
    timestamp_ns: int, events: int, loss: LossCounters, reason: str, missing: Collection[str] = ()
) -> pa.RecordBatch:
    """Return the closing row as a batch. missing: symbols that could not be probed."""
    closing = {
        "events": events,
        "lost": loss.lost_events,
        "reason": reason,
        "probes": loss.by_probe(missing),
    }
    return _batch([{"timestamp_ns": timestamp_ns, "closing": closing}])


def _batch(rows: list[dict[str, object]]) -> pa.RecordBatch:
    table = schema.arrow_schema()
    return pa.RecordBatch.from_arrays(
        [pa.array([r.get(f.name) for r in rows], f.type) for f in table], schema=table
    )
