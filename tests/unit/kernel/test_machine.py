from __future__ import annotations

import time
from pathlib import Path

import pytest

from fyke.kernel import machine as module
from fyke.kernel.machine import (
    clock_monotonic_offset_ns,
    kernel_clock_ns,
    machine,
    parse_cpu_list,
    possible_cpus,
)


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


def test_the_clock_offset_turns_the_kernels_clock_into_wall_time() -> None:
    offset = clock_monotonic_offset_ns()
    assert is_now(offset)


def is_now(offset_ns: int) -> bool:
    """Whether the offset holds, on a machine that may do something else between two looks at its clocks."""
    before = kernel_clock_ns()
    wall = time.time_ns()
    after = kernel_clock_ns()
    return before + offset_ns - 50_000_000 < wall < after + offset_ns + 50_000_000


def in_namespace(monkeypatch: pytest.MonkeyPatch, offsets: Path) -> None:
    """Let this process have the offsets of a file, as the kernel shows it."""
    read = module._namespace_offset_ns.__wrapped__
    monkeypatch.setattr(module, "_namespace_offset_ns", lambda: read(offsets))


@pytest.mark.parametrize(
    ("text", "offset_ns"),
    [
        ("monotonic           0         0\nboottime            0         0\n", 0),
        ("monotonic      604800 500000000\nboottime         7200         3\n", 604_800_500_000_000),
        # Back in time: the seconds are rounded down, the nanoseconds forward.
        ("monotonic          -2 999999999\nboottime            5         0\n", -1_000_000_001),
        ("boottime            5         0\n", 0),
        ("", 0),
    ],
)
def test_in_a_time_namespace_the_kernel_has_its_own_time(
    text: str, offset_ns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timens_offsets").write_text(text)
    in_namespace(monkeypatch, tmp_path / "timens_offsets")
    before = time.monotonic_ns()
    found = kernel_clock_ns()
    after = time.monotonic_ns()
    assert before <= found + offset_ns <= after
    assert is_now(clock_monotonic_offset_ns())


def test_a_kernel_without_time_namespaces_has_one_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_namespace(monkeypatch, tmp_path / "missing")
    before = time.monotonic_ns()
    assert before <= kernel_clock_ns() <= time.monotonic_ns()


def test_the_offset_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path("/proc/self/timens_offsets") == module.TIME_OFFSETS
    read = module._namespace_offset_ns.__wrapped__
    assert module._namespace_offset_ns() == read() == read(module.TIME_OFFSETS)


def test_the_machine_is_named() -> None:
    facts = machine()
    assert facts.kernel_release
    assert facts.hardware_name
