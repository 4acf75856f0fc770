"""Recorded events through a packet filter, held against libpcap's own evaluation of each event."""

from __future__ import annotations

import contextlib
import random
import struct
from functools import cache
from pathlib import Path
from typing import Any

import cypcap
import numpy as np
import pyarrow as pa
import pytest

from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema
from fyke.filters import events
from fyke.filters.events import EventFilter
from fyke.filters.pcap.compile import compile_packet_filter

CORPUS = Path(__file__).parents[2] / "data" / "retis"
Row = dict[str, Any]

EXPRESSIONS = (
    "icmp",
    "not icmp",
    "arp or ip6",
    "udp port 53 or tcp port 80",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "dst host 10.0.43.2",
    "src net 10.0.0.0/8 and icmp[icmptype] == icmp-echo",
    "ip[2:2] > 60",
    "len > 98",
    "less 60",
    "ip[6:2] & 0x4000 != 0 and ip[8] < 64",
    "ether[0] & 1 != 0",
    "ether broadcast or ether multicast",
    "vlan",
    "vlan 5",
    "vlan 4095 and icmp",
    "vlan and vlan and ip",
    "not vlan",
    "vlan and ether[14:2] & 0xf000 > 0x6000",
    "vlan and len > 98",
    "vlan and less 60",
    "icmp or vlan",
    "ip[100] == 0",
    "ip proto 1 and ip[20 + 8:4] != 7",
)


@cache
def recorded() -> tuple[Row, ...]:
    """Return the distinct packets of all recordings."""
    packets: dict[bytes, Row] = {}
    for path in sorted(CORPUS.glob("*/events.json")):
        for batch in open_events(str(path)).batches():
            for packet in batch.column("packet").to_pylist():
                packets.setdefault(packet["data"], packet)
    return tuple(packets.values())


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema())


def row_of(data: bytes | None, length: int | None = None, own: bool | None = True, **sections: Any) -> Row:
    kept = len(data or b"")
    packet = {
        "len": kept if length is None else length,
        "capture_len": kept,
        "data": data,
        "link_layer": own,
    }
    return {"timestamp_ns": 1, "packet": packet, **sections}


def some_row(rng: random.Random) -> Row:
    """Return a packet of the corpus, changed, cut and tagged at random; or no packet, or a note."""
    packet = rng.choice(recorded())
    data = bytearray(packet["data"])
    if rng.random() < 0.3:
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.2:
        data[12:12] = struct.pack("!HH", rng.choice((0x8100, 0x88A8)), rng.choice((5, 4095)))
    length = len(data)
    if rng.random() < 0.5:
        del data[rng.choice((0, 5, 12, 13, 14, 20, 34, 40, rng.randrange(len(data)))) :]
    if rng.random() < 0.1:
        length = rng.randrange(2000)
    row = row_of(bytes(data), length, rng.choice((True, True, False, None)))
    if rng.random() < 0.3:
        tag = {
            "proto": rng.choice((0x8100, 0x88A8)),
            "pcp": rng.randrange(8),
            "dei": rng.random() < 0.5,
            "vid": rng.choice((0, 5, 4095)),
        }
        row["vlan_accel"] = tag
    match rng.randrange(20):
        case 0:
            row["packet"] = None
        case 1:
            row["gap"] = {"since_ns": 0, "cause": "ring_full", "count": 3}
        case 2:
            row["packet"], row["closing"] = None, {"events": 1, "lost": 0, "reason": "count", "probes": "[]"}
        case 3:
            row["packet"]["len"] = None
    return row


