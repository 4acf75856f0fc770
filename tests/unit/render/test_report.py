from __future__ import annotations

import pytest

from fyke.render.report import aligned, duration, histogram, way


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (0.5, "0 ns"),
        (999, "999 ns"),
        (1000, "1.00 us"),
        (12_345, "12.3 us"),
        (999_400, "999 us"),
        (1_500_000, "1.50 ms"),
        (2_000_000_000, "2.00 s"),
        (3_600_000_000_000, "3600 s"),
        (-1500, "-1.50 us"),
    ],
)
def test_durations_have_three_digits_and_a_unit(ns: float, text: str) -> None:
    assert duration(ns) == text


def test_columns_are_aligned_and_names_are_safe() -> None:
    lines = aligned(["hop", "count"], [["a > b", "5"], ["x\x1b[31m", "1234"]])
    assert lines == ["hop        count", "a > b          5", "x\\x1b[31m   1234"]


def test_a_histogram_shows_empty_buckets_between() -> None:
    lines = histogram({10: 1, 12: 4})
    assert [line.split()[-2] if line.endswith("█") else line.split()[-1] for line in lines] == ["1", "0", "4"]
    assert lines[2].count("█") == 40
    assert lines[0].count("█") == 10
    assert histogram({}) == []


def test_a_way_is_one_line() -> None:
    assert way(["a", "b\n"]) == "a > b\\x0a"
