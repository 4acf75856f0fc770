"""Sorting puts each event where it belongs, loses none, and says where events may be missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey_samples import Row, batches, closing, event, expected, gap

import fyke.journeys.sort as sort_module
import fyke.journeys.spool as spool_module
from fyke.errors import InputError, RunError
from fyke.events.facts import Facts
from fyke.events.schema import arrow_schema
from fyke.journeys.sort import sort, sorted_facts, sorted_schema

A, B = (10, 0xFF00), (20, 0xFE00)


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return [row for b in sort(batches(rows), arrow_schema()) for row in b.to_pylist()]


def _check(rows: Sequence[Row]) -> None:
    got = _sorted(rows)
    wanted = expected(rows)
    assert [row.pop("journey") for row in got] == [journey for _, journey in wanted]
    whole = [row for b in batches(rows) for row in b.drop_columns(["journey"]).to_pylist()]
    assert got == [whole[number] for number, _ in wanted]


def _places(rows: Sequence[Row]) -> list[tuple[int, int, int]]:
    return [
        (r["timestamp_ns"], r["journey"]["id"], r["journey"]["index"])
        for r in _sorted(rows)
        if r["journey"] is not None
    ]


def test_events_of_a_packet_come_together() -> None:
    rows = [event(10, A), event(20, B), event(21, A), event(22, B), event(23, A)]
    assert _places(rows) == [(10, 0, 0), (21, 0, 1), (23, 0, 2), (20, 1, 0), (22, 1, 1)]
    _check(rows)


def test_journeys_are_in_time_order_inside_whatever_the_file_says() -> None:
    rows = [event(23, A), event(10, A), event(21, A)]
    assert [ts for ts, _, _ in _places(rows)] == [10, 21, 23]
    _check(rows)


def test_untracked_events_come_alone_and_before_packets_of_their_time() -> None:
    rows = [event(10, A), event(10), event(11), event(11), event(12, A)]
    assert _places(rows) == [(10, 0, 0), (10, 1, 0), (12, 1, 1), (11, 2, 0), (11, 3, 0)]
    _check(rows)


def test_packets_first_seen_at_one_time_are_in_order_of_address() -> None:
    rows = [event(10, (10, 2**64 - 1)), event(10, (10, 0)), event(10, (10, 5))]
    heads = [row["skb_tracking"]["orig_head"] for row in _sorted(rows)]
    assert heads == [0, 5, 2**64 - 1]
    _check(rows)


def test_the_time_of_first_sight_counts_even_if_that_event_was_lost() -> None:
    rows = [event(15), event(30, A), event(31, A)]
    assert [ts for ts, _, _ in _places(rows)] == [30, 31, 15]
    _check(rows)


def test_clones_are_numbered_by_first_sight() -> None:
    rows = [event(10, A, 7), event(11, A, 3), event(12, A, 7), event(13, A, 9), event(20, B, 3)]
    assert [row["journey"]["clone"] for row in _sorted(rows)] == [0, 1, 0, 2, 0]
    _check(rows)


def test_a_packet_without_skb_is_no_clone() -> None:
    rows = [event(10, A, 0), event(11, A, 3), event(12, A, 7), event(20, B, 3)]
    assert [row["journey"]["clone"] for row in _sorted(rows)] == [0, 0, 1, 0]
    _check(rows)


def test_lost_counts_gaps_on_the_journeys_cpus_in_its_time() -> None:
    rows = [
        event(10, A, cpu=0),
        event(20, A, cpu=1),
        event(30, B, cpu=0),
        gap(15, 12, 1, cpu=0),
        gap(25, 20, 2, cpu=1),  # begins at A's last event
        gap(10, 5, 4, cpu=0),  # ends at A's first one
        gap(15, 12, 8, cpu=2),  # where A never was
        gap(29, 21, 16, cpu=0),  # between A and B
        gap(40, 5, 32, cpu=0, cause="tracking_full"),  # no event lost
        gap(41, 5, 64, cpu=0, cause="stack_full"),
        gap(15, None, 128, cpu=0, cause="missed_return"),
    ]
    lost = {r["journey"]["id"]: r["journey"]["lost"] for r in _sorted(rows) if r["journey"] is not None}
    assert lost == {0: 1 + 2 + 4 + 128, 1: 0}
    _check(rows)


def test_a_gap_on_all_cpus_counts_once() -> None:
    rows = [event(10, A, cpu=0), event(20, A, cpu=1), gap(15, 12, 5, cpu=None)]
    assert _sorted(rows)[0]["journey"]["lost"] == 5
    _check(rows)


def test_notes_keep_their_time_and_the_closing_row_is_last() -> None:
    rows = [gap(9, 5, 1), closing(40), event(10, A), gap(15, 12, 1), event(50, B)]
    kinds = ["gap" if r["gap"] else "closing" if r["closing"] else "event" for r in _sorted(rows)]
    assert kinds == ["gap", "event", "gap", "event", "closing"]
    _check(rows)


_packets = st.none() | st.tuples(st.integers(0, 12), st.sampled_from([0, 1, 2**64 - 1]))
_cpus = st.none() | st.integers(0, 2)
_rows = st.lists(
    st.one_of(
        st.builds(event, st.integers(0, 30), _packets, st.integers(1, 3), _cpus),
        st.builds(event, st.integers(0, 30), _packets, st.integers(1, 3), _cpus),
        st.builds(
            gap,
            st.integers(0, 30),
            st.none() | st.integers(0, 30),
            st.integers(0, 5),
            _cpus,
            st.sampled_from(["ring_full", "stack_full", "recursion"]),
        ),
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(_rows)
def test_any_table(rows: list[Row]) -> None:
    _check(rows)


def test_absurd_counts_are_cut_at_64_bits() -> None:
    rows = [event(10, A), gap(10, 5, 2**64 - 1), gap(10, 6, 2**64 - 1)]
    assert [r["journey"]["lost"] for r in _sorted(rows) if r["journey"]] == [2**64 - 1]


def test_a_hostile_gap_with_an_id_takes_no_journey_with_it() -> None:
    rows = [event(10, A), event(11, A) | gap(11, 5, 1), event(12, A)]
    got = _sorted(rows)
    assert [r["journey"] and r["journey"]["index"] for r in got] == [0, 1, None]


@pytest.mark.parametrize("row_bytes", [sort_module.ROW_BYTES, sort_module.MEMORY_LIMIT // 20])
def test_large_inputs_go_to_disk_and_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, row_bytes: int
) -> None:
    """row_bytes: what makes the input small or large to the choice between memory and database."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 600)
    monkeypatch.setattr(sort_module, "ROW_BYTES", row_bytes)
    monkeypatch.setattr(sort_module, "CHUNK_ROWS", 5)
    rows = [event(100 + n, (100 + n % 7, n % 7), n % 3, n % 2) for n in range(60)]
    _check(rows)
    assert os.listdir(tmp_path) == []


