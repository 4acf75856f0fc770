"""Event tables for tests: fixed ones, and any that the schema allows."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pyarrow as pa
from connection_samples import tracked
from hypothesis import strategies as st

from fyke.events.column import Column
from fyke.events.facts import Facts
from fyke.events.schema import arrow_schema, sections
from fyke.events.store import EventWriter

FACTS = Facts(
    version="0.1.0",
    cmdline="fyke collect -o 'a file' -p tp:net:netif_rx",
    timestamp_ns=355323557922,
    clock_monotonic_offset_ns=1_795_554_606_879_830_795,
    kernel_release="6.12.117+deb13-amd64",
    kernel_version="#1 SMP",
    hardware_name="x86_64",
    collectors=("skb", "dev"),
    probes=({"symbol": "net:netif_rx", "probe_type": "raw_tracepoint", "asked": "tp:net:netif_rx"},),
    notes=("a note",),
)

_SLACK = 2000  # bytes: no two batches are of one size
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def packet_row(number: int, **sections: Any) -> dict[str, Any]:
    """Return the row of a plausible event."""
    return {
        "timestamp_ns": 1_000_000 + number,
        "cpu": number % 4,
        "task": {"pid": 100 + number, "tgid": 100, "comm": "ping"},
        "kernel": {"symbol": "net:netif_rx", "probe_type": "raw_tracepoint", "stack": ["a+0x1", "b+0x2"]},
        "skb_tracking": {"orig_head": 2**64 - 4096, "timestamp_ns": 1_000_000, "skb": 2**63 + number},
        "packet": {"len": 60, "capture_len": 60, "data": bytes(range(number % 200, number % 200 + 56))},
        "vlan_accel": {"proto": 0x8100, "pcp": 7, "dei": True, "vid": 4095},
        "netns": {"cookie": 7, "inum": 4026532349},
        "dev": {"name": f"veth{number}", "ifindex": number, "rx_ifindex": None},
        **sections,
    }


def gap_row(number: int) -> dict[str, Any]:
    return {"timestamp_ns": number, "cpu": 1, "gap": {"since_ns": 5, "cause": "ring_full", "count": 12}}


def closing_row(number: int, events: int) -> dict[str, Any]:
    closing = {"events": events, "lost": 12, "reason": "signal", "probes": "[]"}
    return {"timestamp_ns": number, "cpu": None, "closing": closing}


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema())


def packets(start: int, count: int) -> pa.RecordBatch:
    return batch_of([packet_row(n) for n in range(start, start + count)])


def room_for(batches: int, batch: pa.RecordBatch, **settings: Any) -> int:
    """Return the limit of split files that hold so many batches like this one, of however many columns.

    In less, the writer cuts batches down to single rows, each of which costs as much as a few hundred.
    """
    with EventWriter(os.devnull, FACTS, **settings) as writer:
        header = writer.bytes_written
        writer.write(batch)
        return header + batches * (writer.bytes_written - header) + _SLACK


def _values(column: Column) -> st.SearchStrategy[Any]:
    if column.type in ("string", "list<string>"):
        return _TEXT if column.type == "string" else st.lists(_TEXT, max_size=3)
    if column.type == "binary":
        return st.binary(max_size=40)
    if column.type == "bool":
        return st.booleans()
    bits = int(column.type.removeprefix("u").removeprefix("int"))
    if column.type.startswith("u"):
        return st.integers(0, 2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@cache
def _sections() -> dict[str, st.SearchStrategy[Any]]:
    """Return what the sections may hold. To make a strategy takes longer than to draw from it."""
    return {
        section.name: st.none()
        | st.fixed_dictionaries({c.name: st.none() | _values(c) for c in section.columns})
        for section in sections()
    }


@st.composite
def rows(draw: st.DrawFn, *, journeys: bool = False) -> dict[str, Any]:
    """Any row the schema allows, with any section and any column of it null."""
    row: dict[str, Any] = {
        "timestamp_ns": draw(st.integers(0, 2**64 - 1)),
        "cpu": draw(st.none() | st.integers(0, 2**32 - 1)),
    }
    for section in sections():
        if section.name == "journey" and not journeys:
            continue
        row[section.name] = draw(_sections()[section.name])
    return row | draw(tracked()) if draw(st.booleans()) else row
