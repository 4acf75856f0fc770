from __future__ import annotations

import time
from pathlib import Path

import pytest

from fyke.kernel.machine import clock_monotonic_offset_ns, machine, parse_cpu_list, possible_cpus


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", (0,)), ("0-3\n", (0, 1, 2, 3)), ("0-1,4,6-7\n", (0, 1, 4, 6, 7))]
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["", "all", "0-", "-1"])
def test_what_is_no_cpu_list_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_cpu_list(text)


def test_possible_cpus_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "possible").write_text("0,2\n")
    assert possible_cpus(tmp_path / "possible") == (0, 2)


def test_the_clock_offset_turns_monotonic_into_wall_time() -> None:
    offset = clock_monotonic_offset_ns()
    assert abs(time.monotonic_ns() + offset - time.time_ns()) < 50_000_000


def test_the_machine_is_named() -> None:
    facts = machine()
    assert facts.kernel_release
    assert facts.hardware_name
