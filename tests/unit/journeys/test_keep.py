"""Whole journeys of chosen events: in the order of the file, and as sorting puts them together."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey_samples import Row, batches, closing, event, expected, gap

import fyke.journeys.keep as keep_module
from fyke.errors import InputError, UsageError
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.retis.write import RetisWriter
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter
from fyke.journeys.keep import renumbered, whole_journeys
from fyke.journeys.sort import sort, sorted_facts

A, B, C = (10, 0xFF00), (20, 0xFE00), (20, 0xFD00)
CHOSEN = 7  # the CPU of the events that are chosen


def chosen(batch: pa.RecordBatch) -> Any:
    events = [not (row["gap"] or row["closing"]) for row in batch.to_pylist()]
    return np.array(
        [e and cpu == CHOSEN for e, cpu in zip(events, batch["cpu"].to_pylist(), strict=True)], bool
    )


def write(path: Path, rows: Sequence[Row], *, size: int = 4, facts: Facts | None = None) -> str:
    with EventWriter(str(path), facts or Facts()) as writer:
        for batch in batches(rows, size):
            writer.write(batch)
    return str(path)


def kept_of(path: str) -> list[Row]:
    with open_events(path) as source:
        return [row for b in whole_journeys(source, chosen) for row in b.to_pylist()]


def until_damage(batches: Iterator[pa.RecordBatch]) -> tuple[list[int], InputError | None]:
    """Return the times of the rows, and what ended them early."""
    got: list[int] = []
    try:
        for batch in batches:
            got += batch["timestamp_ns"].to_pylist()
    except InputError as error:
        return got, error
    return got, None


def plainly(rows: Sequence[Row]) -> list[int]:
    """Return the numbers of the rows to keep, by a set of ids."""

    def is_note(row: Row) -> bool:
        return bool(row.get("gap") or row.get("closing"))

    def packet(number: int, row: Row) -> Any:
        tracking = row.get("skb_tracking")
        return (tracking["timestamp_ns"], tracking["orig_head"]) if tracking else number

    ids = {packet(n, r) for n, r in enumerate(rows) if r.get("cpu") == CHOSEN and not is_note(r)}
    return [n for n, r in enumerate(rows) if is_note(r) or packet(n, r) in ids]


def in_order(rows: Sequence[Row]) -> list[Row]:
    return [row for b in batches(rows) for row in b.to_pylist()]


any_rows = st.lists(
    st.one_of(
        st.builds(
            event,
            st.integers(5, 40),
            st.sampled_from([None, A, B, C, (2**64 - 1, 2**64 - 1), (0, 0), (256, 0), (0, 256)]),
            st.integers(1, 3),
            st.sampled_from([0, 1, None, CHOSEN]),
        ),
        st.builds(
            gap, st.integers(5, 40), st.none() | st.integers(0, 40), st.integers(0, 9), st.just(CHOSEN)
        ),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "a.arrow"


@settings(max_examples=30)
@given(rows=any_rows, ends=st.booleans())
def test_print_keeps_whole_journeys_in_the_order_of_the_file(path: Path, rows: list[Row], ends: bool) -> None:
    rows = rows + [closing(99)] * ends
    write(path, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keep_module, "_GATHERED", 2)
        whole = in_order(rows)
        assert kept_of(str(path)) == [whole[n] for n in plainly(rows)]


@settings(max_examples=20)
@given(any_rows)
def test_sort_leaves_out_journeys_without_a_chosen_event(rows: list[Row]) -> None:
    numbers = plainly(rows)
    kept = [rows[n] for n in numbers]
    got = [row for b in sort(batches(rows), arrow_schema(), chosen) for row in b.to_pylist()]
    wanted = expected(kept)  # whole journeys: as if only they had been recorded
    assert [row.pop("journey") for row in got] == [journey for _, journey in wanted]
    whole = [{k: v for k, v in row.items() if k != "journey"} for row in in_order(kept)]
    assert got == [whole[n] for n, _ in wanted]


@settings(max_examples=12)
@given(rows=any_rows, size=st.integers(1, 7))
def test_a_sorted_file_is_left_with_whole_journeys_numbered_anew(
    path: Path, rows: list[Row], size: int
) -> None:
    placed = [row for b in sort(batches(rows), arrow_schema()) for row in b.to_pylist()]
    write(path, placed, size=size, facts=sorted_facts(Facts()))
    with open_events(str(path)) as source:
        got = [row for b in renumbered(whole_journeys(source, chosen)) for row in b.to_pylist()]
    wanted = [row for b in sort(batches(rows), arrow_schema(), chosen) for row in b.to_pylist()]
    assert got == wanted


@given(any_rows, st.integers(1, 7), st.randoms(use_true_random=False))
def test_numbers_have_no_holes_when_events_are_left_out(rows: list[Row], size: int, rng: Any) -> None:
    whole = in_order(rows)
    placed = [{**whole[n], "journey": journey} for n, journey in expected(rows)]
    left = [row for row in placed if rng.random() < 0.6]
    got = [row for b in renumbered(iter(batches(left, size))) for row in b.to_pylist()]
    ids: dict[int, int] = {}
    counts: dict[int, int] = {}
    for row in left:
        if place := row["journey"]:
            old = place["id"]
            place["id"] = ids.setdefault(old, len(ids))
            place["index"] = counts[old] = counts.get(old, -1) + 1
    assert got == left


def test_a_sorted_file_goes_by_its_own_journeys(tmp_path: Path) -> None:
    """Retis puts events without tracking id into a packet's series."""
    places = [{"id": 0, "index": 0}, {"id": 0, "index": 1}, {"id": 1, "index": 0}]
    rows = [event(10, A), event(11, None, cpu=CHOSEN), event(12, A)]
    rows = [{**row, "journey": place} for row, place in zip(rows, places, strict=True)]
    path = write(tmp_path / "a", rows, facts=sorted_facts(Facts()))
    assert [row["timestamp_ns"] for row in kept_of(path)] == [10, 11]


