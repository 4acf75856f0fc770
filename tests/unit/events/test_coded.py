"""Strings by number in files: whatever their numbers are, the strings are what was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, packet_row

from fyke.errors import InputError
from fyke.events.coded import CODED
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter
from fyke.journeys.sort import sort_source, sorted_schema

NOTES = [arrow_schema().field(name) for name in ("gap", "closing")]
TIME = arrow_schema().field("timestamp_ns")
PLAIN = pa.schema([TIME, *NOTES, pa.field("x", pa.string())])
THEIRS = pa.schema([TIME, pa.field("x", CODED)])


def named(*names: str | None, first: int = 0) -> pa.RecordBatch:
    """Return a batch of a column x beside the time."""
    times = pa.array(range(first, first + len(names)), pa.uint64())
    notes = [pa.nulls(len(names), field.type) for field in NOTES]
    return pa.RecordBatch.from_arrays([times, *notes, pa.array(names, pa.string())], schema=PLAIN)


def write(path: Path, *batches: pa.RecordBatch, **options: Any) -> str:
    with EventWriter(str(path), FACTS, schema=PLAIN, **options) as writer:
        for batch in batches:
            writer.write(batch)
    return str(path)


def read(path: str) -> list[str | None]:
    with open_events(path) as source:
        return [name for batch in source.batches() for name in batch.column("x").to_pylist()]


def by_pyarrow(path: str) -> list[str | None]:
    with pa.ipc.open_stream(path) as stream:
        assert stream.schema.field("x").type == CODED
        return [name for batch in stream for name in batch.column("x").to_pylist()]


def test_numbers_begin_anew_where_there_are_too_many_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fyke.events.coded.MOST", 4)
    batches = [named("a", None, "b"), named("c", "b", "d", "c"), named("e", "a"), named(None), named("b")]
    path = write(tmp_path / "a", *batches)
    expected = ["a", None, "b", "c", "b", "d", "c", "e", "a", None, "b"]
    assert read(path) == expected
    assert by_pyarrow(path) == expected


def test_more_rows_than_there_are_numbers(tmp_path: Path) -> None:
    names = [f"n{n}" for n in range(70_000)]
    path = write(tmp_path / "a", named(*names))
    assert read(path) == names
    assert by_pyarrow(path) == names


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd-1"])
def test_each_file_of_a_set_tells_its_own(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fyke.events.output.LEAST_LIMIT", 1)
    with EventWriter(
        str(tmp_path / "a"), FACTS, schema=PLAIN, compression=compression, limit_bytes=6_000
    ) as writer:
        for _ in range(40):
            writer.write(named("a", "b"))
    assert len(writer.paths) > 1
    for path in writer.paths:
        assert read(path) == by_pyarrow(path)
        assert set(read(path)) == {"a", "b"}


def test_what_another_tool_continues(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([TIME, pa.field("x", kind)])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_stream(path, schema, options=options) as stream:
        for names in (["a", "b"], ["a", "b", "c"]):
            x = pa.DictionaryArray.from_arrays(pa.array(range(len(names)), pa.int8()), names)
            stream.write_batch(
                pa.RecordBatch.from_arrays([pa.array([1] * len(names), pa.uint64()), x], schema=schema)
            )
    assert read(path) == ["a", "b", "a", "b", "c"]


def write_theirs(path: Path, numbers: list[int], meaning: list[str]) -> str:
    """Write numbers unchecked."""
    x = pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int16()), meaning, safe=False)
    with pa.ipc.new_stream(str(path), THEIRS) as stream:
        times = pa.array([1] * len(numbers), pa.uint64())
        stream.write_batch(pa.RecordBatch.from_arrays([times, x], schema=THEIRS))
    return str(path)


@pytest.mark.parametrize("number", [2, -1, 100])
def test_numbers_without_meaning_are_damage(tmp_path: Path, number: int) -> None:
    path = write_theirs(tmp_path / "a", [number], ["a", "b"])
    for keep in (False, True):
        with open_events(path) as source:
            if keep:
                source.keep_codes()
            with pytest.raises(InputError, match="a batch is garbled"):
                list(source.batches())


def test_strings_of_a_batch_are_bounded(tmp_path: Path) -> None:
    path = write_theirs(tmp_path / "a", [0] * 30_000, ["x" * 100_000])
    with pytest.raises(InputError, match="claims to unpack to more than any batch"):
        read(path)


def test_sorting_puts_numbers_of_different_batches_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fyke.events.coded.MOST", 8)
    rows = [packet_row(n) for n in range(60)]
    for n, row in enumerate(rows):
        row["timestamp_ns"] = 1_000 - n
        row["skb_tracking"] = None
        row["dev"]["name"] = f"eth{n // 2}"
    path = str(tmp_path / "a")
    with EventWriter(path, FACTS) as writer:
        for first in range(0, 60, 6):
            writer.write(batch_of(rows[first : first + 6]))
    found = []
    for keep in (False, True):
        with open_events(path) as source:
            schema = sorted_schema(source.schema)
            if keep:
                source.keep_codes()
                assert re.search("name: dictionary", str(source.schema.field("dev").type))
            with EventWriter(str(tmp_path / "out"), FACTS, schema=schema) as writer:
                for batch in sort_source(source):
                    writer.write(batch)
        with open_events(str(tmp_path / "out")) as source:
            found.append([row for batch in source.batches() for row in batch.to_pylist()])
    assert found[0] == found[1]
    assert [row["dev"]["name"] for row in found[0]] == [f"eth{n // 2}" for n in range(60)][::-1]
