"""`fyke.collect` on this kernel: what a program gets is what went over the wire, and nothing is left."""

from __future__ import annotations

import os
import threading
import time

import pyarrow as pa
import pytest

import fyke
from live import traffic
from live.recording import RX, TX, Row
from live.sources import capture
from live.topology import Host, two_ns

pytestmark = pytest.mark.ends_only


def test_batches_hold_the_packets() -> None:
    rows: list[Row] = []
    with two_ns() as pair, capture(pair.b.ns, pair.b.dev, direction="in") as seen:

        def received(row: Row) -> bool:
            return bool(row["kernel"] and row["kernel"]["symbol"] == RX and row["dev"]["name"] == pair.b.dev)

        with fyke.collect(probes=[f"tp:{RX}"], filter="udp") as collection:
            traffic.udp_to_nobody(pair.a, pair.b.v4)
            (packet,) = seen.wait(1, lambda packet: b"nobody" in packet.data)
            end = time.monotonic() + 20
            for batch in collection:
                assert isinstance(batch, pa.RecordBatch)
                rows += batch.to_pylist()
                if any(received(row) for row in rows) or time.monotonic() > end:
                    collection.stop()
    assert [row["packet"]["data"] for row in rows if received(row)] == [packet.data]
    events = [row for row in rows if row["gap"] is None and row["closing"] is None]
    assert rows[-1]["closing"]["events"] == len(events)
    assert rows[-1]["closing"]["lost"] == collection.loss.events


def test_events_and_their_facts() -> None:
    collected = fyke.collect(probes=[f"tp:{TX}"], collectors=["skb", "dev"], stop_after=2)
    with two_ns() as pair, collected as collection:  # without the probe of skb-drop
        sender = threading.Thread(target=_send, args=(pair.a, pair.b.v4))
        sender.start()
        events = list(collection.events())
        sender.join()
    assert len(events) == 2
    assert {event["kernel"].symbol for event in events} == {TX}
    assert all(str(event).startswith(f"{event.timestamp_ns} (") for event in events)
    assert abs(events[0].unix_ns - time.time_ns()) < 60 * 10**9
    assert collection.facts.kernel_release == os.uname().release


def _send(host: Host, to: str) -> None:
    for _ in range(3):
        traffic.udp_to_nobody(host, to)


@pytest.mark.parametrize("how", ["end", "exception"])
def test_nothing_is_left(how: str) -> None:
    before = _ours()
    descriptors = len(os.listdir("/proc/self/fd"))
    try:
        with fyke.collect(probes=[f"tp:{RX}"]) as collection:
            assert _ours() > before
            if how == "exception":
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert collection.loss.events >= 0  # it is still there
    assert _ours() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


def _ours() -> int:
    """Return how many BPF objects this process holds open, by the names of its descriptors."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue
    return sum("bpf" in name for name in names)


def test_what_the_kernel_has_not() -> None:
    with pytest.raises(fyke.FykeError, match="no_such_function"):
        fyke.collect(probes=["no_such_function"])
