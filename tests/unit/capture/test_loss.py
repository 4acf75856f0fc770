"""Counters of the programs -> gap rows, totals and the closing row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from made_kernel import made_kernel
from made_records import headers_btf

from fyke.capture.layout import struct_dtype
from fyke.capture.loss import COUNTED, LOST_EVENTS, Gap, LossCounters, closing_batch, gap_batch
from fyke.capture.plan import Options, Plan, make_plan
from fyke.capture.planned import PlannedProbe
from fyke.events import schema

RX, TX = "net:netif_receive_skb", "net:net_dev_start_xmit"
CPUS = 3


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Options(collectors=("skb",), probes=(RX, "ip_rcv")), made_kernel(), CPUS)


@pytest.fixture
def counters(plan: Plan) -> npt.NDArray[np.void]:
    """What the programs count in: the test writes where they would."""
    return np.zeros((len(plan.probes), CPUS), struct_dtype(headers_btf(), "counters"))


@pytest.fixture
def misses(monkeypatch: pytest.MonkeyPatch) -> dict[int, int | None]:
    """Program -> how often it was not run since another one ran on its CPU."""
    counts: dict[int, int | None] = {10: 0, 11: 0}
    monkeypatch.setattr(
        "fyke.kernel.syscall_bpf.prog_info", lambda fd: SimpleNamespace(recursion_misses=counts[fd])
    )
    return counts


def at(ns: int) -> Callable[[], int]:
    return lambda: ns


def test_every_cause_has_its_counter_and_its_description(counters: npt.NDArray[np.void]) -> None:
    assert set(COUNTED.values()) <= set(counters.dtype.names or ())
    (cause,) = [c for c in schema.GAP.columns if c.name == "cause"]
    assert all(name in cause.doc for name in (*COUNTED, *LOST_EVENTS))


def test_returns_that_never_came_are_lost_once(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    loss = LossCounters(plan, counters, {}, start_ns=100)
    counters["hits"][1, 0], counters["recorded"][1, 0], counters["missed_return"][1, 0] = 10, 5, 1
    assert loss.look(at(200)) == [Gap(100, 200, "missed_return", 1, "ip_rcv", "kprobe_multi", 0)]
    loss.never_returned({1: 2})
    assert loss.look(at(300)) == [Gap(200, 300, "missed_return", 2, "ip_rcv", "kprobe_multi", None)]
    assert loss.look(at(400)) == []
    assert (loss.lost()[1], loss.filtered()[1], loss.lost_events) == (3, 2, 3)


def test_each_look_gives_what_is_new(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    loss = LossCounters(plan, counters, {}, start_ns=100)
    assert loss.look(at(150)) == []
    counters["ring_full"][1, 2] = 5
    counters["hits"][0, 0] = 8  # of no interest, and no loss
    assert loss.look(at(200)) == [Gap(150, 200, "ring_full", 5, "ip_rcv", "kprobe_multi", 2)]
    assert loss.look(at(300)) == []
    counters["ring_full"][1, 2] = 7
    counters["ring_full"][0, 0] = 1
    counters["stack_full"][0, 1] = 3
    counters["tracking_full"][0, 1] = 4
    assert loss.look(at(400)) == [
        Gap(300, 400, "ring_full", 1, RX, "raw_tracepoint", 0),
        Gap(300, 400, "ring_full", 2, "ip_rcv", "kprobe_multi", 2),
        Gap(300, 400, "tracking_full", 4, RX, "raw_tracepoint", 1),
        Gap(300, 400, "stack_full", 3, RX, "raw_tracepoint", 1),
    ]
    assert loss.totals == {"ring_full": 8, "tracking_full": 4, "stack_full": 3}
    assert loss.lost_events == 8


def test_what_was_counted_before_the_start_counts(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    counters["ring_full"][0, 0] = 9
    loss = LossCounters(plan, counters, {}, start_ns=0)
    assert [gap.count for gap in loss.look(at(1))] == [9]


def test_recursion_is_a_loss_of_no_known_place(
    plan: Plan, counters: npt.NDArray[np.void], misses: dict[int, int | None]
) -> None:
    misses[10] = 50  # from an earlier collection of a program that is shared: not ours
    loss = LossCounters(
        plan, counters, {10: ("kprobe_multi", None), 11: ("raw_tracepoint", "net:netif_rx")}, start_ns=0
    )
    assert loss.look(at(10)) == []
    misses[10] = 53
    assert loss.look(at(20)) == [Gap(10, 20, "recursion", 3, None, "kprobe_multi", None)]
    assert loss.look(at(30)) == []
    assert loss.lost_events == 3


def test_a_program_that_is_at_one_probe_only_says_of_which_recursion_was(
    plan: Plan, counters: npt.NDArray[np.void], misses: dict[int, int | None]
) -> None:
    """Copies of a program where there are no cookies, and those at returns; others are shared."""
    programs: dict[int, tuple[str, str | None]] = {
        10: ("kprobe_multi", None),
        11: ("raw_tracepoint", RX),
        12: ("raw_tracepoint", "skb:kfree_skb"),
        13: ("fexit", "skb_gro_receive"),
    }
    misses |= dict.fromkeys(programs, 0)
    loss = LossCounters(plan, counters, programs, start_ns=0)
    misses |= {10: 1, 11: 2, 13: 4}
    assert loss.look(at(10)) == [
        Gap(0, 10, "recursion", 1, None, "kprobe_multi", None),
        Gap(0, 10, "recursion", 2, RX, "raw_tracepoint", None),
        Gap(0, 10, "recursion", 4, "skb_gro_receive", "fexit", None),
    ]
    misses |= {12: 3, 11: 3}
    assert loss.look(at(20)) == [
        Gap(10, 20, "recursion", 1, RX, "raw_tracepoint", None),
        Gap(10, 20, "recursion", 3, "skb:kfree_skb", "raw_tracepoint", None),
    ]
    assert loss.lost_events == 11


class Busy:
    """Counters of a machine that goes on losing events, one each time a member is looked at, and its clock.

    losses: when each was, by cause.
    """

    def __init__(self, counters: npt.NDArray[np.void]) -> None:
        self.counters = counters
        self.shape = counters.shape
        self.ns = 0
        self.losses: dict[str, list[int]] = {cause: [] for cause in (*COUNTED, "recursion")}

    def clock(self) -> int:
        self.ns += 1
        return self.ns

    def lose_everything(self) -> None:
        """Lose one more of each."""
        for cause, member in COUNTED.items():
            self.counters[member][0, 0] += 1
            self.losses[cause].append(self.clock())
        self.losses["recursion"].append(self.clock())

    def __getitem__(self, member: str) -> npt.NDArray[np.uint64]:
        self.lose_everything()
        before = self.counters[member].copy()
        self.lose_everything()
        return before


def test_what_is_lost_during_a_look_is_in_the_interval_of_the_gap_that_counts_it(
    plan: Plan, counters: npt.NDArray[np.void], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(counters)

    def prog_info(fd: int) -> SimpleNamespace:
        busy.lose_everything()
        found = len(busy.losses["recursion"])
        busy.lose_everything()
        return SimpleNamespace(recursion_misses=found)

    monkeypatch.setattr("fyke.kernel.syscall_bpf.prog_info", prog_info)
    grows: Any = busy
    loss = LossCounters(plan, grows, {10: ("kprobe_multi", None)}, busy.clock())
    looks: list[list[Gap]] = []
    for _ in range(5):
        busy.lose_everything()
        looks.append(loss.look(busy.clock))
    for cause, times in busy.losses.items():
        start = 1 if cause == "recursion" else 0  # one was there before anything was attached
        for gaps in looks:
            (gap,) = [g for g in gaps if g.cause == cause]
            counted = times[start : start + gap.count]
            assert gap.since_ns <= counted[0], cause
            assert counted[-1] <= gap.until_ns, cause
            start += gap.count
        # What came after it was counted the last time is left for the next look.
        assert start < len(times)
    for earlier, later in pairwise(looks):
        assert later[0].since_ns < earlier[0].until_ns


def test_a_kernel_that_does_not_count_recursion(
    plan: Plan, counters: npt.NDArray[np.void], misses: dict[int, int | None]
) -> None:
    misses[10] = None
    loss = LossCounters(plan, counters, {10: ("kprobe_multi", None)}, start_ns=0)
    assert loss.look(at(10)) == []


def test_hits_and_losses_of_every_probe(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    counters["hits"][0] = [1, 2, 3]
    counters["ring_full"][0] = [0, 1, 1]
    counters["recorded"][0] = [0, 1, 2]
    loss = LossCounters(plan, counters, {}, start_ns=0)
    assert loss.hits() == [6, 0]
    assert json.loads(loss.by_probe()) == [
        {"symbol": RX, "probe_type": "raw_tracepoint", "hits": 6, "filtered": 1, "lost": 2},
        {"symbol": "ip_rcv", "probe_type": "kprobe_multi", "hits": 0, "filtered": 0, "lost": 0},
    ]


def test_gap_rows() -> None:
    batch = gap_batch(
        [
            Gap(1, 2, "ring_full", 5, RX, "raw_tracepoint", 0),
            Gap(3, 2**63, "recursion", 1, None, "kprobe", None),
        ]
    )
    assert batch.schema.equals(schema.arrow_schema(), check_metadata=True)
    batch.validate(full=True)
    first, second = batch.to_pylist()
    assert {name for name, value in first.items() if value is not None} == {
        "timestamp_ns", "cpu", "kernel", "gap"
    }  # fmt: skip
    assert first["timestamp_ns"] == 2
    assert first["cpu"] == 0
    assert first["kernel"] == {"symbol": RX, "probe_type": "raw_tracepoint", "stack": None}
    assert first["gap"] == {"since_ns": 1, "cause": "ring_full", "count": 5}
    # Any CPU's: not the first one's.
    assert second["cpu"] is None
    assert second["kernel"] == {"symbol": None, "probe_type": "kprobe", "stack": None}
    assert second["timestamp_ns"] == 2**63


def test_a_gap_of_which_nothing_is_known_has_no_probe() -> None:
    (row,) = gap_batch([Gap(1, 2, "ring_full", 5)]).to_pylist()
    assert (row["cpu"], row["kernel"]) == (None, None)


def test_the_closing_row(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    counters["hits"][1, 0] = 7
    counters["recorded"][1, 0] = 2
    counters["ring_full"][1, 0] = 2
    counters["tracking_full"][1, 0] = 1
    loss = LossCounters(plan, counters, {}, start_ns=0)
    loss.look(at(1))
    batch = closing_batch(99, 5, loss, "command")
    assert batch.schema.equals(schema.arrow_schema(), check_metadata=True)
    (row,) = batch.to_pylist()
    closing = row.pop("closing")
    assert {name: value for name, value in row.items() if value is not None} == {"timestamp_ns": 99}
    assert json.loads(closing.pop("probes"))[1] == {
        "symbol": "ip_rcv", "probe_type": "kprobe_multi", "hits": 7, "filtered": 3, "lost": 2
    }  # fmt: skip
    assert closing == {"events": 5, "lost": 2, "reason": "command"}


def test_what_is_thrown_away_is_lost(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    loss = LossCounters(plan, counters, {}, start_ns=0)
    loss.abandon(7)
    loss.abandon(2)
    assert loss.look(at(10)) == [Gap(0, 10, "abandoned", 9)]
    assert loss.look(at(20)) == []
    assert loss.lost_events == 9


def test_probes_that_are_added_count_as_the_others(misses: dict[int, int | None]) -> None:
    planned = make_plan(Options(collectors=("skb",), probes=(RX,)), made_kernel(), CPUS)
    growing = replace(planned, probes=[*planned.probes])
    room: npt.NDArray[np.void] = np.zeros((5, CPUS), struct_dtype(headers_btf(), "counters"))
    programs: dict[int, tuple[str, str | None]] = {10: ("raw_tracepoint", None)}
    loss = LossCounters(growing, room, programs, start_ns=100)
    assert loss.hits() == [0]
    new = [PlannedProbe(name, "kprobe", frozenset(), {}, added_ns=150) for name in ("ip_rcv", "refused")]
    assert isinstance(growing.probes, list)
    growing.probes.extend(new)
    programs[11] = ("kprobe", "ip_rcv")
    misses[11] = 4
    room["hits"][1], room["recorded"][1, 0], room["ring_full"][1, 2] = 5, 3, 2
    gaps = {(gap.cause, gap.symbol, gap.cpu): gap.count for gap in loss.look(at(200))}
    assert gaps == {("ring_full", "ip_rcv", 2): 2, ("recursion", "ip_rcv", None): 4}
    assert (loss.hits(), loss.filtered(), loss.lost()) == ([0, 15, 0], [0, 10, 0], [0, 2, 0])
    told = json.loads(loss.by_probe({"refused"}))
    assert [(p["symbol"], p.get("added_ns")) for p in told] == [(RX, None), ("ip_rcv", 150)]
