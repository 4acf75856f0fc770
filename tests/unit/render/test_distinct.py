"""Texts by lookup are the texts one would get one by one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fyke.render.distinct as distinct
from fyke.render.distinct import TextCache, python_values

_COLUMNS = {
    "uint64": st.none() | st.sampled_from([0, 1, 2**63, 2**64 - 1]),
    "int32": st.none() | st.integers(-(2**31), 2**31 - 1),
    "string": st.none() | st.sampled_from(["", "a", "b"]),
    "binary": st.none() | st.binary(max_size=2),
    "bool": st.none() | st.booleans(),
}


def _show(*values: Any) -> str | None:
    return None if all(v is None for v in values) else repr(values)


@st.composite
def tables(draw: st.DrawFn) -> list[pa.Array]:
    rows = draw(st.integers(0, 30))
    kinds = draw(st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=1, max_size=5))
    return [pa.array(draw(st.lists(_COLUMNS[k], min_size=rows, max_size=rows)), k) for k in kinds]


def _even(*columns: pa.Array) -> pa.Array:
    """Return the texts of rows at even places."""
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return pa.array([None if n % 2 else _show(*row) for n, row in enumerate(rows)], pa.string())


@given(tables(), st.integers(0, 5), st.booleans(), st.booleans())
def test_as_one_by_one(columns: list[pa.Array], start: int, by_number: bool, many: bool) -> None:
    cache = TextCache(_show, _even if many else None)
    if by_number:
        columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in columns]
    expected = [_show(*row) for row in zip(*(c.to_pylist() for c in columns), strict=True)]
    made = cache.texts(columns)
    assert (made.to_pylist() if made is not None else [None] * len(expected)) == expected
    sliced = cache.texts([c.slice(start) for c in columns])  # from the cache now
    assert (sliced.to_pylist() if sliced is not None else [None] * len(expected[start:])) == expected[start:]


def test_each_distinct_row_is_formatted_once() -> None:
    calls: list[tuple[int, str]] = []

    def show(number: int, name: str) -> str:
        calls.append((number, name))
        return f"{name}{number}"

    cache = TextCache(show)
    columns = [pa.array([1, 2, 1, 1] * 100), pa.array(["a", "a", "a", "b"] * 100)]
    for _ in range(3):
        made = cache.texts(columns)
        assert made is not None
        assert made.to_pylist() == ["a1", "a2", "a1", "b1"] * 100
    assert sorted(calls) == [(1, "a"), (1, "b"), (2, "a")]


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "CACHE_ENTRIES", 10)
    cache = TextCache(str)
    for start in range(0, 100, 10):
        made = cache.texts([pa.array(range(start, start + 10))])
        assert made is not None
        assert made.to_pylist() == [str(n) for n in range(start, start + 10)]
        assert len(cache._known) <= 20


@given(st.lists(st.none() | st.integers(0, 2**64 - 1)))
def test_python_values(values: list[int | None]) -> None:
    assert python_values(pa.array(values, "uint64")) == values
