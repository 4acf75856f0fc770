"""A file can be read, nested columns included, by tools that know nothing of fyke."""

import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, closing_row, gap_row, packets

from fyke.events.reader import open_events
from fyke.events.store import EventWriter


@pytest.fixture(params=["zstd-1", "lz4", "none"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = str(tmp_path / "fyke.arrow")
    with EventWriter(name, FACTS, compression=request.param) as writer:
        writer.write(packets(0, 30))
        writer.write(batch_of([gap_row(90), closing_row(99, 30)]))
    return name


def test_pyarrow_without_fyke(path: str) -> None:
    code = """
import sys, json
import pyarrow as pa
stream = pa.ipc.open_stream(sys.argv[1])
facts = json.loads(stream.schema.metadata[b"fyke"])
table = stream.read_all().flatten()
print(facts["hardware_name"], table.num_rows, table["dev.name"][7], table["packet.data"][1].as_py()[0])
assert "fyke" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-I", "-c", code, path], capture_output=True, text=True, check=True)
    assert run.stdout == "x86_64 32 veth7 1\n"


def test_polars(path: str) -> None:
    frame = pl.read_ipc_stream(path)
    assert frame.height == 32
    devices = frame.select(pl.col("dev").struct.field("name"), pl.col("packet").struct.field("data")).row(3)
    assert devices == ("veth3", bytes(range(3, 59)))
    tracked = frame.select(pl.col("skb_tracking").struct.field("skb")).to_series()
    assert tracked[5] == 2**63 + 5
    assert frame["kernel"].struct.field("stack")[0].to_list() == ["a+0x1", "b+0x2"]
    assert frame.filter(pl.col("gap").is_not_null())["gap"].struct.field("count").to_list() == [12]


def test_duckdb_over_a_pyarrow_reader(path: str) -> None:
    events = pa.ipc.open_stream(path)
    with duckdb.connect() as connection:
        connection.register("events", events)
        found = connection.sql(
            "SELECT dev.name, skb_tracking.orig_head, kernel.stack[1], octet_length(packet.data), task.comm "
            "FROM events WHERE gap IS NULL AND closing IS NULL ORDER BY timestamp_ns DESC LIMIT 1"
        ).fetchall()
    assert found == [("veth29", 2**64 - 4096, "a+0x1", 56, "ping")]


def test_duckdb_over_our_own_reader(path: str) -> None:
    with duckdb.connect() as connection:
        connection.register("events", open_events(path).reader())
        assert connection.sql("SELECT count(*), max(dev.ifindex) FROM events").fetchall() == [(32, 29)]


def test_what_polars_writes_of_it_is_read_again(path: str, tmp_path: Path) -> None:
    frame = pl.read_ipc_stream(path)
    frame.write_ipc_stream(tmp_path / "polars.arrow")
    source = open_events(str(tmp_path / "polars.arrow"))
    rows = [row for batch in source.batches() for row in batch.to_pylist()]
    assert rows == [row for batch in open_events(path).batches() for row in batch.to_pylist()]
    assert "holds no facts" in source.warnings[0]
