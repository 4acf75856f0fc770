"""What tcpdump saw beside what fyke saw of the same packet: one after the other on one clock."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

import fyke
from fyke.events.merged import open_merged
from fyke.events.store import EventWriter
from live import traffic
from live.recording import RX
from live.sources import Captured, capture
from live.topology import two_ns

pytestmark = pytest.mark.ends_only

_NEAR_NS = 100_000_000  # far more than between tap and tracepoint, far less than clocks differ


def _written(path: Path, packets: list[Captured]) -> str:
    """Write a pcap with nanoseconds, of Ethernet."""
    data = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_536, 1)]
    for packet in packets:
        lengths = len(packet.data), packet.wire_len
        data += [struct.pack("<IIII", *divmod(packet.time_ns, 10**9), *lengths), packet.data]
    path.write_bytes(b"".join(data))
    return str(path)


def test_a_packet_is_in_one_place_of_both(tmp_path: Path) -> None:
    recording = tmp_path / "a.arrow"
    with (
        two_ns() as pair,
        capture(pair.b.ns, pair.b.dev, direction="in") as seen,
        fyke.collect(probes=[f"tp:{RX}"], filter="udp") as collection,
        EventWriter(str(recording), collection.facts) as writer,
    ):
        for _ in range(3):
            traffic.udp_to_nobody(pair.a, pair.b.v4)
        packets = seen.wait(3, lambda packet: b"nobody" in packet.data)
        missing, end = {packet.data for packet in packets}, time.monotonic() + 20
        for batch in collection:
            writer.write(batch)
            missing -= {row["data"] for row in batch.column("packet").to_pylist() if row}
            if not missing or time.monotonic() > end:
                collection.stop()
    caught = _written(tmp_path / "b.pcap", packets)
    with open_merged([str(recording), caught]) as source:
        rows = [row for batch in source.batches() for row in batch.to_pylist() if row["packet"]]
    assert [row["timestamp_ns"] for row in rows] == sorted(row["timestamp_ns"] for row in rows)
    for packet in packets:
        same = [row for row in rows if row["packet"]["data"] == packet.data]
        times = {row["kernel"]["probe_type"]: row["timestamp_ns"] for row in same}
        assert set(times) == {"capture", "raw_tracepoint"}
        assert abs(times["capture"] - times["raw_tracepoint"]) < _NEAR_NS
