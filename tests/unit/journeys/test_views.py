"""The views against the same facts found in plain Python, on Retis' recordings and on made ones."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import os
import re
import resource
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from journey_samples import Row, batches, closing, event, expected, gap

from fyke.errors import UsageError
from fyke.events.docs import table_rows
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema, arrow_type, sections
from fyke.events.store import EventWriter
from fyke.journeys.sort import sort, sorted_facts, sorted_schema
from fyke.journeys.views import Views
from fyke.journeys.views_columns import CONNECTIONS, EVENTS, FLOW_COLUMNS, VIEWS, views_page
from fyke.journeys.views_many import recorded_rows
from fyke.journeys.views_rows import Rows

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "data" / "retis"
RECORDINGS = sorted(CORPUS.glob("*/events.json"))


def views(path: Path) -> Views:
    return Views(Rows(str(path)))


def ask(path: Path, sql: str) -> list[dict[str, Any]]:
    with views(path) as opened:
        return opened.table(sql).to_pylist()


@pytest.fixture(scope="module")
def of_file() -> Iterator[Callable[[Path], Views]]:
    """The views of a file, opened once for all tests that only ask."""
    with ExitStack() as opened:
        yield cache(lambda path: opened.enter_context(views(path)))


@pytest.fixture(scope="module")
def sorted_copy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Sorts a recording, once for all tests, and says where the sorted file is."""
    folder = tmp_path_factory.mktemp("sorted")

    @cache
    def sorted_file(path: Path) -> Path:
        out = folder / f"{path.parent.name}.arrow"
        with open_events(str(path)) as source:
            schema = sorted_schema(source.schema)
            with EventWriter(str(out), sorted_facts(source.facts), schema=schema) as writer:
                for batch in sort(source.batches(), source.schema):
                    writer.write(batch)
        return out

    return sorted_file


def names_of_files(view: str) -> str:
    """Return the column that differs between copies of a recording."""
    return "files" if view == CONNECTIONS.name else "file"


def record(path: Path, rows: list[Row], facts: Facts | None = None) -> Path:
    with EventWriter(str(path), facts or Facts()) as writer:
        for batch in batches(rows):
            writer.write(batch)
    return path


@cache
def journeys_of(path: Path) -> dict[int, list[Row]]:
    """Return the events of each journey of a recording, as `sort` puts them together."""
    found = defaultdict(list)
    with open_events(str(path)) as source:
        for batch in sort(source.batches(), source.schema):
            for row in batch.to_pylist():
                if row["journey"] is not None:
                    found[row["journey"]["id"]].append(row)
    return found


MADE = [
    event(10, (10, 5)),
    gap(12, 11, 3),
    event(13, (10, 5), skb=2, cpu=1),
    event(14),
    gap(15, 14, 9, cause="stack_full"),
    event(20, (11, 6)),
    event(21, (10, 5)),
    closing(30),
]


def test_the_columns_are_what_the_page_says(tmp_path: Path) -> None:
    with views(record(tmp_path / "a.arrow", MADE)) as opened:
        names = opened.table("SHOW TABLES").column("name").to_pylist()
        assert sorted(names) == sorted(["recorded", *(v.name for v in VIEWS)])
        for view in VIEWS:
            schema = opened.table(f"SELECT * FROM {view.name} LIMIT 0").schema
            told = [(c.name, "struct" if c.type == "struct" else str(arrow_type(c))) for c in view.columns]
            found = [(f.name, "struct" if pa.types.is_struct(f.type) else str(f.type)) for f in schema]
            assert found == told
        flow = opened.table("SELECT flow FROM events LIMIT 0").schema.field("flow").type
    assert [(f.name, str(f.type)) for f in flow] == [(c.name, str(arrow_type(c))) for c in FLOW_COLUMNS]


def test_every_section_is_in_the_view_of_events() -> None:
    notes = ("gap", "closing", "journey")
    wanted = [s.name for s in sections() if s.name not in notes]
    assert [c.name for c in EVENTS.columns][-len(wanted) :] == wanted
    assert set(arrow_schema().names) >= set(wanted)


def test_the_page_is_fresh() -> None:
    page = (ROOT / "docs" / "views.md").read_text(encoding="utf-8")
    assert page == views_page(), "run python -m fyke.journeys.views_columns docs/views.md"
    assert all(row in page for view in VIEWS for row in table_rows(view.columns, ""))


def test_the_example_for_spark_can_be_read() -> None:
    # It needs Spark: tests/slow runs it, and compares its rows. Here: that its names of ours are there.
    (code,) = re.findall(r"^```python\n(.*?)^```$", views_page(), re.MULTILINE | re.DOTALL)
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    ours = [(node.module, a.name) for node in imports for a in node.names if "fyke" in str(node.module)]
    assert ours
    assert all(hasattr(import_module(str(module)), name) for module, name in ours)


