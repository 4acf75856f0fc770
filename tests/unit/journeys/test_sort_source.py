"""A file that is read twice is sorted as one that is kept, whatever happens to it in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey_samples import Row, batches, closing, event, gap

import fyke.journeys.sort as sort_module
import fyke.journeys.spool as spool_module
from fyke.errors import InputError
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter
from fyke.journeys.sort import sort, sort_source

A, B = (10, 0xFF00), (20, 0xFE00)


def write(path: Path, rows: Sequence[Row], limit_bytes: int | None = None) -> str:
    with EventWriter(str(path), Facts(), compression="none", limit_bytes=limit_bytes) as writer:
        for batch in batches(rows):
            writer.write(batch)
    return str(path)


def kept(rows: Sequence[Row]) -> list[Row]:
    return [row for b in sort(batches(rows), arrow_schema()) for row in b.to_pylist()]


def take(result: Iterator[pa.RecordBatch], got: list[Row]) -> None:
    for batch in result:
        got += batch.to_pylist()


def named(row: Row, symbol: str) -> Row:
    return row | {"kernel": {"symbol": symbol, "probe_type": "kprobe", "stack": ["a", "b"]}}


def far_apart(count: int) -> list[Row]:
    """Events of which one journey's are all over the file."""
    return [event(100 + n, (100 + n % 7, n % 7) if n % 3 else (n, 1), n % 4, n % 2) for n in range(count)]


rows_of_any_kind = st.lists(
    st.one_of(
        st.builds(event, st.integers(0, 30), st.none() | st.tuples(st.integers(0, 9), st.integers(0, 1))),
        st.builds(gap, st.integers(0, 30), st.integers(0, 30), st.integers(0, 5)),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twice")


@settings(max_examples=40, deadline=None)
@given(rows_of_any_kind, st.sampled_from([300, 1 << 20]), st.booleans())
def test_any_file(folder: Path, rows: list[Row], memory_bytes: int, by_query: bool) -> None:
    path = write(folder / "a.arrow", [*rows, closing(99)])
    with pytest.MonkeyPatch.context() as patch, open_events(path) as source:
        patch.setattr(spool_module, "MEMORY_BYTES", memory_bytes)
        patch.setattr(sort_module, "CHUNK_ROWS", 7)
        patch.setattr(sort_module, "ROW_BYTES", sort_module.MEMORY_LIMIT if by_query else 1)
        got = [row for b in sort_source(source) for row in b.to_pylist()]
        assert source.complete
    assert got == kept([*rows, closing(99)])


def test_a_split_set(tmp_path: Path) -> None:
    rows = far_apart(400)
    write(tmp_path / "a.arrow", rows, limit_bytes=40_000)
    assert (tmp_path / "a.arrow.2").exists()
    with open_events(str(tmp_path / "a.arrow..")) as source:
        assert [row for b in sort_source(source) for row in b.to_pylist()] == kept(rows)
        assert len(source.files) > 2


@pytest.mark.parametrize("damaged", [0, 9, 27, 59])
def test_damage_where_the_order_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: int
) -> None:
    rows = [named(row, f"function_{n:02}_") for n, row in enumerate(far_apart(60))]
    path = tmp_path / "a.arrow"
    content = Path(write(path, rows)).read_bytes()
    path.write_bytes(content.replace(b"function_%02d_" % damaged, b"function_%02d\xff" % damaged))
    monkeypatch.setattr(sort_module, "CHUNK_ROWS", 5)
    got: list[Row] = []
    with open_events(str(path)) as source, pytest.raises(InputError, match="is garbled"):
        take(sort_source(source), got)
    assert [r["kernel"] for r in got] == [r["kernel"] for r in kept(rows[: damaged - damaged % 4])]
    assert got == kept(rows[: damaged - damaged % 4])


def test_a_file_that_ends_in_a_batch(tmp_path: Path) -> None:
    rows = far_apart(60)
    path = tmp_path / "a.arrow"
    write(path, rows)
    os.truncate(path, path.stat().st_size - 500)
    got: list[Row] = []
    with open_events(str(path)) as source, pytest.raises(InputError, match="ends inside a message"):
        take(sort_source(source), got)
    assert got == kept(rows[:56])


def test_what_comes_meanwhile_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = far_apart(60)
    monkeypatch.setattr(sort_module, "CHUNK_ROWS", 5)
    path = tmp_path / "a.arrow"
    with EventWriter(str(path), Facts()) as writer, open_events(str(path)) as source:
        for batch in batches(rows):
            writer.write(batch)
        result = sort_source(source)
        got = next(result).to_pylist()
        writer.write(batches([event(1, A)])[0])
        got += [row for b in result for row in b.to_pylist()]
        assert got == kept(rows)
        assert source.endless == [str(path)]  # as it was when it was read


def test_a_file_that_shrinks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = far_apart(60)
    monkeypatch.setattr(sort_module, "CHUNK_ROWS", 5)
    path = tmp_path / "a.arrow"
    write(path, rows)
    with open_events(str(path)) as source:
        result = sort_source(source)
        got = next(result).to_pylist()
        with open_events(str(path)) as other:
            first = next(other.batches())
        with EventWriter(str(path), Facts(), compression="none") as writer:
            writer.write(first)
        with pytest.raises(InputError):
            take(result, got)
        assert len(got) == 5


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    rows = far_apart(60)
    content = Path(write(tmp_path / "a.arrow", rows)).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=(content,))
    feeder.start()
    with open_events(str(pipe)) as source:
        assert [row for b in sort_source(source) for row in b.to_pylist()] == kept(rows)
    feeder.join()


def test_columns_of_others_are_carried_along(tmp_path: Path) -> None:
    plain = batches([event(20, B), event(10, A)])[0]
    table = plain.append_column("mine", pa.array(["b", "a"]))
    path = str(tmp_path / "a.arrow")
    with EventWriter(path, Facts(), schema=table.schema) as writer:
        writer.write(table)
    with open_events(path) as source:
        (got,) = sort_source(source)
    assert got.column("mine").to_pylist() == ["a", "b"]
