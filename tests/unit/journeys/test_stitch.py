"""Files of Retis: a packet that comes back from ovs-vswitchd goes on with the journey that it began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fyke.cli.main import main
from fyke.events.reader import open_events
from fyke.journeys.latency import latency
from fyke.journeys.sort import sort_source
from fyke.journeys.stats import Stats
from fyke.journeys.views import Views
from fyke.journeys.views_rows import Rows

STARTUP = {
    "common": {"timestamp": 1},
    "startup": {
        "retis_version": "v1.7.0",
        "cmdline": "retis collect",
        "clock_monotonic_offset": {"sec": 1, "nsec": 2},
        "machine": {"kernel_release": "6", "kernel_version": "#1", "hardware_name": "x86_64"},
    },
}
Event = dict[str, Any]


def event(timestamp: int, packet: int | None, ovs: Event | None = None) -> Event:
    """Return an event. packet: number of the packet, whose id is made of it; None for no packet."""
    made: Event = {"common": {"timestamp": timestamp, "smp_id": 0}}
    made["kernel"] = {"symbol": "f", "probe_type": "kprobe"}
    if packet is not None:
        made["skb-tracking"] = {"orig_head": 1 << 63 | packet, "timestamp": 10 * packet, "skb": packet}
    return made | ({"ovs": ovs} if ovs else {})


def trip(start: int, packet: int, back: int, queue: int) -> list[Event]:
    """Return what is seen of a packet that goes up and comes back, 20 ns apart."""
    of = {"upcall_ts": start + 1, "upcall_cpu": 0}
    sent, sizes = {"ret": 0, "cmd": 1, "port": 4}, {"type": 0, "pkt_size": 9, "key_size": 9}
    batch = {"queue_id": queue, "batch_ts": start + 5, "batch_idx": 0}
    action = {"event_type": "action_execute", "recirc_id": 0, "action": "output", "port": 1}
    return [
        event(start, packet),
        event(start + 1, packet, {"event_type": "upcall", "cmd": 1, "port": 4, "cpu": 0}),
        event(start + 2, packet, {"event_type": "upcall_enqueue", **of, "queue_id": queue, **sent}),
        event(start + 3, packet, {"event_type": "upcall_return", **of, "ret": 0}),
        event(start + 5, None, {"event_type": "recv_upcall", **sizes, **batch}),
        event(start + 6, None, {"event_type": "flow_operation", "op_type": "exec", **batch}),
        event(start + 7, back, {**action, "queue_id": queue}),
        event(start + 8, back),
        event(start + 9, back, action),
    ]


def retis_file(folder: Path, events: list[Event]) -> str:
    path = folder / "retis.json"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [STARTUP, *events]))
    return str(path)


def journeys(folder: Path, events: list[Event]) -> list[list[int]]:
    """Return the times of each journey's events, as sorted."""
    found: dict[int, list[int]] = {}
    for batch in sort_source(open_events(retis_file(folder, events))):
        for row in batch.select(["timestamp_ns", "journey"]).to_pylist():
            found.setdefault(row["journey"]["id"], []).append(row["timestamp_ns"])
    return list(found.values())


def candidates(row: Event) -> int | None:
    """Return the mark of a row."""
    sections = (row[name] for name in ("ovs_upcall", "ovs_recv", "ovs_operation", "ovs_action"))
    return next((section["candidates"] for section in sections if section), None)


def marks(path: str) -> dict[int, int]:
    """Return the times of events that are marked, and of how many packets they may be."""
    rows = [row for batch in sort_source(open_events(path)) for row in batch.to_pylist()]
    return {row["timestamp_ns"]: mark for row in rows if (mark := candidates(row))}


def test_there_and_back_is_one_journey(tmp_path: Path) -> None:
    events = [*trip(100, 10, 11, 5), *trip(200, 12, 13, 6)]
    assert journeys(tmp_path, events) == [
        [100, 101, 102, 103, 105, 106, 107, 108, 109],
        [200, 201, 202, 203, 205, 206, 207, 208, 209],
    ]


def test_two_at_a_time(tmp_path: Path) -> None:
    one, other = trip(100, 10, 11, 5), trip(110, 12, 13, 6)
    mixed = sorted([*one, *other], key=lambda e: (e["common"]["timestamp"] - 100) % 10)
    assert sorted(map(sorted, journeys(tmp_path, mixed))) == [
        [100, 101, 102, 103, 105, 106, 107, 108, 109],
        [110, 111, 112, 113, 115, 116, 117, 118, 119],
    ]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (1, [[100, 102, 103, 105, 106, 107, 108, 109]]),  # the upcall: its messages know the packet
        (2, [[100, 101, 103], [105], [106], [107, 108, 109]]),  # the message
        (3, [[100, 101, 102, 105, 106, 107, 108, 109]]),
        (4, [[100, 101, 102, 103, 106, 107, 108, 109]]),
        (5, [[100, 101, 102, 103, 105, 107, 108, 109]]),
        (6, [[100, 101, 102, 103, 105, 106], [108, 109]]),  # what comes back
    ],
)
def test_a_lost_event_costs_one_stitch(lost: int, expected: list[list[int]], tmp_path: Path) -> None:
    events = trip(100, 10, 11, 5)
    del events[lost]
    whole = trip(200, 12, 13, 6)
    found = journeys(tmp_path, [*events, *whole])
    assert sorted(found[:-1]) == expected
    assert found[-1] == [e["common"]["timestamp"] for e in whole]


