"""Counters of the programs -> gap rows, totals and the closing row."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from made_kernel import made_kernel
from made_records import headers_btf

from fyke.capture.layout import struct_dtype
from fyke.capture.loss import COUNTED, LOST_EVENTS, Gap, LossCounters, closing_batch, gap_batch
from fyke.capture.plan import Options, Plan, make_plan
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


def test_every_cause_has_its_counter_and_its_description(counters: npt.NDArray[np.void]) -> None:
    assert set(COUNTED.values()) <= set(counters.dtype.names or ())
    (cause,) = [c for c in schema.GAP.columns if c.name == "cause"]
    assert all(name in cause.doc for name in (*COUNTED, *LOST_EVENTS))


def test_each_look_gives_what_is_new(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    loss = LossCounters(plan, counters, {}, start_ns=100)
    assert loss.look(150) == []
    counters["ring_full"][1, 2] = 5
    assert loss.look(200) == [Gap(150, 200, "ring_full", 5, "ip_rcv", "kprobe_multi", 2)]
    assert loss.look(300) == []
    counters["ring_full"][1, 2] = 7
    counters["ring_full"][0, 0] = 1
    counters["stack_full"][0, 1] = 3
    counters["tracking_full"][0, 1] = 4
    assert loss.look(400) == [
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
    assert [gap.count for gap in loss.look(1)] == [9]


def test_recursion_is_a_loss_of_no_known_place(
    plan: Plan, counters: npt.NDArray[np.void], misses: dict[int, int | None]
) -> None:
    misses[10] = 50  # from an earlier collection of a program that is shared: not ours
    loss = LossCounters(plan, counters, {"kprobe_multi": 10, "raw_tracepoint": 11}, start_ns=0)
    assert loss.look(10) == []
    misses[10] = 53
    assert loss.look(20) == [Gap(10, 20, "recursion", 3, None, "kprobe_multi", None)]
    assert loss.look(30) == []
    assert loss.lost_events == 3


def test_a_kernel_that_does_not_count_recursion(
    plan: Plan, counters: npt.NDArray[np.void], misses: dict[int, int | None]
) -> None:
    misses[10] = None
    loss = LossCounters(plan, counters, {"kprobe_multi": 10}, start_ns=0)
    assert loss.look(10) == []


def test_hits_and_losses_of_every_probe(plan: Plan, counters: npt.NDArray[np.void]) -> None:
    counters["hits"][0] = [1, 2, 3]
    counters["ring_full"][0] = [0, 1, 1]
    loss = LossCounters(plan, counters, {}, start_ns=0)
    assert loss.hits() == [6, 0]
    assert json.loads(loss.by_probe()) == [
        {"symbol": RX, "probe_type": "raw_tracepoint", "hits": 6, "lost": 2},
        {"symbol": "ip_rcv", "probe_type": "kprobe_multi", "hits": 0, "lost": 0},
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
    counters["ring_full"][1, 0] = 2
    counters["tracking_full"][1, 0] = 1
    loss = LossCounters(plan, counters, {}, start_ns=0)
    loss.look(1)
    batch = closing_batch(99, 5, loss, "command")
    assert batch.schema.equals(schema.arrow_schema(), check_metadata=True)
    (row,) = batch.to_pylist()
    closing = row.pop("closing")
    assert {name: value for name, value in row.items() if value is not None} == {"timestamp_ns": 99}
    assert json.loads(closing.pop("probes"))[1] == {
        "symbol": "ip_rcv", "probe_type": "kprobe_multi", "hits": 7, "lost": 2
    }  # fmt: skip
    assert closing == {"events": 5, "lost": 2, "reason": "command"}