def test_events_have_their_place(tmp_path: Path) -> None:
    path = record(tmp_path / "a.arrow", MADE)
    rows = ask(path, "SELECT number, journey, index, clone, lost FROM events ORDER BY number")
    wanted = sorted((number, place) for number, place in expected(MADE) if place is not None)
    assert [r.pop("number") for r in rows] == [number for number, _ in wanted]
    assert rows == [
        {"journey": p["id"], "index": p["index"], "clone": p["clone"], "lost": p["lost"]} for _, p in wanted
    ]
    losses = ask(path, "SELECT * FROM losses ORDER BY until_ns")
    assert [(r["since_ns"], r["until_ns"], r["cause"], r["count"]) for r in losses] == [
        (11, 12, "ring_full", 3),
        (14, 15, "stack_full", 9),
    ]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.parent.name)
def test_journeys_of_real_recordings(path: Path, of_file: Callable[[Path], Views]) -> None:
    rows = {r["journey"]: r for r in of_file(path).table("SELECT * FROM journeys").to_pylist()}
    wanted = journeys_of(path)
    assert rows.keys() == wanted.keys()
    for number, events in wanted.items():
        row, times = rows[number], [e["timestamp_ns"] for e in events]
        symbols = [e["kernel"]["symbol"] if e["kernel"] else "?" for e in events]
        drops = [i for i, e in enumerate(events) if e["skb_drop"] is not None]
        assert (row["start_ns"], row["end_ns"], row["duration_ns"]) == (
            min(times),
            max(times),
            max(times) - min(times),
        )
        assert row["path"] == " > ".join(symbols)
        assert row["path_id"] == hashlib.md5(row["path"].encode()).hexdigest()[:12]
        assert row["events"] == len(events)
        assert row["clones"] == 1 + max(e["journey"]["clone"] for e in events)
        assert row["devices"] == _in_order(e["dev"] and e["dev"]["name"] for e in events)
        assert row["netns"] == _in_order(e["netns"] and e["netns"]["inum"] for e in events)
        assert row["dropped"] == bool(drops)
        assert row["tracked"] == (events[0]["skb_tracking"] is not None)
        if drops:
            assert row["drop_reason"] == events[drops[0]]["skb_drop"]["drop_reason"]
            assert row["drop_symbol"] == symbols[max(drops[0] - 1, 0)]


def test_nothing_but_results_is_written_to_standard_output(tmp_path: Path) -> None:
    # In a program without a file, as here, DuckDB takes itself to be at a prompt.
    found = ask(record(tmp_path / "a.arrow", MADE), "SELECT current_setting('enable_progress_bar') AS bar")
    assert found == [{"bar": False}]


def test_the_rule_that_dropped_a_packet(tmp_path: Path) -> None:
    def nft(verdict: str, **more: Any) -> dict[str, Any]:
        return {"table_name": "t", "chain_name": "c", "verdict": verdict, "policy": False, **more}

    def journey(start: int, drop: str, *verdicts: dict[str, Any]) -> list[dict[str, Any]]:
        seen = [event(start + n, (start, 9)) | {"nft": v} for n, v in enumerate(verdicts)]
        return [*seen, event(start + 90, (start, 9)) | {"skb_drop": {"drop_reason": drop}}]

    rows = [
        *journey(
            100, "NETFILTER_DROP", nft("accept", rule_handle=3), nft("drop", rule_handle=4, rule="ip drop")
        ),
        *journey(200, "NETFILTER_DROP", nft("drop", rule_handle=5)),
        *journey(300, "NETFILTER_DROP", nft("accept"), nft("drop", policy=True)),
        *journey(400, "NETFILTER_DROP", nft("accept", rule_handle=3)),
        *journey(500, "NO_SOCKET", nft("drop", rule_handle=4)),
    ]
    found = ask(record(tmp_path / "a.arrow", rows), "SELECT rule FROM drops ORDER BY timestamp_ns")
    assert [row["rule"] for row in found] == ["t c: ip drop", "t c handle 5", "t c policy", None, None]


