"""Files for the commands to read, and the commands run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from fyke.events.facts import Facts
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "data" / "retis"
FACTS = Facts(version="0.1.0", cmdline="fyke collect -o", timestamp_ns=1000, kernel_release="6.12")


def rows(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "timestamp_ns": n,
            "cpu": 0,
            "kernel": {"symbol": "ip_rcv", "probe_type": "kprobe"},
            "skb_tracking": {"orig_head": n % 3, "timestamp_ns": 1, "skb": 1},
        }
        for n in range(start, start + count)
    ]


def write(path: Path, *batches: list[dict[str, Any]], facts: Facts = FACTS, **settings: Any) -> Path:
    with EventWriter(str(path), facts, **settings) as writer:
        for batch in batches:
            writer.write(pa.RecordBatch.from_pylist(batch, schema=arrow_schema()))
    return path


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PAGER", "NOPAGER", "NO_COLOR")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **extra}


def fyke(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fyke", *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment(**extra), timeout=60)
