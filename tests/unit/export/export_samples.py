"""Recordings for the tests of other tools' formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from event_samples import rows as any_row
from hypothesis import strategies as st

from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter

CORPUS = Path(__file__).parents[2] / "data" / "retis"
RECORDINGS = sorted(path.parent for path in CORPUS.glob("*/events.json"))
OFFSET = 1_795_554_606_879_830_795
FACTS = Facts(
    version="0.1.0",
    cmdline="fyke collect -o 'ä file'",
    timestamp_ns=1000,
    clock_monotonic_offset_ns=OFFSET,
    kernel_release="6.12",
    kernel_version="#1 SMP",
    hardware_name="x86_64",
    notes=("a note",),
)


def event(
    time_ns: int, symbol: str = "ip_rcv", probe_type: str = "kprobe", **sections: Any
) -> dict[str, Any]:
    data = bytes(range(60)) if "packet" not in sections else b""
    return {
        "timestamp_ns": time_ns,
        "cpu": 1,
        "kernel": {"symbol": symbol, "probe_type": probe_type},
        "packet": {"len": 60, "capture_len": 60, "data": data, "link_layer": True},
        **sections,
    }


def write(path: Path, *batches: Sequence[dict[str, Any]], facts: Facts = FACTS) -> str:
    with EventWriter(str(path), facts) as writer:
        for rows in batches:
            writer.write(batch_of(rows))
    return str(path)


def batch_of(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=arrow_schema())


def rows_of(path: str | Path) -> list[dict[str, Any]]:
    with open_events(str(path)) as source:
        return [row for batch in source.batches() for row in batch.to_pylist()]


def any_rows() -> st.SearchStrategy[dict[str, Any]]:
    """Any row the schema allows, with any section and any column of it null."""
    return any_row(journeys=True)
