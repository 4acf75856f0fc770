"""Whatever a file holds, its text is made, and harmless."""

from __future__ import annotations

import tempfile
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_samples import batch

from fyke.collectors.formatting import Style
from fyke.events.arrow_part import ArrowPart
from fyke.events.column import Column
from fyke.events.message import Encoder
from fyke.events.schema import arrow_schema, sections
from fyke.journeys.sort import sort
from fyke.render.text import EventText

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_KINDS: dict[str, st.SearchStrategy[Any]] = {
    "string": _text,
    "list<string>": st.lists(st.none() | _text, max_size=2),
    "binary": st.binary(max_size=20),
    "bool": st.booleans(),
}


def _values(column: Column) -> st.SearchStrategy[Any]:
    if column.type in _KINDS:
        return _KINDS[column.type]
    bits = int(column.type.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if column.type.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.sampled_from([0, 1, low, high])


_rows = st.fixed_dictionaries(
    {
        "timestamp_ns": st.sampled_from([0, 5, 2**63, 2**64 - 1]),
        "cpu": st.none() | st.integers(0, 2),
        **{
            s.name: st.none() | st.fixed_dictionaries({c.name: st.none() | _values(c) for c in s.columns})
            for s in sections()
        },
    }
)


def _by_number(table: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Return it as it is read from a file, with strings as numbers."""
    encoder = Encoder(arrow_schema(), None)
    with tempfile.TemporaryFile() as file:
        file.write(encoder.header() + encoder.frame(table))
        file.seek(0)
        part = ArrowPart("a file", file)
        part.keep_codes()
        return list(part.batches())


@pytest.mark.parametrize("multi_line", [True, False])
@pytest.mark.parametrize("series", [True, False])
@settings(max_examples=25, deadline=None)
@given(st.lists(_rows, max_size=6), st.none() | st.integers(-(2**63), 2**63 - 1))
def test_any_event_has_harmless_text(
    multi_line: bool, series: bool, rows: list[dict[str, Any]], offset: int | None
) -> None:
    made = EventText(Style(multi_line, True, offset), series=series)
    table = batch(rows)
    pieces = [bytes(p) for p in made.batch(table)] + [made.end()]
    shown = b"".join(pieces).decode()
    assert all(c.isprintable() or c == "\n" for c in shown)
    again = EventText(Style(multi_line, True, offset), series=series)
    assert b"".join([*(bytes(p) for b in _by_number(table) for p in again.batch(b)), again.end()]) == (
        shown.encode()
    )
    closed = sum(row["closing"] is not None for row in rows)
    if not series:
        assert shown.count("\n\n" if multi_line else "\n") >= len(rows) - closed


@settings(max_examples=25, deadline=None)
@given(st.lists(_rows, max_size=6))
def test_any_table_can_be_sorted(rows: list[dict[str, Any]]) -> None:
    made = EventText(Style(), series=True)
    seen = 0
    for sorted_batch in sort([batch(rows)], arrow_schema()):
        seen += len(sorted_batch)
        b"".join(bytes(p) for p in made.batch(sorted_batch)).decode()
    assert seen == len(rows)