def _in_order(values: Any) -> str | None:
    return " > ".join(dict.fromkeys(str(v) for v in values if v is not None)) or None


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.parent.name)
def test_hops_and_drops_of_real_recordings(path: Path, of_file: Callable[[Path], Views]) -> None:
    hops, drops = (
        of_file(path).table(f"SELECT journey, index, {sql} ORDER BY journey, index").to_pylist()
        for sql in ("from_ns, to_ns, delta_ns, from_dev FROM hops", "reason, symbol, after_symbol FROM drops")
    )
    wanted_hops, wanted_drops = [], []
    for number, events in sorted(journeys_of(path).items()):
        for index, (one, two) in enumerate(zip([None, *events], events, strict=False)):
            if one is not None:
                times = one["timestamp_ns"], two["timestamp_ns"]
                name = one["dev"] and one["dev"]["name"]
                wanted_hops.append((number, index, *times, times[1] - times[0], name))
            if two["skb_drop"] is not None:
                before = one and one["kernel"]["symbol"]
                drop = two["skb_drop"]["drop_reason"], two["kernel"]["symbol"], before
                wanted_drops.append((number, index, *drop))
    assert [tuple(h.values()) for h in hops] == wanted_hops
    assert [tuple(d.values()) for d in drops] == wanted_drops


@pytest.mark.parametrize("view", [v.name for v in VIEWS])
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.parent.name)
def test_a_sorted_file_says_the_same(
    view: str,
    path: Path,
    of_file: Callable[[Path], Views],
    sorted_copy: Callable[[Path], Path],
) -> None:
    # The number of a row is that in its file.
    left_out = ["number"] if view in ("events", "drops") else []
    order = f"SELECT * EXCLUDE ({', '.join([*left_out, names_of_files(view)])}) FROM {view} ORDER BY ALL"
    as_it_is, in_order = of_file(path), of_file(sorted_copy(path))
    assert (as_it_is.rows.is_sorted, in_order.rows.is_sorted) == (False, True)
    assert as_it_is.table(order).to_pylist() == in_order.table(order).to_pylist()


def test_columns_of_later_versions_and_of_others(tmp_path: Path) -> None:
    fields = []
    for field in arrow_schema():
        if pa.types.is_struct(field.type):
            inner = [field.type.field(i) for i in range(field.type.num_fields)]
            field = field.with_type(pa.struct([*inner, pa.field("later", pa.string())]))
        fields.append(field)
    schema = pa.schema([*fields, pa.field("flow", pa.int32()), pa.field("number", pa.string())])
    rows = [{**row, "flow": 7, "number": "x"} for row in MADE]
    with EventWriter(str(tmp_path / "a.arrow"), Facts(), schema=schema) as writer:
        writer.write(pa.RecordBatch.from_pylist(rows, schema=schema))
    plain = record(tmp_path / "b.arrow", MADE)
    with views(tmp_path / "a.arrow") as later, views(plain) as known:
        for view in VIEWS:
            sql = f"SELECT * EXCLUDE ({names_of_files(view.name)}) FROM {view.name} ORDER BY ALL"
            assert later.table(sql).to_pylist() == known.table(sql).to_pylist()


def test_several_recordings_are_one_table(tmp_path: Path, of_file: Callable[[Path], Views]) -> None:
    """Each as it is alone, with numbers that go on, also where packets, CPUs and times are the same."""
    paths = [
        record(tmp_path / "a.arrow", MADE, Facts(host="web1")),
        record(tmp_path / "c.arrow", MADE, Facts(host="web\ud800\n")),
        CORPUS / "basic-default" / "sorted.json",
    ]
    hosts = ["web1", "web?\n", None]
    numbered = {"events": "number", "drops": "number", "journeys": None, "hops": None, "losses": None}
    wanted: dict[str, list[Row]] = {view: [] for view in numbered}
    rows = journeys = 0
    for path, host in zip(paths, hosts, strict=True):
        alone = of_file(path)
        for view, number in numbered.items():
            for row in alone.table(f"SELECT * FROM {view}").to_pylist():
                assert (row["file"], row["host"]) == (str(path), host)
                moved = {"journey": row["journey"] + journeys} if "journey" in row else {}
                wanted[view].append(row | moved | ({number: row[number] + rows} if number else {}))
        counts = alone.table("SELECT count(*), count(DISTINCT journey.id) FROM recorded").to_pylist()[0]
        rows, journeys = (a + b for a, b in zip((rows, journeys), counts.values(), strict=True))
    with Views(recorded_rows([str(path) for path in paths])) as opened:
        for view, right in wanted.items():
            found = opened.table(f"SELECT * FROM {view}").to_pylist()
            assert sorted(found, key=repr) == sorted(right, key=repr)