def test_a_row_of_a_sorted_file_that_belongs_to_no_journey_stands_for_itself(tmp_path: Path) -> None:
    rows = [event(10, A), event(11, A, cpu=CHOSEN), event(12, A)]
    path = write(tmp_path / "a", rows, facts=sorted_facts(Facts()))
    assert [row["timestamp_ns"] for row in kept_of(path)] == [11]


@pytest.mark.parametrize("kind", ["arrow", "json"])
def test_a_split_set(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fyke.events.output.LEAST_LIMIT", 1)
    writer: Any = EventWriter if kind == "arrow" else RetisWriter
    with writer(str(tmp_path / "a"), Facts(timestamp_ns=1), limit_bytes=3_000) as out:
        for n in range(20):
            rows = [event(n + 1, (n % 5, 9), cpu=CHOSEN if n == 19 else 0)]
            out.write(batches([{**row, "kernel": {"symbol": "f" * 200}} for row in rows])[0])
    assert len(out.paths) > 2
    with open_events(f"{out.paths[0]}..") as source:
        got = [row["timestamp_ns"] for b in whole_journeys(source, chosen) for row in b.to_pylist()]
        assert got == [n + 1 for n in range(20) if n % 5 == 19 % 5]
        assert [path for path, _ in source.files] == out.paths


def test_what_is_before_damage_is_kept_then_told(tmp_path: Path) -> None:
    rows = [event(10, A), event(11, B), event(12, A, cpu=CHOSEN), event(13, B), event(14, A), event(15, B)]
    path = Path(write(tmp_path / "a", rows, size=4))
    path.write_bytes(path.read_bytes()[:-60])
    with open_events(str(path)) as source:
        got, problem = until_damage(whole_journeys(source, chosen))
    assert got == [10, 12]
    assert problem is not None
    assert "damaged" in problem.message


@pytest.mark.parametrize("cut", [0, 60])
def test_what_comes_in_between_is_left_out(tmp_path: Path, cut: int) -> None:
    """The file of a collection that goes on; with `cut`, its last batch was just being written."""
    rows = [event(10, A), event(11, A, cpu=CHOSEN), event(12, B), event(13, A)]
    whole = Path(write(tmp_path / "whole", [*rows, event(14, A), event(15, A)], size=2)).read_bytes()
    path = Path(write(tmp_path / "a", rows, size=2))
    now = path.read_bytes()
    path.write_bytes(now[:-8] if not cut else whole[: len(now) - 8 + cut])
    with open_events(str(path)) as source:
        kept = whole_journeys(source, chosen)
        path.write_bytes(whole)
        got, problem = until_damage(kept)
    assert got == [10, 11, 13]
    assert (problem is not None) == bool(cut)
    assert source.endless == ([] if cut else [str(path)])


def test_a_pipe_can_t_be_read_twice(tmp_path: Path) -> None:
    data = Path(write(tmp_path / "a", [event(10, A)])).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
    thread.start()
    with open_events(str(tmp_path / "pipe")) as source:
        with pytest.raises(UsageError, match="can't be read twice") as caught:
            whole_journeys(source, chosen)
        assert "fyke sort --journeys" in caught.value.hint
        assert [len(b) for b in source.batches()] == [1]  # nothing was taken from it
    thread.join()
