"""Time per leg of the way through ovs-vswitchd, from events whose times are known."""

from __future__ import annotations

import re
from typing import Any

import pytest
from render_samples import event, text, tracked

Row = dict[str, Any]
AT = {"upcall_enqueue": 1000, "upcall_recv": 13_300, "flow_put": 20_000, "flow_exec": 113_300}
BACK = 113_900


def sections(step: str, number: int) -> Row:
    batch = {"batch_timestamp_ns": 1, "batch_index": 0}
    match step:
        case "upcall_enqueue":
            made = {"event": "upcall_enqueue", "cmd": 1, "upcall_timestamp_ns": 1, "upcall_cpu": 0, "ret": 0}
            return {"ovs_upcall": made | {"queue_id": number}}
        case "upcall_recv":
            return {"ovs_recv": {"queue_id": number, "type": 0, "pkt_size": 60, "key_size": 9, **batch}}
        case "flow_put" | "flow_exec":
            return {"ovs_operation": {"op_type": step[5:], "queue_id": number, **batch}}
    return {"ovs_action": {"action": "output", "port": 1, "queue_id": number}}


def way(number: int, journey: int | None, lost: str = "", later: int = 0) -> list[Row]:
    """Return the events of a packet that is put out at two ports in the end."""
    steps = [*((step, at) for step, at in AT.items() if step != lost), ("", BACK), ("", BACK + 9)]
    return [
        event(at + later, **sections(step, number))
        if journey is None
        else tracked(at + later, journey, index, **sections(step, number))
        for index, (step, at) in enumerate(steps)
    ]


def legs(shown: str) -> list[tuple[str, str]]:
    """Return (step, leg) of each event that has a leg."""
    pattern = r"(upcall_recv|flow_put|flow_exec|exec oport 1)[^\n]*\n +([\d.]+ [a-z]+ since \w+)"
    return re.findall(pattern, shown)


WHOLE = [
    ("upcall_recv", "12.3 us since upcall_enqueue"),
    ("flow_exec", "100 us since upcall_recv"),
    ("exec oport 1", "600 ns since flow_exec"),
]


def test_each_leg_in_a_sorted_recording_and_in_one_that_is_not() -> None:
    assert legs(text(way(5, 0), series=True, link_layer=True)) == WHOLE
    assert legs(text(way(5, None), link_layer=True)) == WHOLE
    # In one line, and over several batches.
    batches = [[row] for row in way(5, 0)]
    shown = text(*batches, series=True, link_layer=True, multi_line=False)
    assert re.findall(r"q 5.* ([\d.]+ [a-z]+ since \w+)", shown) == [leg for _, leg in WHOLE]


def test_only_who_asks_sees_them() -> None:
    assert " since " not in text(way(5, 0), series=True)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("upcall_enqueue", WHOLE[1:]),
        ("upcall_recv", [("flow_exec", "112 us since upcall_enqueue"), WHOLE[2]]),
        ("flow_put", WHOLE),
        ("flow_exec", [WHOLE[0], ("exec oport 1", "101 us since upcall_recv")]),
    ],
)
def test_a_lost_event_joins_two_legs(lost: str, expected: list[tuple[str, str]]) -> None:
    assert legs(text(way(5, 0, lost), series=True, link_layer=True)) == expected


def test_two_ways_at_a_time() -> None:
    mixed = sorted([*way(5, None), *way(6, None, later=100)], key=lambda row: row["timestamp_ns"])
    assert sorted(legs(text(mixed, link_layer=True))) == sorted(WHOLE * 2)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_the_sender_returns_late(after: int) -> None:
    """What is received before its sending function returns was sent at a time that nobody knows."""
    rows = way(5, 0)
    first = rows.pop(0)
    rows.insert(after, {**first, "timestamp_ns": rows[after - 1]["timestamp_ns"] + 1})
    assert legs(text(rows, series=True, link_layer=True)) == WHOLE[1:]


def test_the_same_number_in_another_journey_is_another_way() -> None:
    alone = [tracked(500_000, 1, 0, **sections("upcall_recv", 5))]
    rows = [*way(5, 0)[:2], *alone]
    assert legs(text(rows, series=True, link_layer=True)) == WHOLE[:1]


def test_times_that_go_back_and_numbers_that_are_missing() -> None:
    rows = [event(10, **sections("upcall_enqueue", 5)), event(5, **sections("upcall_recv", 5))]
    rows += [event(20, ovs_operation={"op_type": "exec"}), event(21, ovs_action={"action": "output"})]
    assert legs(text(rows, link_layer=True)) == []


def test_what_cannot_be_told_apart_is_marked() -> None:
    steps = ("upcall_enqueue", "upcall_recv", "flow_exec", "")
    assert "ambiguous" not in text(way(5, 0), series=True)
    for step in steps:
        made = sections(step, 5)
        for section in made.values():
            section["candidates"] = 3
        shown = text([event(1, **made)])
        assert shown.endswith(" stitch ambiguous: 3 candidates\n\n"), step