def test_recordings_may_be_more_than_files_can_be_open(tmp_path: Path) -> None:
    paths = [str(record(tmp_path / f"{n:02}.arrow", MADE[:4])) for n in range(40)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Views(recorded_rows(paths)) as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
        try:
            rows = opened.table("SELECT file, count(*) AS n FROM journeys GROUP BY file ORDER BY file")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rows.to_pylist() == [{"file": path, "n": 2} for path in paths]


def test_connections_name_the_recordings_that_saw_them(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_bytes((CORPUS / "bridge-udp" / "events.json").read_bytes())
    alone = ask(paths[0], "SELECT * FROM connections ORDER BY ALL")
    with Views(recorded_rows([str(path) for path in paths])) as opened:
        both = opened.table("SELECT * FROM connections ORDER BY ALL").to_pylist()
    counted = ("packets", "bytes", "packets_back", "bytes_back", "events", "drops")
    assert alone
    assert {row["files"] for row in alone} == {str(paths[0])}
    assert both == [
        row | {name: 2 * row[name] for name in counted} | {"files": ", ".join(map(str, paths))}
        for row in alone
    ]


def test_damage_of_one_recording_does_not_end_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes((CORPUS / "nat-ping" / "events.json").read_bytes()[:-20])
    whole = record(tmp_path / "b.arrow", MADE)
    with Views(recorded_rows([str(tmp_path / "a.json"), str(whole)])) as opened:
        counts = opened.table(
            "SELECT file, count(*) AS n FROM events GROUP BY file ORDER BY file"
        ).to_pylist()
        assert "a.json is damaged" in str(opened.rows.problem)
    assert [row["file"] for row in counts] == [str(tmp_path / "a.json"), str(whole)]
    assert counts[1]["n"] == len([row for row in MADE if not row.keys() & {"gap", "closing"}])


def test_a_packet_id_is_the_one_of_the_text() -> None:
    path = CORPUS / "basic-default" / "events.json"
    text = (CORPUS / "basic-default" / "print.txt").read_text()
    ids = {r["packet_id"] for r in ask(path, "SELECT DISTINCT packet_id FROM events")}
    assert len(ids - {None}) > 1
    assert all(f"#{packet_id} (skb " in text for packet_id in ids - {None})


@dataclasses.dataclass
class Hostile:
    sql: str
    said: str


HOSTILE = [
    Hostile("COPY (SELECT 1) TO '{out}'", "COPY is not possible"),
    Hostile("COPY events TO '{out}'", "COPY is not possible"),
    Hostile("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
    Hostile("SELECT * FROM read_text('/etc/passwd')", "disabled"),
    Hostile("SELECT * FROM glob('/etc/*')", "disabled"),
    Hostile("SELECT * FROM '/etc/passwd'", "does not exist"),
    Hostile("SELECT * FROM 'https://example.com/a.parquet'", "disabled"),
    Hostile("ATTACH '{out}' AS other", "ATTACH is not possible"),
    Hostile("INSTALL httpfs", "LOAD is not possible"),
    Hostile("LOAD httpfs", "LOAD is not possible"),
    Hostile("SET enable_external_access = true", "SET is not possible"),
    Hostile("SET memory_limit = '100TB'", "SET is not possible"),
    Hostile("EXPORT DATABASE '{out}'", "EXPORT is not possible"),
    Hostile("DROP VIEW events", "DROP is not possible"),
    Hostile("CREATE TABLE t AS SELECT 1", "CREATE is not possible"),
    Hostile("SELECT 1; COPY (SELECT 1) TO '{out}'", "2 statements"),
    Hostile("EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'", "COPY is not possible"),
    Hostile("EXPLAIN ANALYZE DROP VIEW events", "DROP is not possible"),
    Hostile(
        "/* é */ explain-- x\n analyze (FORMAT json) /* */ CREATE TABLE t AS (SELECT 1)", "CREATE is not"
    ),
    Hostile("PIVOT drops ON reason USING count(*)", "PIVOT is not possible without its values"),
    Hostile("EXPLAIN ANALYZE PIVOT drops ON reason USING count(*)", "PIVOT is not possible without"),
    Hostile("SELECT * FROM HOSTILE", "does not exist"),
]


READING = [
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE (SELECT 1)",
    "EXPLAIN (FORMAT json) (SELECT 1)",
    "EXPLAIN (ANALYZE, FORMAT json) FROM drops",
    "PIVOT drops ON reason IN ('NO_SOCKET') USING count(*)",
]


@pytest.mark.parametrize("sql", READING)
def test_what_only_reads_may_be_explained(sql: str, tmp_path: Path) -> None:
    with views(record(tmp_path / "a.arrow", MADE)) as opened:
        opened.table(sql)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda h: h.sql[:30])
def test_sql_can_only_read_the_recording(hostile: Hostile, tmp_path: Path) -> None:
    path = record(tmp_path / "a.arrow", MADE)
    out = tmp_path / "out"
    with views(path) as opened, pytest.raises(UsageError) as raised:
        opened.table(hostile.sql.format(out=out))
    assert hostile.said in raised.value.message
    assert not out.exists()
