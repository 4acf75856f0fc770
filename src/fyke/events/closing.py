"""The note of a collection's end, for several collections as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_MOST = (1 << 64) - 1


def joined_closing(ends: Sequence[pa.RecordBatch | None], schema: pa.Schema) -> pa.RecordBatch | None:
    """Return one note of the end for several collections, None when one of them has none.

    ends: a row for each collection. Events and losses are added up, the probes are those of all.
    """
    rows = [end.to_pylist()[0] for end in ends if end is not None]
    if not rows or len(rows) < len(ends):
        return None
    if len(rows) == 1:
        return next(end for end in ends if end is not None)
    notes = [row["closing"] for row in rows]
    closing = {
        "events": _sum(notes, "events"),
        "lost": _sum(notes, "lost"),
        "reason": ", ".join(dict.fromkeys(note["reason"] for note in notes if note["reason"])),
        "probes": json.dumps([probe for note in notes for probe in closing_probes(note)]),
    }
    last = max(row["timestamp_ns"] for row in rows)
    return pa.RecordBatch.from_pylist([{"timestamp_ns": last, "closing": closing}], schema=schema)


def closing_probes(closing: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a closing row tells of its probes; it comes from a file, so nothing is what it must be."""
    try:
        probes = json.loads(closing.get("probes") or "[]")
    except (ValueError, RecursionError):
        return []
    return [p for p in probes if isinstance(p, dict)] if isinstance(probes, list) else []


def _sum(notes: Sequence[dict[str, Any]], name: str) -> int | None:
    """Return the sum, None when one is unknown."""
    counts = [note[name] for note in notes]
    return None if None in counts else min(sum(counts), _MOST)
