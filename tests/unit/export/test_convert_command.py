"""fyke convert: nothing is lost between the formats that hold everything; the others hold what they say."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pcapng_blocks
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_samples import CORPUS, FACTS, OFFSET, RECORDINGS, any_rows, batch_of, event, rows_of, write
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.cli.main import main
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import sections
from fyke.events.store import EventWriter
from fyke.export.convert import FORMATS, event_file, format_of

NAT = CORPUS / "nat-ping" / "events.json"


def convert(source: str | Path, out: Path, *options: str) -> Path:
    assert main(["convert", str(source), str(out), *options]) == 0
    return out


def in_order(source: Path, out: Path) -> Path:
    assert main(["sort", str(source), "-o", str(out)]) == 0
    return out


def facts_of(path: Path) -> Facts:
    with open_events(str(path)) as source:
        return source.facts


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
@pytest.mark.parametrize("order", ["time", "journey"])
def test_a_recording_goes_through_all_formats_and_is_the_same(
    recording: Path, order: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = recording / "events.json"
    if order == "journey":
        source = in_order(source, tmp_path / "sorted.json")
    arrow = convert(source, tmp_path / "a.arrow")
    parquet = convert(arrow, tmp_path / "a.parquet")
    again = convert(convert(parquet, tmp_path / "a.jsonl"), tmp_path / "b.parquet")
    back = convert(again, tmp_path / "b.arrow")
    assert rows_of(back) == rows_of(parquet) == rows_of(arrow)
    facts = facts_of(arrow)
    assert facts == facts_of(parquet) == facts_of(tmp_path / "a.jsonl")
    assert facts.order == order
    capfd.readouterr()
    assert main(["print", str(arrow)]) == 0
    printed = capfd.readouterr().out
    for path in (parquet, back):
        assert main(["print", str(path)]) == 0
        assert capfd.readouterr().out == printed


@settings(max_examples=6)
@given(st.lists(any_rows(), max_size=3))
def test_any_rows_are_the_same_in_parquet_and_json(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    batch = batch_of(rows)
    for kind in ("parquet", "json"):
        path = str(folder / f"a.{kind}")
        with event_file(path, kind, FACTS, batch.schema) as file:
            file.write(batch)
        assert rows_of(path) == batch.to_pylist()
        assert facts_of(Path(path)) == FACTS
    assert pq.read_table(folder / "a.parquet").to_pylist() == batch.to_pylist()


def test_parquet_keeps_the_structs_and_the_facts(tmp_path: Path) -> None:
    arrow = write(tmp_path / "a.arrow", [event(1), event(2)], [event(3)])
    stored = pq.read_schema(convert(arrow, tmp_path / "a.parquet"))
    with open_events(arrow) as source:
        assert stored.remove_metadata().equals(source.schema)
        assert Facts.from_json(stored.metadata[b"fyke"]) == source.facts
    with open_events(str(tmp_path / "a.parquet"), ["cpu"]) as source:
        (batch,) = source.batches()
        assert batch.column("cpu").to_pylist() == [1, 1, 1]
        assert batch.column("packet").null_count == 3


def test_columns_of_others_are_carried_along(tmp_path: Path) -> None:
    batch = batch_of([event(1)]).append_column("mine", pa.array([{"a": [1.5], "b": "x"}]))
    with EventWriter(str(tmp_path / "a.arrow"), FACTS, schema=batch.schema) as writer:
        writer.write(batch)
    convert(tmp_path / "a.arrow", tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == rows_of(tmp_path / "a.arrow")
    with open(convert(tmp_path / "a.arrow", tmp_path / "a.csv")) as stream:
        (row,) = csv.DictReader(stream)
    assert (row["mine.a"], row["mine.b"]) == ("[1.5]", "x")


def test_small_batches_are_put_together(tmp_path: Path) -> None:
    small, out = tmp_path / "small.arrow", tmp_path / "a.arrow"
    with EventWriter(str(small), FACTS) as writer:
        for time in range(40):
            writer.write(batch_of([event(2 * time), event(2 * time + 1)]))
    convert(small, out)
    with open_events(str(out)) as source:
        assert [len(batch) for batch in source.batches()] == [80]
    assert rows_of(out) == rows_of(small)


def test_damaged_parquet(tmp_path: Path) -> None:
    whole = convert(NAT, tmp_path / "a.parquet").read_bytes()
    for n in (*range(5, 200, 13), *range(len(whole) - 200, len(whole), 13)):
        for damaged in (whole[:n], whole[:n] + bytes([whole[n] ^ 0x55]) + whole[n + 1 :]):
            (tmp_path / "bad.parquet").write_bytes(damaged)
            code = main(["print", str(tmp_path / "bad.parquet")])
            assert code == 2 or len(damaged) == len(whole)
            assert code in (0, 2)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    values = {"timestamp_ns": row["timestamp_ns"], "cpu": row["cpu"]}
    for section in sections():
        for column in section.columns:
            values[f"{section.name}.{column.name}"] = (row[section.name] or {}).get(column.name)
    return values


def _in_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


@settings(max_examples=6)
@given(st.lists(any_rows(), max_size=3))
def test_any_rows_in_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = str(tmp_path_factory.mktemp("csv") / "a.csv")
    batch = batch_of(rows)
    with event_file(path, "csv", FACTS, batch.schema) as file:
        file.write(batch)
    with open(path, newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert read == [{k: _in_csv(v) for k, v in _flat(row).items()} for row in batch.to_pylist()]


def test_csv_tells_nothing_from_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", [event(1, ""), event(2, 'a "b",\nc')])
    text = convert(path, tmp_path / "a.csv").read_text()
    assert text.splitlines()[1].startswith('1,1,,,,"","kprobe",,')
    assert '\n2,1,,,,"a ""b"",\nc","kprobe",' in text


def test_a_capture_is_what_pcap_writes(tmp_path: Path) -> None:
    out = convert(NAT, tmp_path / "a.pcapng")
    assert main(["pcap", str(NAT), "-o", str(tmp_path / "b.pcapng")]) == 0
    assert out.read_bytes() == (tmp_path / "b.pcapng").read_bytes()
    assert len(pcapng_blocks.read(out.read_bytes()).packets) == 44
    empty = write(tmp_path / "e.arrow", [{"timestamp_ns": 1}])
    assert pcapng_blocks.read(convert(empty, tmp_path / "e.pcapng").read_bytes()).order == [0x0A0D0D0A]


def trace_of(path: Path) -> list[dict[str, Any]]:
    trace = json.loads(path.read_text(), parse_float=Decimal)
    assert trace["otherData"]["clock_monotonic_offset_ns"] == OFFSET or "retis_version" in str(trace)
    return trace["traceEvents"]


def _ns(value: Any) -> int:
    return int(value * 1000)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_the_slices_of_a_trace_are_the_hops_of_the_journeys(recording: Path, tmp_path: Path) -> None:
    in_journeys = in_order(recording / "events.json", tmp_path / "s.arrow")
    journeys: dict[int, list[dict[str, Any]]] = {}
    for row in rows_of(in_journeys):
        journeys.setdefault(row["journey"]["id"], []).append(row)
    for source in (recording / "events.json", in_journeys):
        trace = trace_of(convert(source, tmp_path / "a.perfetto.json"))
        names = {e["pid"]: e["args"]["name"] for e in trace if e["name"] == "process_name"}
        seen: dict[int, list[dict[str, Any]]] = {}
        for item in trace:
            if item["ph"] != "M":
                seen.setdefault(item["pid"] - 2, []).append(item)
        assert list(seen) == list(journeys)
        for number, rows in journeys.items():
            assert names[number + 2].startswith(f"journey {number}")
            items = seen[number]
            assert [_ns(item["ts"]) for item in items] == [row["timestamp_ns"] for row in rows]
            assert [item["name"] for item in items] == [row["kernel"]["symbol"] for row in rows]
            times = [row["timestamp_ns"] for row in rows]
            assert [_ns(item["dur"]) for item in items[:-1]] == [b - a for a, b in pairwise(times)]
            assert [item["ph"] for item in items] == ["X"] * (len(rows) - 1) + ["i"]


def test_a_trace_by_cpu(tmp_path: Path) -> None:
    out = convert(NAT, tmp_path / "a.perfetto", "--tracks", "cpu")
    marks = [item for item in trace_of(out) if item["ph"] == "i"]
    rows = rows_of(NAT)
    assert [(_ns(m["ts"]), m["tid"], m["pid"]) for m in marks] == [
        (row["timestamp_ns"], row["cpu"], 1) for row in rows
    ]
    named = {m["tid"]: m["args"]["name"] for m in trace_of(out) if m["name"] == "thread_name"}
    assert named == {cpu: f"CPU {cpu}" for cpu in {row["cpu"] for row in rows}}


@settings(max_examples=8)
@given(
    rows=st.lists(any_rows(), max_size=4), cut=st.integers(0, 4), order=st.sampled_from(["time", "journey"])
)
def test_any_rows_are_a_trace(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cut: int, order: str
) -> None:
    path = tmp_path_factory.mktemp("trace") / "a.json"
    with event_file(str(path), "perfetto", Facts(order=order), batch_of([]).schema) as file:
        file.write(batch_of(rows[:cut]))
        file.write(batch_of(rows[cut:]))
    trace = json.loads(path.read_text(), parse_float=Decimal)["traceEvents"]
    shown = [row for row in rows if row["closing"] is None]
    assert sorted(_ns(item["ts"]) for item in trace if item["ph"] != "M") == sorted(
        row["timestamp_ns"] for row in shown
    )
    for item in trace:
        assert item["pid"] >= 1
        assert item.get("dur", 0) >= 0
        assert not math.isnan(item.get("ts", 0))


def test_losses_are_in_the_trace(tmp_path: Path) -> None:
    gap = {"timestamp_ns": 9, "cpu": 3, "gap": {"since_ns": 5, "cause": "ring_full", "count": 12}}
    out = convert(write(tmp_path / "a.arrow", [event(1), gap, event(10)]), tmp_path / "a.perfetto.json")
    (mark,) = [item for item in trace_of(out) if item.get("s") == "g"]
    assert (mark["name"], mark["ts"], mark["tid"]) == ("12 lost (ring_full)", Decimal("0.009"), 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_may_be_asked_for(kind: str, tmp_path: Path) -> None:
    named = {"arrow": "a", "json": "a.json", "perfetto": "a.perfetto.json"}.get(kind, f"a.{kind}")
    assert format_of(named) == kind
    assert format_of("x.csv", kind) == kind
    by_name, asked = convert(NAT, tmp_path / named), convert(NAT, tmp_path / "asked", "--to", kind)
    assert by_name.read_bytes() == asked.read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_filters_and_damage(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    some = convert(NAT, tmp_path / "some", "--to", kind, "-f", "dst host 10.0.43.2")
    assert some.stat().st_size < convert(NAT, tmp_path / "all", "--to", kind).stat().st_size
    content = Path(write(tmp_path / "a.arrow", [event(1), event(2)], [event(3)])).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(content[:-60])
    assert main(["convert", str(tmp_path / "cut.arrow"), str(tmp_path / "out"), "--to", kind]) == 2
    assert "is damaged at byte" in capfd.readouterr().err
    out = tmp_path / "out"
    if kind == "csv":
        assert len(out.read_text().splitlines()) == 3
    elif kind == "perfetto":
        assert len([item for item in trace_of(out) if item["ph"] != "M"]) == 2
    else:
        assert len(rows_of(out)) == 2


@pytest.mark.parametrize(
    ("command", "kind"),
    [("sort", "arrow"), ("sort", "json"), *(("convert", kind) for kind in ("arrow", "json", "parquet"))],
)
def test_the_last_journey_before_the_damage(command: str, kind: str, tmp_path: Path) -> None:
    rows = [
        event(
            n,
            skb_tracking={"orig_head": n // 3, "timestamp_ns": n // 3, "skb": 1},
            journey={"id": n // 3, "index": n % 3, "clone": 0, "lost": 0} if command == "convert" else None,
        )
        for n in range(9)
    ]
    facts = dataclasses.replace(FACTS, order="journey" if command == "convert" else "time")
    path, out = tmp_path / "cut.arrow", tmp_path / "out"
    path.write_bytes(Path(write(path, rows[:8], rows[8:], facts=facts)).read_bytes()[:-60])
    argv = {
        "sort": [str(path), "-o", str(out), "--out-format", kind],
        "convert": [str(path), str(out), "--to", kind],
    }
    assert main([command, *argv[command]]) == 2
    assert [row["timestamp_ns"] for row in rows_of(out)] == list(range(8))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["a.arrow"], "the following arguments are required: OUT"),
        (["a.arrow", "a.arrow"], "a.arrow is the file to be converted"),
        (["a.arrow", "x.json", "--to", "yaml"], "invalid choice: 'yaml'"),
        (["a.arrow", "."], ". is a directory"),
        (["a.arrow", "no/such"], "there is no directory no"),
        (["nothing.arrow", "x.json"], "there is no file nothing.arrow"),
        (["a.arrow", "x.json", "--tracks", "cpu"], "--tracks is for perfetto traces"),
    ],
)
def test_mistakes(
    argv: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.arrow", [event(1)])
    assert main(["convert", *argv]) == 2
    assert said in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.arrow"]
