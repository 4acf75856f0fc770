"""Loss is counted to the event, and nothing is recorded before everything is attached."""

from __future__ import annotations

import dataclasses
import itertools
import struct
import time

import pyarrow as pa
import pytest

from fyke.capture.attach import Attached
from fyke.capture.load import Loaded
from fyke.capture.loss import gap_batch
from fyke.capture.session import Session
from live.recording import RX, TX, kernel, plan, record, udp_payload
from live.sockets import in_background, know_each_other, udp_socket
from live.topology import two_ns
from live.traffic import udp_send

pytestmark = pytest.mark.ends_only

PROBES = (f"tp:{RX}", f"tp:{TX}")
COUNT = 3000


def test_a_small_buffer_loses_and_counts() -> None:
    """Two pages for all rings, and nobody reads while datagrams with numbers in them are sent."""
    payloads = [struct.pack("!I", number) + b"numbered" for number in range(COUNT)]
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        recording = record(
            lambda: udp_send(pair.a, pair.b.v4, *payloads),
            probes=PROBES,
            buffer_bytes=8192,
            collectors=("skb", "dev", "ns"),
        )
    lost = recording.lost()
    assert lost > COUNT
    for symbol in (RX, TX):
        written = recording.written[symbol]
        lost_here = sum(
            gap.count for gap in recording.gaps if gap.symbol == symbol and gap.cause == "ring_full"
        )
        assert recording.hits[symbol] == written + recording.filtered[symbol] + lost_here
        assert recording.hits[symbol] >= COUNT
    assert all(gap.cpu is not None and gap.since_ns < gap.until_ns for gap in recording.gaps)
    rows = gap_batch(recording.gaps).to_pylist()
    assert sum(row["gap"]["count"] for row in rows) == lost


def test_nothing_is_lost_with_room() -> None:
    """The same datagrams with the default buffer: every number is there, twice, in order of time."""
    payloads = [struct.pack("!I", number) + b"numbered" for number in range(COUNT)]
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        recording = record(lambda: udp_send(pair.a, pair.b.v4, *payloads), probes=PROBES)
    assert not recording.gaps
    sent = set(payloads)
    assert [p for row in recording.at(TX) if (p := udp_payload(row)) in sent] == payloads
    assert sorted(p for row in recording.at(RX) if (p := udp_payload(row)) in sent) == payloads
    stamps = [row["timestamp_ns"] for row in recording.rows]
    assert stamps == sorted(stamps)


def test_no_event_before_all_probes_are_attached() -> None:
    """Packets pass when all is attached; nothing is counted until the collection is enabled."""
    planned = plan(probes=PROBES)
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        loaded = Loaded(planned, kernel())
        try:
            attached = Attached(loaded)
            udp_send(pair.a, pair.b.v4, *[b"early"] * 50)
            assert not loaded.counters["hits"].any()
            loaded.enable(True)
            udp_send(pair.a, pair.b.v4, *[b"counted"] * 50)
            assert loaded.counters["hits"].sum() >= 100
            loaded.enable(False)
            before = int(loaded.counters["hits"].sum())
            udp_send(pair.a, pair.b.v4, *[b"late"] * 50)
            assert int(loaded.counters["hits"].sum()) == before
            attached.detach()
        finally:
            loaded.close()


@pytest.mark.host_only
def test_a_full_tracking_map_is_counted() -> None:
    """With room for two packets, and packets that wait unread in a socket, most can't be tracked."""
    planned = dataclasses.replace(plan(probes=PROBES), tracking_entries=2)
    with two_ns() as pair, udp_socket(pair.b, receive_buffer=4 << 20):
        know_each_other(pair.a, pair.b)
        recording = record(lambda: udp_send(pair.a, pair.b.v4, *[b"waiting"] * 100), planned)
    rows = [row for row in recording.rows if udp_payload(row) == b"waiting"]
    assert len(rows) == 200, "events are recorded all the same"
    untracked = [row for row in rows if row["skb_tracking"] is None]
    assert untracked
    assert recording.lost("tracking_full") >= len(untracked)


@pytest.mark.host_only
def test_a_full_stack_map_is_counted() -> None:
    planned = dataclasses.replace(plan(probes=PROBES, stack=True), stack_entries=1)
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        recording = record(lambda: udp_send(pair.a, pair.b.v4, *[b"s"] * 20), planned)
    without = [row for row in recording.table.to_pylist() if row["kernel"]["stack"] is None]
    assert without
    assert recording.lost("stack_full") == len(without)


def test_order_across_cpus_while_events_flow() -> None:
    """Batches taken during the traffic, from senders on several threads, are in one order of time."""
    planned = plan(probes=PROBES)
    batches: list[pa.RecordBatch] = []
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        with Session(planned, kernel()) as session:
            senders = [
                in_background(lambda: udp_send(pair.a, pair.b.v4, *[b"x" * 20] * 1500)) for _ in range(3)
            ]
            end = time.monotonic() + 60
            while any(t.is_alive() for t in senders) and time.monotonic() < end:
                session.rings.wait(0.01)
                if batch := session.poll(flush=True):
                    batches.append(batch)
            for sender in senders:
                sender.join()
            batches.extend(session.stop())
            late = session.rings.late
            gaps = session.gaps()
    stamps = pa.chunked_array([batch["timestamp_ns"] for batch in batches]).to_pylist()
    assert not [gap for gap in gaps if gap.cause == "ring_full"]
    assert len(stamps) >= 9000
    assert len(batches) > 1
    assert late == sum(1 for a, b in itertools.pairwise(stamps) if b < a) == 0
