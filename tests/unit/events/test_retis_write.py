import dataclasses
import json
import os
import resource
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import retis
from event_samples import FACTS, batch_of, closing_row, gap_row, packet_row, packets, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_samples import DATA, EVENT, SAMPLES, STARTUP, events_in, write_lines

from fyke.cli.main import main
from fyke.errors import RunError
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.retis.write import RetisWriter

SORTED = dataclasses.replace(FACTS, order="journey")


def _write(path: Path, batch: pa.RecordBatch, facts: Facts = FACTS) -> str:
    with RetisWriter(str(path), facts) as writer:
        writer.write(batch)
    return str(path)


def _write_each(path: Path, batch: pa.RecordBatch) -> None:
    with RetisWriter(str(path), FACTS) as writer:
        for start in range(len(batch)):
            writer.write(batch.slice(start, 1))


def _copy(source_path: Path | str, path: Path) -> str:
    source = open_events(str(source_path))
    with RetisWriter(str(path), source.facts) as writer:
        for batch in source.batches():
            writer.write(batch)
    return str(path)


def _one(tmp_path: Path, row: dict[str, Any]) -> dict[str, Any]:
    path = _write(tmp_path / "a", batch_of([row]))
    event: dict[str, Any] = json.loads(Path(path).read_text().splitlines()[1])
    return event


@pytest.mark.parametrize("sample", SAMPLES)
def test_retis_own_files_come_back_as_they_were(tmp_path: Path, sample: str) -> None:
    original = DATA / sample / "events.json"
    assert events_in(_copy(original, tmp_path / "a")) == events_in(original)


@pytest.mark.parametrize("sample", ["basic-default", "nat-ping"])
def test_sorted_files_come_back_as_they_were(tmp_path: Path, sample: str) -> None:
    original = DATA / sample / "sorted.json"
    assert events_in(_copy(original, tmp_path / "a")) == events_in(original)


@pytest.mark.parametrize("sample", SAMPLES)
def test_retis_prints_our_copy_of_its_file_as_it_prints_its_own(tmp_path: Path, sample: str) -> None:
    original = DATA / sample / "events.json"
    copy = _copy(original, tmp_path / "a")
    compared = 0
    for theirs, ours in zip(retis.EventReader(str(original)), retis.EventReader(copy), strict=True):
        if "startup" not in theirs:
            assert str(ours) == str(theirs)
            compared += 1
    assert compared > 10


def test_retis_prints_our_sorted_copy(tmp_path: Path) -> None:
    original = DATA / "basic-default" / "sorted.json"
    copy = _copy(original, tmp_path / "a")
    theirs = [[str(e) for e in series] for series in retis.SeriesReader(str(original))]
    ours = [[str(e) for e in series] for series in retis.SeriesReader(copy)]
    assert ours[1:] == theirs[1:]
    assert len(ours) > 5


def test_every_section_of_retis_survives(tmp_path: Path) -> None:
    original = write_lines(tmp_path / "a", STARTUP, EVENT)
    assert events_in(_copy(original, tmp_path / "b")) == [[EVENT]]


