"""What is written many rows at a time is, byte for byte, what is written row by row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, packet_row, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_samples import DATA

from fyke.events.escape import name_from_bytes
from fyke.events.reader import open_events
from fyke.events.retis import fragments
from fyke.events.retis.events import event_in_series, event_of, json_text, rows_of
from fyke.events.retis.write import RetisWriter
from fyke.events.schema import arrow_schema

SORTED = dataclasses.replace(FACTS, order="journey")


def _expected(batch: pa.RecordBatch) -> bytes:
    return "".join(f"{json_text(event_of(row))}\n" for row in rows_of(batch)).encode()


def _expected_sorted(batch: pa.RecordBatch) -> bytes:
    """One journey a line, told by what Retis has: its events' places and the packet's first skb."""
    journeys: list[list[dict[str, Any]]] = []
    before = None
    for row in rows_of(batch):
        number = (row.get("journey") or {}).get("id")
        if number is None or number != before:
            journeys.append([])
        before = number
        journeys[-1].append(row)
    lines = []
    for journey in journeys:
        events = [event_of(row) for row in journey]
        first = next((e["skb-tracking"] for e in events if "skb-tracking" in e), None)
        line = []
        for place, row in enumerate(journey):
            index = (row.get("journey") or {}).get("index")
            tracking = {"skb": first, "idx": place if index is None else index}
            line.append(event_in_series(row, tracking if first else None))
        lines.append(json_text(line) + "\n")
    return "".join(lines).encode()


def _written(
    path: Path, batches: list[pa.RecordBatch], *, is_sorted: bool = False, few: int = fragments.FEW
) -> bytes:
    with (
        patch.object(fragments, "FEW", few),
        RetisWriter(str(path), SORTED if is_sorted else FACTS) as writer,
    ):
        for batch in batches:
            writer.write(batch)
    return path.read_bytes().partition(b"\n")[2]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("patterns") / "events.json"


_NAMES = st.binary(max_size=6).map(name_from_bytes) | st.sampled_from(["\\", "\\x41", "a\\\\b", "é", "\\xe9"])
_FEW = st.sampled_from([0, 2, fragments.FEW])  # combinations that don't make columns pieces of their own
_TABLE = st.lists(rows(journeys=True), min_size=1, max_size=6)


@given(table=_TABLE, names=st.lists(_NAMES, min_size=2, max_size=2), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_rows(path: Path, table: list[dict[str, Any]], names: list[str], data: st.DataObject) -> None:
    for name in names:
        table.append(packet_row(1, task={"pid": 1, "tgid": 2, "comm": name}))
        table.append(packet_row(2, kernel={"symbol": name, "probe_type": data.draw(_PROBES)}))
    batch = batch_of(data.draw(st.permutations(table * data.draw(st.integers(1, 3)))))
    cut = data.draw(st.integers(0, len(batch)))
    parts = [batch.slice(0, cut), batch.slice(cut)]
    assert _written(path, parts, few=data.draw(_FEW)) == _expected(batch)


_PROBES = st.sampled_from(["raw_tracepoint", "kprobe", "kprobe_multi", "fentry", "fexit", "later", ""])


@given(table=_TABLE, data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_rows_sorted(path: Path, table: list[dict[str, Any]], data: st.DataObject) -> None:
    many = table * data.draw(st.integers(1, 3))
    ids = data.draw(st.lists(st.none() | st.integers(0, 3), min_size=len(many), max_size=len(many)))
    for number, row in enumerate(many := [dict(row) for row in many]):
        if row["journey"] is not None:
            row["journey"] = {**row["journey"], "id": ids[number]}
    batch = batch_of(many)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(batch)), max_size=3)))
    ends = [*cuts, len(batch)]
    parts = [batch.slice(a, b - a) for a, b in zip([0, *cuts], ends, strict=True)]
    assert _written(path, parts, is_sorted=True, few=data.draw(_FEW)) == _expected_sorted(batch)


@pytest.mark.parametrize("sample", sorted(DATA.glob("*/*.json")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_files_of_retis(path: Path, sample: Path) -> None:
    with open_events(str(sample)) as source:
        is_sorted = source.facts.order == "journey"
        batches = list(source.batches())
    whole = pa.concat_batches(batches)
    expected = _expected_sorted(whole) if is_sorted else _expected(whole)
    assert _written(path, batches, is_sorted=is_sorted) == expected


def test_columns_of_others_are_written_too(path: Path) -> None:
    schema = arrow_schema().append(pa.field("mine", pa.struct([("a", pa.binary()), ("b", pa.float64())])))
    batch = pa.RecordBatch.from_pylist(
        [packet_row(1, mine={"a": b"\xff", "b": 0.5}), packet_row(2)], schema=schema
    )
    assert _written(path, [batch]) == _expected(batch)


@pytest.mark.parametrize("is_sorted", [False, True])
def test_large_batches_are_written_in_parts(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_sorted: bool
) -> None:
    place = {"index": None, "clone": None, "lost": None}
    batch = batch_of([packet_row(n, journey={"id": n // 3, **place}) for n in range(50)])
    whole = _written(path, [batch], is_sorted=is_sorted)
    monkeypatch.setattr("fyke.events.retis.write.MAX_BATCH_BYTES", 500)
    assert _written(path, [batch], is_sorted=is_sorted) == whole
    assert whole == (_expected_sorted if is_sorted else _expected)(batch)


def test_an_empty_batch_is_nothing(path: Path) -> None:
    empty = batch_of([])
    assert _written(path, [empty, empty]) == b""
    assert _written(path, [empty, empty], is_sorted=True) == b""
