"""`fyke.open`: events, journeys, tables and SQL of a recording, compared with what the commands show."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
import retis
from cli_samples import CORPUS, FACTS, ROOT, write
from event_samples import closing_row, gap_row, packet_row

import fyke as api
from fyke.api.stubs import stubs
from fyke.cli.main import main
from fyke.events.reader import open_events
from fyke.events.schema import HEADER, sections

DEMO = ROOT / "tools" / "demo.arrow"
NAT = CORPUS / "nat-ping" / "events.json"


Shown = Callable[..., list[str]]


@pytest.fixture
def shown_by(capfdbinary: pytest.CaptureFixture[bytes]) -> Shown:
    """Runs a command, and returns the texts that it shows after the first, which is about the recording."""

    def texts(*argv: str | Path) -> list[str]:
        capfdbinary.readouterr()
        assert main([str(word) for word in argv]) == 0
        return capfdbinary.readouterr().out.decode().rstrip("\n").split("\n\n")[1:]

    return texts


def test_importing_fyke_loads_nothing_heavy() -> None:
    code = "import sys, fyke; print(sorted({'pyarrow','duckdb','numpy','fyke.api'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_told_to_type_checkers() -> None:
    source = (ROOT / "src" / "fyke" / "__init__.py").read_text()
    for name, place in api._PUBLIC.items():
        assert getattr(api, name) is not None
        module, _, attribute = place.partition(":")
        assert f"from {module} import {attribute} as {name}\n" in source
    assert source.count(" import ") - source.count("from typing") - 3 == len(api._PUBLIC)
    assert "open" not in api.__all__
    assert {name for name in dir(api) if not name.startswith("__")} == set(api._PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        api.opne  # noqa: B018


def test_events_have_what_the_batches_have() -> None:
    with open_events(str(DEMO)) as source:
        rows = [
            r for b in source.batches() for r in b.to_pylist() if r["gap"] is None and r["closing"] is None
        ]
    with api.open(DEMO) as recording:
        events = list(recording)
    assert len(events) == len(rows) == 27
    for event, row in zip(events, rows, strict=True):
        for column in HEADER:
            assert getattr(event, column.name) == row[column.name]
        for section in sections():
            found = getattr(event, section.name)
            if row[section.name] is None:
                assert found is None
                assert section.name not in event
                with pytest.raises(KeyError):
                    event[section.name]
                continue
            assert section.name.replace("_", "-") in event
            for c in section.columns:
                assert (
                    getattr(found, c.name)
                    == getattr(event[section.name], c.name)
                    == row[section.name][c.name]
                )
        assert event.sections() == [s.name for s in sections() if row[s.name] is not None]
        assert event["skb-tracking"] == event.skb_tracking if row["skb_tracking"] else True
        expected = {k: v for k, v in row.items() if v is not None}
        expected = {
            k: {c: x for c, x in v.items() if x is not None} if isinstance(v, dict) else v
            for k, v in expected.items()
        }
        assert event.to_dict() == expected
        assert event.unix_ns == event.timestamp_ns + recording.facts.clock_monotonic_offset_ns


def test_the_text_of_events_is_what_print_shows(shown_by: Shown) -> None:
    for path in (DEMO, CORPUS / "bridge-udp" / "events.json"):
        shown = shown_by("print", path)
        assert shown
        assert [str(event) for event in api.open(path)] == shown


def test_the_text_of_journeys_is_what_sort_shows(tmp_path: Path, shown_by: Shown) -> None:
    bridge, in_order = CORPUS / "bridge-udp" / "events.json", tmp_path / "s.arrow"
    shown_by("sort", bridge, "-o", in_order)
    for path in (DEMO, bridge, in_order):
        shown = shown_by("sort" if path != in_order else "print", path)
        journeys = list(api.open(path).journeys())
        assert [str(journey) for journey in journeys] == shown
        assert [journey.id for journey in journeys] == list(range(len(shown)))


@pytest.mark.parametrize("name", ["basic-default", "nat-ping"])
def test_journeys_are_those_of_retis(name: str) -> None:
    theirs = sorted(
        sorted((event.common.timestamp, event.kernel.symbol) for event in series)
        for series in retis.SeriesReader(str(CORPUS / name / "sorted.json"))
        if not any(event.startup for event in series)
    )
    for path in (CORPUS / name / "events.json", CORPUS / name / "sorted.json"):
        journeys = list(api.open(path).journeys())
        assert sorted([(e.timestamp_ns, e.kernel.symbol) for e in j] for j in journeys) == theirs


@pytest.mark.parametrize("expression", [None, "icmp"])
def test_journeys_have_the_numbers_of_sql(expression: str | None) -> None:
    recording = api.open(DEMO)
    if expression is not None:
        recording = recording.filter(expression)
    found = recording.query("SELECT journey, events, start_ns, drop_reason FROM journeys ORDER BY journey")
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (j.id, len(j), j.events[0].timestamp_ns, j.drop_reason) for j in recording.journeys()
    ]


def test_a_journey_knows_its_way() -> None:
    journeys = list(api.open(DEMO).journeys())
    dropped = [journey for journey in journeys if journey.dropped]
    assert [journey.drop_reason for journey in dropped] == ["NO_SOCKET", "NO_SOCKET", "NOT_SPECIFIED"]
    one = dropped[0]
    assert one.path == tuple(event.kernel.symbol for event in one)
    assert one.path[-1] == "skb:kfree_skb"
    assert one.duration_ns == one.events[-1].timestamp_ns - one.events[0].timestamp_ns > 0
    assert len(one) == len(one.events) == 5
    assert sum(len(journey) for journey in journeys) == 27


def test_journeys_that_span_batches(tmp_path: Path) -> None:
    rows = [
        {"timestamp_ns": n, "cpu": 0, "journey": {"id": n // 3, "index": n % 3, "lost": 0}} for n in range(9)
    ]
    rows[4:4] = [{**gap_row(4), "journey": None}]
    facts = api.open(DEMO).facts.__class__(order="journey")
    path = write(tmp_path / "sorted.arrow", rows[:2], rows[2:3], rows[3:5], rows[5:], facts=facts)
    journeys = list(api.open(path).journeys())
    assert [[e.timestamp_ns for e in journey] for journey in journeys] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_notes_are_no_events(tmp_path: Path) -> None:
    path = write(tmp_path / "x.arrow", [packet_row(1), gap_row(2), packet_row(3), closing_row(9, 2)])
    recording = api.open(path)
    assert [event.dev.name for event in recording] == ["veth1", "veth3"]
    assert [(gap.gap.count, gap.gap.cause) for gap in recording.gaps()] == [(12, "ring_full")]
    assert recording.to_arrow().num_rows == 4
    assert recording.complete


def test_tables_hold_everything() -> None:
    recording = api.open(NAT)
    with open_events(str(NAT)) as source:
        table = pa.Table.from_batches(source.batches(), schema=recording.schema)
    assert recording.to_arrow().equals(table)
    assert recording.to_reader().read_all().equals(table)
    assert pa.table(recording).equals(table)
    assert recording.to_polars().equals(pl.from_arrow(table))
    frame = recording.to_pandas()
    assert list(frame["skb_tracking.orig_head"].dropna()) == [
        event.skb_tracking.orig_head for event in recording if event.skb_tracking
    ]
    assert frame["skb_tracking.orig_head"].max() > 2**63
    assert frame["dev.name"].isna().sum() == table.column("dev").null_count == 4


def test_sql() -> None:
    recording = api.open(DEMO)
    found = recording.query("SELECT symbol, count(*) AS n FROM events GROUP BY symbol ORDER BY symbol")
    assert found.to_pydict() == {
        "symbol": ["net:net_dev_start_xmit", "net:netif_receive_skb", "skb:kfree_skb"],
        "n": [12, 12, 3],
    }
    assert recording.query("SELECT count(*) FROM journeys").column(0).to_pylist() == [9]
    with pytest.raises(api.UsageError, match="nosuch"):
        recording.query("SELECT nosuch FROM events")
    with pytest.raises(api.UsageError):
        recording.query("COPY events TO '/tmp/stolen.csv'")


def test_filters(shown_by: Shown) -> None:
    recording = api.open(DEMO)
    seen = [str(event) for event in recording.filter("icmp")]
    shown = shown_by("print", DEMO, "-f", "icmp")
    assert seen == shown
    whole = recording.filter("icmp", journeys=True)
    shown = shown_by("sort", DEMO, "-f", "icmp", "--journeys")
    assert [str(journey) for journey in whole.journeys()] == shown
    assert whole.query("SELECT count(*) FROM journeys").column(0).to_pylist() == [len(shown)]
    assert len(list(recording)) == 27
    twice = recording.filter("icmp or arp").filter("arp")
    assert [str(event) for event in twice] == [str(event) for event in recording.filter("arp")]
    with pytest.raises(api.UsageError):
        recording.filter("icmp and")
    with pytest.raises(api.UsageError):
        recording.filter("arp").filter("icmp) or (arp")
    with pytest.raises(api.UsageError, match="journeys=True"):
        whole.filter("arp")


def test_what_a_filter_cannot_judge_is_noted(tmp_path: Path) -> None:
    recording = api.open(write(tmp_path / "x.arrow", [{"timestamp_ns": 1}])).filter("icmp")
    assert list(recording) == []
    assert "no event holds a packet" in recording.notes[-1]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A folder of two recordings, a split set, and something else."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    write(folder / "host-b.arrow", [packet_row(5), closing_row(9, 1)])
    shutil.copy(NAT, folder / "host-a.json")
    for n in (2, 10):
        facts = FACTS.__class__(split_id=n, split_limit_bytes=10**6, timestamp_ns=1)
        write(folder / f"split.arrow.{n}", [packet_row(n)], facts=facts)
    (folder / "readme.txt").write_text("not a recording")
    (folder / "empty.arrow").write_bytes(b"")
    (folder / "below").mkdir()
    return folder


def test_a_directory_or_a_pattern_is_one_recording(fleet: Path) -> None:
    recording = api.open(fleet)
    names = [os.path.basename(path) for path in recording.paths]
    assert names == ["host-a.json", "host-b.arrow", "split.arrow.2.."]
    nat = len(list(api.open(NAT)))
    events = list(recording)
    assert [event.dev.name for event in events[nat:]] == ["veth5", "veth2", "veth10"]
    assert {event.facts.cmdline for event in events[:1]} == {api.open(NAT).facts.cmdline}
    assert recording.query("SELECT count(*) FROM events").column(0).to_pylist() == [nat + 3]
    assert recording.to_arrow().num_rows == nat + 4
    ids = [journey.id for journey in recording.journeys()]
    assert ids == list(range(len(ids)))
    found = recording.query("SELECT journey, events, file FROM journeys ORDER BY journey").to_pylist()
    assert [(row["journey"], row["events"]) for row in found] == [
        (j.id, len(j)) for j in recording.journeys()
    ]
    assert list(dict.fromkeys(row["file"] for row in found)) == list(recording.paths)
    assert api.open(fleet / "host-*").paths == recording.paths[:2]
    some = recording.filter("icmp")
    assert some.query("SELECT count(*) FROM events").column(0).to_pylist() == [len(list(some))]


def test_several_paths_are_one_recording(fleet: Path) -> None:
    recording = api.open([fleet / "host-b.arrow", str(fleet / "host-*")])
    assert [os.path.basename(path) for path in recording.paths] == ["host-b.arrow", "host-a.json"]
    assert next(iter(recording)).dev.name == "veth5"
    assert len(list(recording)) == len(list(api.open(NAT))) + 1


def test_what_is_damaged_in_a_directory_is_told(fleet: Path) -> None:
    (fleet / "cut.arrow").write_bytes(DEMO.read_bytes()[:3000])
    recording = api.open(fleet)
    assert len(recording.paths) == 3
    for one in (recording, recording.filter("icmp")):
        (note,) = [note for note in one.notes if note.startswith("left out: ")]
        assert "cut.arrow is damaged at byte 0" in note
    for path in fleet.glob("[hs]*"):
        path.unlink()
    with pytest.raises(api.InputError, match="there is no event file in") as caught:
        api.open(fleet)
    assert caught.value.hint == note


def test_places_that_are_nothing(tmp_path: Path) -> None:
    for path, said in (
        ([], "the list of files is empty"),
        (tmp_path, "no event file in"),
        (tmp_path / "*.arrow", "no file matches"),
        (tmp_path / "nosuch", "there is no file"),
        ("", "name of the file is empty"),
        (__file__, "is not an event file"),
    ):
        with pytest.raises(api.InputError, match=said):
            api.open(path)


def test_a_name_with_a_bracket_is_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "x[1].arrow", [packet_row(1)])
    assert len(list(api.open(path))) == 1


def test_a_damaged_file_is_read_up_to_the_damage(tmp_path: Path) -> None:
    lines = NAT.read_bytes().splitlines(keepends=True)
    (tmp_path / "a.json").write_bytes(b"".join(lines[:5]) + b'{"common":\n')
    shutil.copy(NAT, tmp_path / "b.json")
    recording = api.open(tmp_path)
    seen: list[api.Event] = []
    with pytest.raises(api.InputError, match=r"a\.json is damaged at line 6"):
        seen.extend(recording)
    assert len(seen) == 4 + len(lines) - 1
    assert recording.problem is not None
    assert not recording.complete
    for read in (
        recording.to_arrow,
        lambda: list(recording.journeys()),
        lambda: recording.query("FROM events"),
    ):
        with pytest.raises(api.InputError, match="damaged at line 6"):
            read()


def test_a_file_without_its_end(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.arrow", [packet_row(1)]).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-8])
    recording = api.open(tmp_path / "cut.arrow")
    assert recording.complete
    assert len(list(recording)) == 1
    assert not recording.complete
    assert recording.notes[-1].endswith("cut.arrow has no end")


def test_a_pipe_can_be_read_once(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=lambda: pipe.write_bytes(DEMO.read_bytes()))
    writer.start()
    with api.open(pipe) as recording:
        assert len(list(recording)) == 27
        with pytest.raises(api.UsageError, match="can't be read twice"):
            list(recording)
    writer.join()


def test_closing_ends_what_is_being_read(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    path = write(tmp_path / "x.arrow", *([packet_row(n)] for n in range(9)))
    with api.open(path) as recording:
        first = next(iter(recording))
        held = iter(recording)
        next(held)
        assert first.dev.name == "veth0"
    del held
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_files_of_several_versions_are_one_table(tmp_path: Path) -> None:
    old = [{"timestamp_ns": 1, "dev": {"name": "eth0"}, "future": 7}]
    schema = pa.schema(
        [("timestamp_ns", pa.uint64()), ("dev", pa.struct([("name", pa.string())])), ("future", pa.int8())]
    )
    for name, fields in (
        ("a", schema),
        ("b", schema.remove(2)),
        ("c", schema.set(2, pa.field("future", pa.string()))),
    ):
        rows = [{**old[0], "future": "x"}] if name == "c" else old
        with pa.OSFile(str(tmp_path / name), "wb") as file, pa.ipc.new_stream(file, fields) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=fields))
    table = api.open(tmp_path / "[ba]").to_arrow()
    assert table.column("future").to_pylist() == [7, None]
    assert api.open(tmp_path / "a").to_arrow().column("future").to_pylist() == [7]
    assert next(iter(api.open(tmp_path / "a"))).future == 7
    with pytest.raises(api.UsageError, match="the column future is"):
        api.open(tmp_path / "[ac]")


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("pandas", lambda r: r.to_pandas()),
        ("polars", lambda r: r.to_polars()),
        ("scapy", lambda r: next(iter(r)).packet.to_scapy()),
    ],
)
def test_a_package_that_is_not_there(package: str, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError) as caught:
        use(api.open(DEMO))
    assert isinstance(caught.value, api.Unsupported)
    assert caught.value.hint == f"install it: pip install {package}"


def test_packets_go_to_scapy() -> None:
    packets = [event.packet for event in api.open(DEMO) if event.packet]
    made = [packet.to_scapy() for packet in packets]
    assert [bytes(one) for one in made] == [packet.data for packet in packets]
    assert {one.name for one in made} == {"Ethernet"}
    assert made[4].haslayer("ICMP")


def test_events_say_what_they_are() -> None:
    event = next(iter(api.open(DEMO)))
    assert repr(event).startswith("<Event 2584975474919 at net:net_dev_start_xmit: task, kernel,")
    assert repr(event.dev) == "Dev(name='to-router', ifindex=2)"
    assert str(event.netns) == "ns 0x28/4026532177"
    assert type(event.dev).ifindex.__doc__
    assert "dev" in dir(event)
    assert "ifindex" in dir(event.dev)
    with pytest.raises(AttributeError, match="no section nosuch"):
        event.nosuch  # noqa: B018
    with pytest.raises(AttributeError, match="no column nosuch"):
        event.dev.nosuch  # noqa: B018
    for one in (event, event.dev):
        with pytest.raises(TypeError):
            list(one)


def test_copies_are_the_same() -> None:
    recording = api.open(DEMO)
    event, journey = next(iter(recording)), next(recording.journeys())
    retis = next(api.EventReader(NAT))
    copies = (copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)))
    for one in (event, event.dev, journey, retis, retis.startup):
        for made in (make(one) for make in copies):
            assert (type(made), repr(made), str(made)) == (type(one), repr(one), str(one))
    assert copy.copy(event).to_dict() == event.to_dict()
    assert copy.copy(retis).to_dict() == retis.to_dict()
    last = list(recording)[-1]
    assert str(pickle.loads(pickle.dumps(last))) == str(last)


def test_arguments_of_the_wrong_type() -> None:
    recording = api.open(DEMO)
    for call in (lambda: recording.filter(None), lambda: recording.query(5), lambda: api.open(5)):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            call()
    for memory in (0, "1GB", 1.5):
        with pytest.raises(api.UsageError, match="is not a number of bytes"):
            recording.query("SELECT 1", memory_bytes=memory)  # type: ignore[arg-type]


def test_type_checkers_know_every_column() -> None:
    file = ROOT / "src" / "fyke" / "api" / "columns.pyi"
    assert file.read_text() == stubs(), (
        "the schema changed: python -m fyke.api.stubs src/fyke/api/columns.pyi"
    )


def test_other_tools_take_a_recording() -> None:
    recording = api.open(DEMO)  # noqa: F841  (DuckDB finds it)
    assert duckdb.sql("SELECT count(*) FROM recording WHERE closing IS NULL").fetchall() == [(27,)]