@given(table=st.lists(rows(), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_nothing_is_lost_on_the_way_through_json(
    tmp_path_factory: pytest.TempPathFactory, table: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.json"
    batch = batch_of(table)
    source = open_events(_write(path, batch))
    assert list(source.batches()) == [batch]
    assert source.facts == FACTS
    assert source.unknown_sections == {}


@given(table=st.lists(rows(), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_retis_reads_whatever_we_write(
    tmp_path_factory: pytest.TempPathFactory, table: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.json"
    events = list(retis.EventReader(_write(path, batch_of(table))))
    assert len(events) == len(table) + 1
    for event, row in zip(events[1:], table, strict=True):
        told = event.to_dict()
        assert told["common"]["timestamp"] == row["timestamp_ns"]
        if told.get("packet"):
            assert bytes(event.packet.data) == row["packet"]["data"]
        if not row.get("kernel") or row["kernel"]["stack"] != []:  # an empty stack is one of Retis' defects
            assert str(event).startswith(str(row["timestamp_ns"]))


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost_in_sorted_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.json"
    table = data.draw(st.lists(rows(journeys=True), min_size=1, max_size=6))
    batch = batch_of(table)
    cut = data.draw(st.integers(0, len(batch)))
    with RetisWriter(str(path), SORTED) as writer:
        writer.write(batch.slice(0, cut))
        writer.write(batch.slice(cut))
    source = open_events(str(path))
    assert pa.Table.from_batches(source.batches()) == pa.Table.from_batches([batch])
    assert source.facts == SORTED
    assert sum(len(series) for series in retis.SeriesReader(str(path))) == len(batch) + 1


def test_the_startup_event_is_retis_with_our_facts_beside(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", packets(0, 1))
    startup = json.loads(Path(path).read_text().splitlines()[0])
    assert startup["common"] == {"timestamp": FACTS.timestamp_ns}
    assert startup["startup"]["retis_version"] == "1.7.0"
    assert startup["startup"]["clock_monotonic_offset"] == {"sec": 1795554606, "nsec": 879830795}
    assert startup["startup"]["fyke"]["version"] == FACTS.version
    first = next(iter(retis.EventReader(path)))
    assert str(first).splitlines()[1:] == [
        "  collected with Retis 1.7.0",
        f"  on machine {FACTS.kernel_release} {FACTS.kernel_version} {FACTS.hardware_name}",
        f"  cmdline {FACTS.cmdline}",
    ]


def test_pid_and_tgid_are_the_other_way_round_there(tmp_path: Path) -> None:
    event = _one(tmp_path, packet_row(1, task={"pid": 11, "tgid": 10, "comm": "x"}))
    assert event["common"]["task"] == {"pid": 10, "tgid": 11, "comm": "x"}


@pytest.mark.parametrize(
    ("mechanism", "there"),
    [
        ("raw_tracepoint", "raw_tracepoint"),
        ("kprobe", "kprobe"),
        ("kretprobe", "kretprobe"),
        ("kprobe_multi", "kprobe"),
        ("fentry", "kprobe"),
        ("fexit", "kretprobe"),
    ],
)
def test_mechanisms_are_what_they_are_for_retis(tmp_path: Path, mechanism: str, there: str) -> None:
    event = _one(tmp_path, packet_row(1, kernel={"symbol": "f", "probe_type": mechanism}))
    assert event["kernel"] == {"symbol": "f", "probe_type": there}
    assert ("fyke" in event) == (mechanism != there)
    (row,) = [row for batch in open_events(str(tmp_path / "a")).batches() for row in batch.to_pylist()]
    assert row["kernel"]["probe_type"] == mechanism


def test_what_retis_lacks_is_under_a_key_of_ours(tmp_path: Path) -> None:
    tracking = {"orig_head": 1, "timestamp_ns": 2, "skb": 3, "parent_orig_head": 4, "parent_timestamp_ns": 5}
    event = _one(tmp_path, packet_row(1, skb_tracking=tracking))
    assert event["skb-tracking"] == {"orig_head": 1, "timestamp": 2, "skb": 3}
    assert event["fyke"] == {"skb_tracking": {"parent_orig_head": 4, "parent_timestamp_ns": 5}}
    gap = _one(tmp_path, gap_row(9))
    assert gap["fyke"] == {"gap": {"since_ns": 5, "cause": "ring_full", "count": 12}}
    closing = _one(tmp_path, closing_row(9, 3))
    assert closing["fyke"]["closing"]["events"] == 3


def test_notes_are_no_events(tmp_path: Path) -> None:
    with RetisWriter(str(tmp_path / "a"), FACTS) as writer:
        writer.write(batch_of([packet_row(1), gap_row(2), packet_row(3), closing_row(4, 2)]))
    assert writer.events_written == 2


@pytest.mark.parametrize(
    ("stored", "there", "own"),
    [
        ("ping", "ping", False),
        ("a\\\\b", "a\\b", False),
        ("caf\\xe9", "caf\\xe9", True),
        ("\x1b[31m\n\"'", "\x1b[31m\n\"'", False),
        ("naïve", "naïve", False),
    ],
)
def test_names_are_what_they_are_where_json_can_hold_them(
    tmp_path: Path, stored: str, there: str, own: bool
) -> None:
    event = _one(tmp_path, packet_row(1, dev={"name": stored, "ifindex": 1}))
    assert event["dev"]["name"] == there
    assert ("fyke" in event) == own
    assert "\x1b" not in (tmp_path / "a").read_text()
    (row,) = [row for batch in open_events(str(tmp_path / "a")).batches() for row in batch.to_pylist()]
    assert row["dev"]["name"] == stored
    assert len(list(retis.EventReader(str(tmp_path / "a")))) == 2


def test_a_section_that_retis_would_refuse_is_not_written_as_retis(tmp_path: Path) -> None:
    event = _one(tmp_path, packet_row(1, packet={"len": 60, "capture_len": 0, "data": None}))
    assert "packet" not in event
    assert event["fyke"] == {"packet": {"len": 60, "capture_len": 0}}


@pytest.mark.parametrize("link_layer", [True, False, None])
def test_whether_the_link_layer_is_the_packets_own_is_kept(tmp_path: Path, link_layer: bool | None) -> None:
    packet = {"len": 60, "capture_len": 2, "data": b"ab", "link_layer": link_layer}
    event = _one(tmp_path, packet_row(1, packet=packet))
    assert event["packet"] == {"len": 60, "capture_len": 2, "data": "YWI="}
    assert event.get("fyke", {}).get("packet", {}).get("link_layer") == link_layer
    (row,) = [row for batch in open_events(str(tmp_path / "a")).batches() for row in batch.to_pylist()]
    assert row["packet"] == packet
    assert len(list(retis.EventReader(str(tmp_path / "a")))) == 2


def test_journeys_are_lines_also_across_batches(tmp_path: Path) -> None:
    def row(time: int, journey: int, index: int) -> dict[str, Any]:
        place = {"id": journey, "index": index, "clone": 0, "lost": 0}
        return packet_row(time, journey=place)

    with RetisWriter(str(tmp_path / "a"), SORTED) as writer:
        writer.write(batch_of([row(1, 0, 0), row(2, 0, 1)]))
        writer.write(batch_of([row(3, 0, 2), row(4, 1, 0)]))
        writer.write(batch_of([gap_row(9)]))
    lines = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()[1:]]
    assert [len(line) for line in lines] == [3, 1, 1]
    assert [e["tracking"]["idx"] for e in lines[0]] == [0, 1, 2]
    first = lines[0][0]["skb-tracking"]
    assert [e["tracking"]["skb"] for e in lines[0]] == [first] * 3
    assert "tracking" not in lines[2][0]
    assert writer.events_written == 4


@pytest.mark.usefixtures("small_limits")
def test_split_json_keeps_its_limit(tmp_path: Path) -> None:
    with RetisWriter(str(tmp_path / "out"), FACTS, limit_bytes=9_000) as writer:
        writer.write(packets(0, 100))
    sizes = [os.path.getsize(path) for path in writer.paths]
    assert len(sizes) > 3
    assert max(sizes) <= 9_000
    assert min(sizes[:-1]) > 8_000
    for number, path in enumerate(writer.paths):
        startup, *events = retis.EventReader(path)
        assert startup.to_dict()["startup"]["split_file"]["id"] == number
        assert events


@pytest.mark.parametrize("calls", [20, 21, 25, 40])
def test_an_interrupt_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    monkeypatch.setattr("fyke.events.output.PIECE", 150)
    left, write = [calls], os.write

    def interrupted(fd: int, data: bytes) -> int:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return write(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    path = tmp_path / "a"
    with pytest.raises(KeyboardInterrupt):
        _write_each(path, packets(0, 20))
    content = path.read_text()
    assert content.endswith("\n")
    assert 1 < len([json.loads(line) for line in content.splitlines()]) < 21


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    writer = RetisWriter(path, FACTS)
    writer.write(packets(0, 10))
    size = os.path.getsize(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 700, hard))
    try:
        with pytest.raises(RunError, match="no space left"):
            writer.write(packets(10, 10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Path(path).read_bytes().endswith(b"}\n")
    assert os.path.getsize(path) == size
    assert len(list(retis.EventReader(path))) == 11


def test_a_full_disk_takes_few_lines_back(tmp_path: Path) -> None:
    path, batch = str(tmp_path / "a"), packets(0, 3_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(RunError, match="no space left") as told, RetisWriter(path, FACTS) as writer:
            writer.write(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 850_000 < os.path.getsize(path) < 1_000_000
    assert f" {len(Path(path).read_text().splitlines()) - 1} events are safely written" in told.value.message


UNKNOWN = {
    "ovs": {
        "event_type": "upcall",
        "cmd": 1,
        "port": 7,
        "cpu": 0,
        "ratio": 0.5,
        "none": None,
        "wide": 2**70,
        "names": ["é"],
    },
    "queue": {"name": "q", "later": [{"a": 1}]},
    "nft": {
        "table_name": "t",
        "chain_name": "c",
        "verdict": "drop",
        "table_handle": 1,
        "chain_handle": 2,
        "policy": True,
        "later": [{"a": 1}],
    },
    "dev": {"mtu": 1500},
    "skb": {"later": {"a": True}},
    "fyke": {"later": {"a": 1}, "packet": {"more": 2}},
}


def test_what_has_no_column_is_kept_in_every_format(tmp_path: Path) -> None:
    """Also what later versions of either program add to sections that are known."""
    event = json.loads((DATA / "nat-ping" / "events.json").read_text().splitlines()[3])
    for name, values in UNKNOWN.items():
        for key, value in values.items():
            here = event.setdefault(name, {})
            if isinstance(value, dict) and isinstance(here.get(key), dict):
                here[key] |= value
            else:
                here[key] = value
    startup = (DATA / "nat-ping" / "events.json").read_text().splitlines()[0]
    path = tmp_path / "a.json"
    path.write_text(f"{startup}\n{json.dumps(event)}\n")
    assert main(["convert", str(path), str(tmp_path / "b.arrow")]) == 0
    assert main(["convert", str(tmp_path / "b.arrow"), str(tmp_path / "c.parquet")]) == 0
    assert main(["convert", str(tmp_path / "c.parquet"), str(tmp_path / "d.json")]) == 0
    assert json.loads((tmp_path / "d.json").read_text().splitlines()[1]) == event


@pytest.mark.parametrize(
    "kept", ["", "{", "1", "[]", "{}", '{"ovs":"\\ud800"}', '{"common":{"timestamp":1}}', None]
)
def test_what_is_kept_may_be_anything(kept: str | None, tmp_path: Path) -> None:
    batch = batch_of([packet_row(1, other={"json": kept})])
    path = str(tmp_path / "a.json")
    with RetisWriter(path, FACTS) as writer:
        writer.write(batch)
    assert list(open_events(path).batches()) == [batch]
    assert len(list(retis.EventReader(path))) == 2


@pytest.mark.parametrize("sample", sorted(p.parent.name for p in DATA.glob("*/events.json")))
def test_files_of_retis_come_back_whole(sample: str, tmp_path: Path) -> None:
    source = DATA / sample / "events.json"
    assert main(["convert", str(source), str(tmp_path / "a.arrow")]) == 0
    assert main(["convert", str(tmp_path / "a.arrow"), str(tmp_path / "b.json")]) == 0
    theirs, ours = (path.read_text().splitlines()[1:] for path in (source, tmp_path / "b.json"))
    assert ours == theirs  # keys in Retis' order, too
