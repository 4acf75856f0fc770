"""The order computed in memory is that of sort.sql, on any table."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey_samples import Row, batches, closing, event, gap

import fyke.journeys.order as order_module
from fyke.journeys.order import placed
from fyke.journeys.sort import query

COLUMNS = ["timestamp_ns", "cpu", "skb_tracking", "gap", "closing"]
MOST = 2**64 - 1


def tables(rows: list[Row], chosen: list[bool]) -> list[pa.RecordBatch]:
    """Return `events` of sort.sql."""
    result, first = [], 0
    for batch in batches(rows):
        numbers = pa.array(np.arange(first, first + len(batch)))
        choice = pa.array(chosen[first : first + len(batch)])
        columns = [batch.column(name) for name in COLUMNS]
        result.append(pa.RecordBatch.from_arrays([numbers, choice, *columns], ["row", "chosen", *COLUMNS]))
        first += len(batch)
    return result


def by_sql(events: list[pa.RecordBatch]) -> list[Row]:
    table = pa.Table.from_batches(events)
    with duckdb.connect() as connection:
        connection.register("events", table)
        return list(connection.sql(query()).to_arrow_table().to_pylist())


def in_memory(events: list[pa.RecordBatch]) -> list[Row]:
    return [row for batch in placed(pa.Table.from_batches(events)) for row in batch.to_pylist()]


def tracked(time_ns: int, start_ns: int | None, head: int | None, skb: int | None, cpu: int | None) -> Row:
    section = {"orig_head": head, "timestamp_ns": start_ns, "skb": skb}
    return {"timestamp_ns": time_ns, "cpu": cpu, "skb_tracking": section}


times = st.integers(0, 12) | st.sampled_from([2**63, MOST])
cpus = st.none() | st.integers(0, 2)
counts = st.none() | st.integers(0, 5) | st.just(MOST)
causes = st.sampled_from(["ring_full", "stack_full", "tracking_full", "recursion", None])
skbs = st.integers(1, 4) | st.sampled_from([None, 0, MOST])
heads = st.sampled_from([0, 0, 0, 1, MOST, None])
some_row = st.one_of(
    st.builds(tracked, times, times | st.none(), heads, skbs, cpus),
    st.builds(tracked, times, st.integers(0, 2), st.just(0), skbs, cpus),
    st.builds(event, times, st.none(), cpu=cpus),
    st.builds(gap, times, st.none() | times, counts, cpus, causes),
    st.builds(lambda a, b: a | b, st.builds(event, times, st.just((3, 0))), st.builds(closing, times)),
    st.builds(lambda a, b: a | b, st.builds(gap, times, times, counts), st.builds(closing, times)),
)
any_rows = st.lists(st.tuples(some_row, st.sampled_from([True, True, True, False])), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(any_rows, st.booleans(), st.integers(1, 9))
def test_any_table(rows: list[tuple[Row, bool]], choosing: bool, chunk: int) -> None:
    events = tables([row for row, _ in rows], [c or not choosing for _, c in rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "_CHUNK_ROWS", chunk)
        assert in_memory(events) == by_sql(events)


def test_a_large_table() -> None:
    random = np.random.default_rng(5)
    rows = [random_event(random, n) for n in range(6_000)]
    events = tables(rows, [bool(random.random() < 0.7) for _ in rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "_CHUNK_ROWS", 1000)
        assert in_memory(events) == by_sql(events)


def random_event(random: Any, number: int) -> Row:
    time_ns = 1000 + number + int(random.integers(-5, 5))
    if random.random() < 0.002:
        return gap(time_ns, time_ns - 300, int(random.integers(0, 9)), int(random.integers(0, 3)))
    if random.random() < 0.1:
        return event(time_ns)
    start = time_ns - int(random.integers(0, 40))
    return event(time_ns, (start, start % 3), int(random.integers(1, 5)), int(random.integers(0, 3)))


def test_clones_are_in_order_of_sight_not_of_row() -> None:
    # An event in a later row may be earlier: the skb 2 is seen at 10 in row 1 only, and at 20 in row 0.
    rows = [event(20, (10, 1), 2), event(10, (10, 1), 3), event(10, (10, 1), 2)]
    events = tables(rows, [True] * 3)
    assert [(row["row"], row["clone"]) for row in by_sql(events)] == [(1, 0), (2, 1), (0, 1)]
    assert in_memory(events) == by_sql(events)


def test_nothing() -> None:
    events = tables([event(1)], [True])
    assert list(placed(pa.Table.from_batches([], events[0].schema))) == []
