"""Recordings for the tests of other tools' formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from fyke.events.column import Column
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema, sections
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
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


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


@st.composite
def any_rows(draw: st.DrawFn) -> dict[str, Any]:
    """Any row the schema allows, with any section and any column of it null."""
    row: dict[str, Any] = {
        "timestamp_ns": draw(st.integers(0, 2**64 - 1)),
        "cpu": draw(st.none() | st.integers(0, 2**32 - 1)),
    }
    for section in sections():
        columns = {c.name: st.none() | _values(c) for c in section.columns}
        row[section.name] = draw(st.none() | st.fixed_dictionaries(columns))
    return row