def test_equal_messages_that_are_both_on_their_way_are_marked_and_not_mixed_up(tmp_path: Path) -> None:
    one, other = trip(100, 10, 11, 5), trip(110, 12, 13, 5)
    third = trip(200, 14, 15, 6)
    events = [*one[:4], *other[:4], *one[4:], *other[4:], *third]
    found = sorted(map(sorted, journeys(tmp_path, events)))
    assert [100, 101, 102, 103] in found
    assert [110, 111, 112, 113] in found
    assert [107, 108, 109] in found
    assert [e["common"]["timestamp"] for e in third] in found
    # The messages, what is done of them, and what comes back with their number.
    steps = (2, 5, 6, 7)
    assert marks(retis_file(tmp_path, events)) == {start + step: 2 for start in (100, 110) for step in steps}
    assert journeys(tmp_path, [*one, *other]) == [
        [e["common"]["timestamp"] for e in one],
        [e["common"]["timestamp"] for e in other],
    ]
    assert not marks(retis_file(tmp_path, [*one, *other]))


def test_a_message_may_be_of_three_packets(tmp_path: Path) -> None:
    trips = [trip(start, packet, packet + 1, 5) for start, packet in ((100, 10), (120, 12), (140, 14))]
    events = [e for t in trips for e in t[:4]] + [e for t in trips for e in t[4:]]
    assert set(marks(retis_file(tmp_path, events)).values()) == {3}


def test_what_was_received_is_on_its_way_until_it_comes_back(tmp_path: Path) -> None:
    one, other = trip(100, 10, 11, 5), trip(110, 12, 13, 5)
    assert set(marks(retis_file(tmp_path, [*one[:5], *other[:4], *one[5:], *other[4:]]))) >= {
        102,
        106,
        107,
        112,
    }
    later = trip(100 + 2_000_000_000, 12, 13, 5)  # nothing comes back of a packet that is dropped
    assert not marks(retis_file(tmp_path, [*one[:6], *later]))


def test_views_and_statistics_know_what_the_sort_knows(tmp_path: Path) -> None:
    whole = trip(200, 14, 15, 6)
    for number, symbol in ((4, "dpif_recv:recv_upcall"), (5, "dpif_netlink_operate__:op_flow_execute")):
        del whole[number]["kernel"]
        user = {
            "symbol": symbol,
            "probe_type": "usdt",
            "ip": 1,
            "path": "/x/ovs-vswitchd",
            "pid": 1,
            "tid": 1,
        }
        whole[number]["userspace"] = user
    one, other = trip(100, 10, 11, 5), trip(110, 12, 13, 5)
    path = retis_file(tmp_path, [*one[:4], *other[:4], *one[4:], *other[4:], *whole])
    arrow = str(tmp_path / "converted.arrow")
    assert main(["convert", path, arrow]) == 0
    for file in (path, arrow):
        with Views(Rows(file)) as views:
            hops = {(h["from_symbol"], h["to_symbol"]): h["max_ns"] for h in latency(views, slowest=1).hops}
            marked = views.table("SELECT timestamp_ns FROM events WHERE ovs_recv.candidates = 2").to_pylist()
        assert hops["dpif_recv:recv_upcall", "dpif_netlink_operate__:op_flow_execute"] == 1
        assert hops["f", "dpif_recv:recv_upcall"] == 2
        assert sorted(row["timestamp_ns"] for row in marked) == [105, 115]
        assert marks(file) == marks(path)
        stats = Stats(frozenset({"tracking"}))
        stats.read(Rows(file))
        assert stats.ambiguous == 8
    sorted_file = str(tmp_path / "sorted.arrow")
    assert main(["sort", arrow, "-o", sorted_file]) == 0
    stats = Stats(frozenset({"tracking"}))
    stats.read(Rows(sorted_file))
    assert stats.ambiguous == 8


def test_of_a_message_that_is_lost_the_number_comes_again(tmp_path: Path) -> None:
    later = 100 + 20_000_000_000
    events = [*trip(100, 10, 11, 5)[:4], *trip(later, 12, 13, 5)]
    assert [len(times) for times in journeys(tmp_path, events)] == [4, 9]
