"""Event tables for the tests of sorting, and what sorting should make of them, said in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fyke.events.schema import arrow_schema

Row = dict[str, Any]


def event(timestamp_ns: int, packet: tuple[int, int] | None = None, skb: int = 1, cpu: int | None = 0) -> Row:
    """packet: (time of first sight, head), None for an event that is not tracked."""
    row: Row = {"timestamp_ns": timestamp_ns, "cpu": cpu}
    if packet is not None:
        row["skb_tracking"] = {"orig_head": packet[1], "timestamp_ns": packet[0], "skb": skb}
    return row


def gap(
    timestamp_ns: int, since_ns: int | None, count: int, cpu: int | None = 0, cause: str = "ring_full"
) -> Row:
    return {
        "timestamp_ns": timestamp_ns,
        "cpu": cpu,
        "gap": {"since_ns": since_ns, "cause": cause, "count": count},
    }


def closing(timestamp_ns: int) -> Row:
    return {
        "timestamp_ns": timestamp_ns,
        "closing": {"events": 1, "lost": 0, "reason": "count", "probes": "[]"},
    }


def batches(rows: Sequence[Row], size: int = 4) -> list[pa.RecordBatch]:
    return [
        pa.RecordBatch.from_pylist(list(rows[i : i + size]), schema=arrow_schema())
        for i in range(0, len(rows), size)
    ]


def expected(rows: Sequence[Row]) -> list[tuple[int, dict[str, int] | None]]:
    """Return (number of the row, its journey) in sorted order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(_key(number, row), []).append(number)
    result: list[tuple[int, dict[str, int] | None]] = []
    journey = 0
    for key in sorted(groups):
        members = sorted(groups[key], key=lambda n: (rows[n]["timestamp_ns"], n))
        if _is_note(rows[members[0]]):
            result.append((members[0], None))
            continue
        lost, skbs = _lost(rows, members), list(filter(None, dict.fromkeys(_skb(rows[n]) for n in members)))
        for index, number in enumerate(members):
            skb = _skb(rows[number])
            place = {"id": journey, "index": index, "clone": skbs.index(skb) if skb else 0, "lost": lost}
            result.append((number, place))
        journey += 1
    return result


def _is_note(row: Row) -> bool:
    return row.get("gap") is not None or row.get("closing") is not None


def _key(number: int, row: Row) -> tuple[int, ...]:
    end = int(row.get("closing") is not None)
    packet = None if _is_note(row) else row.get("skb_tracking")
    if packet is None:
        return (end, row["timestamp_ns"], 0, number)
    return (end, packet["timestamp_ns"], 1, packet["orig_head"])


def _skb(row: Row) -> int:
    return row["skb_tracking"]["skb"] if row.get("skb_tracking") else 0


def _lost(rows: Sequence[Row], members: Sequence[int]) -> int:
    cpus = {rows[n]["cpu"] for n in members}
    first, last = rows[members[0]]["timestamp_ns"], rows[members[-1]]["timestamp_ns"]
    total = 0
    for row in rows:
        note = row.get("gap")
        if note is None or note["cause"] in ("tracking_full", "stack_full"):
            continue
        since = row["timestamp_ns"] if note["since_ns"] is None else note["since_ns"]
        if (row["cpu"] is None or None in cpus or row["cpu"] in cpus) and (
            since <= last and row["timestamp_ns"] >= first
        ):
            total += note["count"]
    return total
