"""Recordings made in this process: the code of `fyke collect`, with no program to start for each test."""

from __future__ import annotations

import copy
import functools
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fyke.capture.loss import Gap
from fyke.capture.plan import DEFAULT_PROBES, Options, Plan, make_plan
from fyke.capture.session import Session
from fyke.collectors import COLLECTORS
from fyke.kernel.features import Answer, Features
from fyke.kernel.machine import online_cpus, possible_cpus
from fyke.kernel.view import LiveKernel
from live.netns import made_here
from live.waiting import eventually

RX, TX = "net:netif_receive_skb", "net:net_dev_start_xmit"
Row = dict[str, Any]


@functools.cache
def kernel() -> LiveKernel:
    """Return the running kernel; what is read of it is read once."""
    return LiveKernel()


def kernel_without(*features: str) -> LiveKernel:
    """Return the running kernel, less some of its features (fyke/kernel/features.py)."""
    lesser = copy.copy(kernel())
    lesser.features = _Fewer(lesser.features, features)
    return lesser


class _Fewer(Features):
    def __init__(self, all_: Features, without: tuple[str, ...]) -> None:
        super().__init__()
        self._all, self._without = all_, without

    def __getitem__(self, name: str) -> Answer:
        return Answer("no", "left out by a test") if name in self._without else self._all[name]


def plan(on: LiveKernel | None = None, **options: Any) -> Plan:
    """Return a plan for this kernel, or for it as `kernel_without` has it.

    Without collectors it is all but ct and nft, which cost an emulated kernel more to load than all others.
    """
    if not options.get("collectors"):
        options["collectors"] = tuple(
            c.name for c in COLLECTORS if c.name not in ("ct", "nft") and c.unavailable(kernel()) is None
        )
        options["probes"] = options.get("probes") or DEFAULT_PROBES
    return make_plan(Options(**options), on or kernel(), max(possible_cpus()) + 1, online_cpus())


@dataclass(frozen=True)
class Counts:
    """What a probe counted."""

    symbol: str
    mechanism: str
    hits: int
    filtered: int
    lost: int


@dataclass
class Recording:
    """What was recorded.

    rows: events in the namespaces of tests, in the order of the file, as dicts; the machine may have other
    traffic. written: events per symbol, wherever they were.
    """

    plan: Plan
    table: pa.Table
    rows: list[Row]
    gaps: list[Gap]
    hits: dict[str, int]
    written: dict[str, int]
    filtered: dict[str, int]
    counts: list[Counts]

    def at(self, symbol: str, *, dev: str | None = None) -> list[Row]:
        """Return the events at a probe, at one device if asked."""
        return [
            row
            for row in self.rows
            if row["kernel"]["symbol"] == symbol and (dev is None or (row["dev"] or {}).get("name") == dev)
        ]

    def on_device(self, dev: str) -> list[Row]:
        """Return what was sent and received on a device, in order."""
        symbols = (RX, TX)
        return [
            row
            for row in self.rows
            if row["kernel"]["symbol"] in symbols and row["dev"] and row["dev"]["name"] == dev
        ]

    def journeys(self) -> dict[tuple[int, int], list[Row]]:
        """Return id -> events."""
        result: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for row in self.rows:
            if row["skb_tracking"]:
                result[packet_id(row)].append(row)
        return dict(result)

    def lost(self, cause: str = "ring_full") -> int:
        """Return how much was lost for a cause."""
        return sum(gap.count for gap in self.gaps if gap.cause == cause)


def packet_id(row: Row) -> tuple[int, int]:
    """Return the id of a row's packet."""
    tracking = row["skb_tracking"]
    return tracking["timestamp_ns"], tracking["orig_head"]


def parent_id(row: Row) -> tuple[int, int] | None:
    """Return the id of the packet it was cut from or merged into."""
    tracking = row["skb_tracking"]
    if tracking["parent_timestamp_ns"] is None:
        return None
    return tracking["parent_timestamp_ns"], tracking["parent_orig_head"]


def record(
    traffic: Callable[[], object],
    planned: Plan | None = None,
    without: tuple[str, ...] = (),
    enough: Callable[[dict[str, int]], bool] = lambda _hits: True,
    **options: Any,
) -> Recording:
    """Collect while some traffic runs, by a plan or by options of fyke.capture.plan.Options.

    enough: says, by hits per symbol, whether what goes on after the traffic has come; asked for a minute.
    without: features to do without, though this kernel has them.
    """
    here = kernel_without(*without) if without else kernel()
    planned = planned or plan(here, **options)
    with Session(planned, here) as session:
        traffic()
        symbols = [probe.symbol for probe in planned.probes]
        eventually(lambda: enough(dict(zip(symbols, session.loss.hits(), strict=True))))
        _settle(session)
        ours = {path.stat().st_ino for path in Path("/run/netns").iterdir() if path.name in made_here}
        batches = list(session.stop())
        gaps = session.gaps()
        filtered, lost = session.loss.filtered(), session.loss.lost()
        hits = session.loss.hits()
    table = pa.Table.from_batches(batches) if batches else pa.table({})
    everything = table.to_pylist()
    rows = [row for row in everything if row["netns"] is None or row["netns"]["inum"] in ours]
    return Recording(
        planned,
        table,
        rows,
        gaps,
        dict(zip(symbols, hits, strict=True)),
        Counter((row["kernel"] or row["userspace"])["symbol"] for row in everything),
        dict(zip(symbols, filtered, strict=True)),
        [
            Counts(*counts)
            for counts in zip(
                symbols, (p.mechanism for p in planned.probes), hits, filtered, lost, strict=True
            )
        ],
    )


def _settle(session: Session) -> None:
    """Wait until no probe is hit any more, 3 s at most: what was sent may still wait in a CPU's backlog."""
    end = time.monotonic() + 3
    before = -1
    while (hits := sum(session.loss.hits())) != before and time.monotonic() < end:
        before = hits
        time.sleep(0.2)


def ipv4(row: Row) -> bytes:
    """Return a row's packet from the IPv4 header on; empty when it isn't IPv4."""
    data = row["packet"]["data"] if row["packet"] else b""
    return data[14:] if data[12:14] == b"\x08\x00" else b""


def udp_payload(row: Row) -> bytes | None:
    """Return the payload of an IPv4 UDP packet, None for others."""
    ip = ipv4(row)
    if len(ip) < 28 or ip[9] != 17:
        return None
    return ip[28:]
