"""Events for the tests of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fyke.collectors.formatting import Style
from fyke.events.facts import Facts
from fyke.events.schema import arrow_schema
from fyke.render.text import EventText

CORPUS = Path(__file__).parents[2] / "data" / "retis"
FACTS = Facts(
    version="0.1.0",
    cmdline="fyke collect",
    timestamp_ns=1000,
    clock_monotonic_offset_ns=1_795_554_606_879_830_795,
    kernel_release="6.12",
    kernel_version="#1 SMP",
    hardware_name="x86_64",
)


def event(timestamp_ns: int, **sections: Any) -> dict[str, Any]:
    return {
        "timestamp_ns": timestamp_ns,
        "cpu": 1,
        "task": {"pid": 544, "tgid": 544, "comm": "ping"},
        "kernel": {"symbol": "net:netif_rx", "probe_type": "raw_tracepoint"},
        **sections,
    }


def tracked(timestamp_ns: int, journey: int, index: int, lost: int = 0, **sections: Any) -> dict[str, Any]:
    return event(
        timestamp_ns,
        skb_tracking={"orig_head": 0xFF00, "timestamp_ns": journey + 1, "skb": 0xAB},
        journey={"id": journey, "index": index, "clone": 0, "lost": lost},
        **sections,
    )


def batch(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=arrow_schema())


def text(*batches: Sequence[dict[str, Any]], series: bool = False, **style: Any) -> str:
    made = EventText(Style(**style), series=series)
    pieces = [bytes(piece) for rows in batches for piece in made.batch(batch(rows))]
    return b"".join([*pieces, made.end()]).decode()
