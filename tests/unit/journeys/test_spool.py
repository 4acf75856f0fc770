"""Rows of batches in another order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fyke.journeys.spool import Rereading, Spool

SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string())])


def batches(lengths: list[int]) -> list[pa.RecordBatch]:
    made, start = [], 0
    for length in lengths:
        numbers = range(start, start + length)
        rows = [{"number": n, "text": f"row {n}"} for n in numbers]
        made.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
        start += length
    return made


def filled(kind: str, lengths: list[int]) -> Spool:
    made = batches(lengths)
    if kind == "reread":
        spool = Rereading(SCHEMA, made)
        spool.expect(lengths)
        return spool
    kept = Spool(SCHEMA)
    for batch in made:
        kept.append(batch)
    return kept


@pytest.mark.parametrize(("memory", "plain"), [(1, 0), (1, 1 << 20), (1 << 20, 0)])
@pytest.mark.parametrize("kind", ["kept", "reread"])
@pytest.mark.parametrize(
    "parts",
    [
        [[*range(30)]],
        [[*range(30)][::-1]],
        [[0, 29], [*range(1, 29)]],
        [[*range(10, 20)], [9, 20], [*range(5, 9), *range(21, 26)], [*range(5), *range(26, 30)]],
        [[9, 8, 7, 10], [], [*range(11, 30), 6], [0, 5, 1, 4, 2, 3]],
        [[12], [5, 14, 13, 6], [*range(5), *range(7, 12), *range(15, 30)]],
    ],
)
@pytest.mark.parametrize("lengths", [[10, 10, 10], [30], [1] * 30, [5, 0, 20, 0, 5]])
def test_rows_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    memory: int,
    plain: int,
    parts: list[list[int]],
    lengths: list[int],
) -> None:
    monkeypatch.setattr("fyke.journeys.spool.MEMORY_BYTES", memory)
    monkeypatch.setattr("fyke.journeys.spool.PLAIN_BYTES", plain)
    assert sorted(n for part in parts for n in part) == [*range(30)]
    spool = filled(kind, lengths)
    for part in parts:
        rows = spool.fetch(np.array(part, np.int64))
        assert rows.column("number").to_pylist() == part
        assert rows.column("text").to_pylist() == [f"row {n}" for n in part]
    assert not spool._held or 0 in lengths
    spool.close()