def test_damage_is_told_after_all_that_was_readable() -> None:
    def damaged() -> Iterator[pa.RecordBatch]:
        yield from batches([event(10, A), event(20, B), event(21, A)])
        raise InputError("it is damaged")

    result = sort(damaged(), arrow_schema())
    assert next(result).column("timestamp_ns").to_pylist() == [10, 21, 20]
    with pytest.raises(InputError, match="it is damaged"):
        next(result)


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 0)
    monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", full)
    with pytest.raises(RunError, match="No space left on device") as caught:
        list(sort(batches([event(10, A)] * 8), arrow_schema()))
    assert "TMPDIR" in caught.value.hint


def test_columns_of_others_are_carried_along() -> None:
    (plain,) = batches([event(20, B), event(10, A)])
    table = plain.append_column("mine", pa.array(["b", "a"]))
    (got,) = sort([table], table.schema)
    assert got.column("mine").to_pylist() == ["a", "b"]
    assert got.schema.equals(sorted_schema(table.schema))


def test_nothing_sorts_to_nothing() -> None:
    assert list(sort([], arrow_schema())) == []


def test_facts_of_the_sorted_file() -> None:
    facts = sorted_facts(Facts(version="1", order="time", split_id=0, split_limit_bytes=5))
    assert (facts.version, facts.order, facts.split_id, facts.split_limit_bytes) == (
        "1",
        "journey",
        None,
        None,
    )
