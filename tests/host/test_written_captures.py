"""Captures that fyke writes, as tshark, capinfos and tcpdump read them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fyke.cli.main import main
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter

pytestmark = [
    pytest.mark.host_only,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark"),
]

CORPUS = Path(__file__).parents[1] / "data" / "retis"
RECORDINGS = sorted(path.parent for path in CORPUS.glob("*/events.json"))
NS = 10**9
# What tshark says when root runs it, and libraries' own.
_NOT_ABOUT_THE_FILE = re.compile(r"Running as user \"root\" and group \"root\"\. This could be dangerous\.")


def read(*command: str) -> str:
    """Run a tool and return what it prints. It must have nothing to say about the file."""
    # With nobody's settings.
    environment = {**os.environ, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    said = [line for line in done.stderr.splitlines() if not _NOT_ABOUT_THE_FILE.fullmatch(line)]
    assert said == []
    return done.stdout


def packets_of(path: str) -> tuple[Facts, list[dict[str, Any]]]:
    with open_events(path) as source:
        rows = [row for batch in source.batches() for row in batch.to_pylist()]
        return source.facts, [row for row in rows if row["packet"] and row["kernel"]]


def fields(path: Path, *names: str) -> list[list[str]]:
    words = [word for name in names for word in ("-e", name)]
    lines = read("tshark", "-r", str(path), "-T", "fields", "-E", "separator=/s", *words).splitlines()
    return [line.split(" ") for line in lines]


def infos(path: Path) -> dict[str, str]:
    # Raw numbers; the interfaces apart.
    lines = read("capinfos", "-M", "-S", "-c", "-a", "-e", "-E", "-I", str(path)).splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_counts_and_times_agree(recording: Path, tmp_path: Path) -> None:
    source, out = str(recording / "events.json"), tmp_path / "a.pcapng"
    assert main(["pcap", source, "-o", str(out)]) == 0
    facts, rows = packets_of(source)
    times = [row["timestamp_ns"] + facts.clock_monotonic_offset_ns for row in rows]

    info = infos(out)
    assert int(info["Number of packets"]) == len(rows)
    assert Decimal(info["First packet time"]) * NS == min(times)
    assert Decimal(info["Last packet time"]) * NS == max(times)
    where = {(r["kernel"]["probe_type"], r["kernel"]["symbol"], (r["netns"] or {}).get("inum")) for r in rows}
    assert int(info["Number of interfaces in file"]) == len(where)

    seen = fields(out, "frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_name")
    for (time, length, kept, name), row, time_ns in zip(seen, rows, times, strict=True):
        tag = 4 if row["vlan_accel"] else 0
        assert Decimal(time) * NS == time_ns
        assert (int(length), int(kept)) == (row["packet"]["len"] + tag, len(row["packet"]["data"]) + tag)
        assert name == f"{row['kernel']['probe_type']}/{row['kernel']['symbol']}"


def test_comments_and_bytes_agree(tmp_path: Path) -> None:
    out = tmp_path / "a.pcapng"
    assert main(["pcap", str(CORPUS / "nat-ping" / "events.json"), "-o", str(out)]) == 0
    _facts, rows = packets_of(str(CORPUS / "nat-ping" / "events.json"))
    packets = json.loads(read("tshark", "-r", str(out), "-T", "json", "-x"))
    for packet, row in zip(packets, rows, strict=True):
        layers = packet["_source"]["layers"]
        assert bytes.fromhex(layers["frame_raw"][0]) == row["packet"]["data"]
        assert row["kernel"]["symbol"] in json.dumps(layers)
    comments = read("tshark", "-r", str(out), "-T", "fields", "-e", "frame.comment")
    assert all(str(row["timestamp_ns"]) in comments for row in rows)


def test_an_accelerated_tag_is_seen_as_one(tmp_path: Path) -> None:
    data = bytes.fromhex("0200000000010200000000020800") + bytes.fromhex(
        "45000014000000004011000001020304" + "05060708"
    )
    rows = [
        {
            "timestamp_ns": n,
            "kernel": {"symbol": "ip_rcv", "probe_type": "kprobe"},
            "packet": {"len": len(data), "capture_len": len(data), "data": data},
            "vlan_accel": {"proto": 0x8100, "pcp": 3, "dei": n == 2, "vid": vid},
        }
        for n, vid in enumerate((100, 4094, 1))
    ]
    path, out = str(tmp_path / "a.arrow"), tmp_path / "a.pcapng"
    with EventWriter(path, Facts()) as writer:
        writer.write(pa.RecordBatch.from_pylist(rows, schema=arrow_schema()))
    assert main(["pcap", path, "-o", str(out)]) == 0
    assert fields(out, "vlan.id", "vlan.priority", "vlan.etype", "ip.src") == [
        [vid, "3", "0x0800", "1.2.3.4"] for vid in ("100", "4094", "1")
    ]


def test_hostile_names_and_sizes(tmp_path: Path) -> None:
    names = ["\x1b[2J\n\x00", "☃" * 40_000, "", "\U000e0001"]
    rows = [
        {
            "timestamp_ns": n,
            "kernel": {"symbol": name, "probe_type": name[:5]},
            "packet": {"len": 2**32 - 1, "capture_len": 0, "data": b"\xff" * (n * 150_000 + 1)},
        }
        for n, name in enumerate(names)
    ]
    path, out = str(tmp_path / "a.arrow"), tmp_path / "a.pcapng"
    with EventWriter(path, Facts()) as writer:
        writer.write(pa.RecordBatch.from_pylist(rows, schema=arrow_schema()))
    assert main(["pcap", path, "-o", str(out)]) == 0
    assert infos(out)["Number of packets"] == str(len(names))
    assert [kept for (kept,) in fields(out, "frame.cap_len")] == ["1", "65535", "65535", "65535"]


def test_tcpdump_reads_it_from_a_pipe(tmp_path: Path) -> None:
    out = tmp_path / "a.pcapng"
    assert main(["pcap", str(CORPUS / "nat-ping" / "events.json"), "-o", str(out)]) == 0
    with open(out, "rb") as stream:
        done = subprocess.run(
            ["tcpdump", "-ttnr", "-"], stdin=stream, capture_output=True, text=True, timeout=60, check=True
        )
    _facts, rows = packets_of(str(CORPUS / "nat-ping" / "events.json"))
    assert len(done.stdout.splitlines()) == len(rows)