class Libpcap:
    """The slow way: one packet at a time, made into what would have been on a wire."""

    def __init__(self, text: str) -> None:
        self._tags = "vlan" in text.replace("(", " ").split()
        self._ethernet = self._compiled(text, "EN10MB")
        try:
            self._raw = self._compiled(text, "RAW")
            if "ether[" in text:
                self._raw = None  # it would read the network header instead
        except cypcap.Error:
            self._raw = None

    @staticmethod
    def _compiled(text: str, link: str) -> Any:
        with contextlib.closing(cypcap.open_dead(cypcap.DatalinkType[link], 262144)) as pcap:
            return pcap.compile(text)

    def matches(self, row: Row) -> bool:
        packet = row.get("packet")
        if packet is None or row.get("gap") or row.get("closing"):
            return False
        data = packet["data"] or b""
        length = len(data) if packet["len"] is None else packet["len"]
        program = self._ethernet
        if packet["link_layer"] is False:
            program, data, length = self._raw, data[14:], max(length - 14, 0)
            if program is None:
                return False
        elif self._tags and (tag := row.get("vlan_accel")):
            tci = tag["pcp"] << 13 | tag["dei"] << 12 | tag["vid"]
            if len(data) >= 12:
                data = data[:12] + struct.pack("!HH", tag["proto"], tci) + data[12:]
            length += 4
        return bool(program.offline_filter(cypcap.Pkthdr(0, len(data), length), data))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_same_verdicts_as_libpcap(expression: str) -> None:
    rng = random.Random(expression)
    oracle = Libpcap(expression)
    judge = EventFilter(compile_packet_filter(expression))
    matched = seen = 0
    for size in (1, 2, 300, 700):
        rows = [some_row(rng) for _ in range(size)]
        expected = [oracle.matches(row) for row in rows]
        notes = [bool(row.get("gap") or row.get("closing")) for row in rows]
        batch = batch_of(rows)
        assert judge.matches(batch).tolist() == expected
        stays = [a or b for a, b in zip(expected, notes, strict=True)]
        assert EventFilter(judge.filter).mask(batch).tolist() == stays
        # The columns of a part of a batch begin somewhere in their buffers.
        part = batch.slice(size // 3, size // 2)
        assert EventFilter(judge.filter).mask(part).tolist() == stays[size // 3 :][: size // 2]
        matched += sum(expected)
        seen += size - sum(notes)
    assert (judge.events, judge.matched) == (seen, matched)
    assert 0 < judge.matched < judge.events


@pytest.mark.parametrize("expression", ["icmp", "dst host 10.0.43.2", "ip[6:2] & 0x4000 != 0 and ip[8] < 64"])
def test_recordings(expression: str) -> None:
    oracle, judge = Libpcap(expression), EventFilter(compile_packet_filter(expression))
    for path in sorted(CORPUS.glob("*/events.json")):
        for batch in open_events(str(path)).batches():
            assert judge.mask(batch).tolist() == [oracle.matches(row) for row in batch.to_pylist()]
    assert judge.matched
    assert judge.warnings() == []


def test_a_part_of_a_batch_without_any_null() -> None:
    """Its columns are views into buffers that begin with other packets."""
    rows = [row_of(packet["data"], packet["len"]) for packet in recorded()]
    oracle, judge = Libpcap("icmp"), EventFilter(compile_packet_filter("icmp"))
    expected = [oracle.matches(row) for row in rows]
    batch = batch_of(rows)
    for start in range(len(rows)):
        assert judge.mask(batch.slice(start, 9)).tolist() == expected[start : start + 9]


def test_each_distinct_packet_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counting(program: Any, data: Any, lengths: Any, wire: Any) -> Any:
        sizes.append(len(data))
        return verdicts(program, data, lengths, wire)

    verdicts = events.verdicts
    monkeypatch.setattr(events, "verdicts", counting)
    rows = [row_of(packet["data"], packet["len"], None) for packet in recorded()[:7]] * 50
    EventFilter(compile_packet_filter("icmp")).matches(batch_of(rows))
    assert sizes == [7]


def test_packets_of_very_different_lengths_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []

    def watching(program: Any, data: Any, lengths: Any, wire: Any) -> Any:
        widths.append(data.size)
        return verdicts(program, data, lengths, wire)

    verdicts = events.verdicts
    monkeypatch.setattr(events, "verdicts", watching)
    monkeypatch.setattr(events, "_MATRIX_BYTES", 10_000)
    rng = random.Random(1)
    rows = [row_of(bytes(12) + b"\x08\x00" + rng.randbytes(rng.choice((30, 300, 3000)))) for _ in range(90)]
    rows.append(row_of(bytes(20_000)))
    oracle, judge = Libpcap("ip[1] > 100"), EventFilter(compile_packet_filter("ip[1] > 100"))
    assert judge.matches(batch_of(rows)).tolist() == [oracle.matches(row) for row in rows]
    assert sorted(widths)[-1] == 20_000
    assert all(width <= 10_000 for width in sorted(widths)[:-1])
    assert len(widths) < 30


def ping() -> bytes:
    """Return a frame with an ICMP packet."""
    return next(p["data"] for p in recorded() if p["data"][12:14] == b"\x08\x00" and p["data"][23] == 1)


def warnings_of(expression: str, *rows: Row) -> list[str]:
    judge = EventFilter(compile_packet_filter(expression))
    judge.mask(batch_of(list(rows)))
    return judge.warnings()


def test_what_was_not_kept_is_told() -> None:
    frame = ping()
    whole, cut, short = row_of(frame), row_of(frame[:20], len(frame)), row_of(frame[:20])
    assert warnings_of("ip[9] == 1", whole, short) == []
    (said,) = warnings_of("ip[9] == 1", whole, cut, cut)
    assert said.startswith(
        "2 events could not be judged: what the filter looks at wasn't kept; record with a "
    )
    assert "--snaplen" in said
    (said,) = warnings_of("ip[9] == 1", cut)
    assert said.startswith("1 event could not be judged")


def test_a_link_layer_that_is_missing_is_told() -> None:
    bare = row_of(ping(), own=False)
    assert warnings_of("icmp", bare) == []
    (said,) = warnings_of("ether host 01:02:03:04:05:06", bare, row_of(ping()))
    assert said.startswith("1 event could not match: the packet had no link-layer header")


def test_a_recording_without_packets_is_told() -> None:
    row = {"timestamp_ns": 1}
    (said,) = warnings_of("icmp", row, row)
    assert "no event holds a packet" in said
    assert warnings_of("icmp", row, row_of(ping())) == []
    assert warnings_of("icmp") == []
    note = {"timestamp_ns": 1, "gap": {"since_ns": 0, "cause": "ring_full", "count": 3}}
    assert warnings_of("icmp", note) == []


def test_columns_may_be_null_anywhere() -> None:
    """A file of somebody else may leave out whatever it likes."""
    rows = [row_of(None), row_of(b""), row_of(None, own=None), row_of(None, own=False)]
    rows.append({"timestamp_ns": 1, "packet": dict.fromkeys(("len", "capture_len", "data", "link_layer"))})
    tag = {"vid": None, "proto": 0x8100, "pcp": None, "dei": None}
    rows.append(row_of(ping(), vlan_accel=tag))
    judge = EventFilter(compile_packet_filter("vlan 0"))
    assert judge.mask(batch_of(rows)).tolist() == [False] * 5 + [True]
    assert judge.mask(batch_of([])).tolist() == []
    assert judge.mask(batch_of([])).dtype == np.bool_
