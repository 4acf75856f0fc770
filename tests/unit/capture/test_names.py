"""Names of raw values while a collection runs: each asked of the kernel once."""

from __future__ import annotations

import struct

import pytest

from fyke.capture import libbpf
from fyke.capture.names import KernelNames

STACKS_FD = 77


class Kernel:
    """Symbols by address, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[int | str] = []
        self.readings = 0

    def read_symbols_again(self) -> Kernel:
        self.readings += 1
        return self

    @property
    def symbols(self) -> Kernel:
        return self

    def symbol(self, address: int) -> str:
        self.asked.append(address)
        ours = {
            1: "bpf_prog_ab12_probe_raw_tracepoint+0x1f",
            2: "bpf_trace_run2+0x66",
            3: "0xffffffffc0de0010",
            4: "came_later+0x4" if self.readings else "0x4",
        }
        return ours.get(address, f"function_{address}+0x4")

    def enum(self, name: str) -> dict[int, str]:
        self.asked.append(name)
        return {1: "ONE"} if name == "there" else {}


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """The stack map: id -> addresses, innermost first."""
    held: dict[int, list[int]] = {}

    def lookup(fd: int, key: bytes, size: int) -> bytes | None:
        assert (fd, size) == (STACKS_FD, 127 * 8)
        frames = held.get(struct.unpack("=I", key)[0])
        return None if frames is None else struct.pack(f"={len(frames)}Q", *frames).ljust(size, b"\0")

    monkeypatch.setattr(libbpf, "lookup_element", lookup)
    return held


def test_enums_are_asked_once_even_when_there_are_none(kernel: Kernel) -> None:
    names = KernelNames(kernel, -1, -1)
    for _ in range(2):
        assert names.enum("there") == {1: "ONE"}
        assert names.enum("missing") == {}
    assert kernel.asked == ["there", "missing"]


def test_stacks_are_named_frame_by_frame(kernel: Kernel, stacks: dict[int, list[int]]) -> None:
    stacks[0] = [10, 11, 12]
    stacks[9] = [11]
    names = KernelNames(kernel, STACKS_FD, -1)
    assert names.stack(0) == ["function_10+0x4", "function_11+0x4", "function_12+0x4"]
    assert names.stack(9) == ["function_11+0x4"]
    stacks.clear()
    assert names.stack(0) == ["function_10+0x4", "function_11+0x4", "function_12+0x4"]
    assert kernel.asked == [10, 11, 12]


def test_what_is_there_because_we_look_is_left_out_at_the_inner_end_only(
    kernel: Kernel, stacks: dict[int, list[int]]
) -> None:
    stacks[0] = [3, 1, 2, 10, 3, 11]
    assert KernelNames(kernel, STACKS_FD, -1).stack(0) == [
        "function_10+0x4", "0xffffffffc0de0010", "function_11+0x4"
    ]  # fmt: skip


def test_a_stack_of_nothing_else_is_shown_as_it_is(kernel: Kernel, stacks: dict[int, list[int]]) -> None:
    stacks[0] = [3, 2]
    assert KernelNames(kernel, STACKS_FD, -1).stack(0) == ["0xffffffffc0de0010", "bpf_trace_run2+0x66"]


@pytest.mark.parametrize("stack_id", [-1, -14, -17])
def test_an_error_is_no_stack(kernel: Kernel, stack_id: int) -> None:
    assert KernelNames(kernel, -1, -1).stack(stack_id) is None


def test_a_stack_that_is_gone_or_empty_is_none(kernel: Kernel, stacks: dict[int, list[int]]) -> None:
    stacks[5] = []
    names = KernelNames(kernel, STACKS_FD, -1)
    assert names.stack(4) is None
    assert names.stack(5) is None


def test_a_full_stack_keeps_its_outermost_frame(kernel: Kernel, stacks: dict[int, list[int]]) -> None:
    stacks[1] = list(range(100, 227))
    frames = KernelNames(kernel, STACKS_FD, -1).stack(1)
    assert frames is not None
    assert (len(frames), frames[-1]) == (127, "function_226+0x4")


def test_symbols_of_modules_that_came_later(kernel: Kernel) -> None:
    names = KernelNames(kernel, -1, -1)
    assert [names.symbol(4), names.symbol(4), names.symbol(7)] == ["came_later+0x4"] * 2 + ["function_7+0x4"]
    assert kernel.readings == 1
    for _ in range(20):
        assert names.symbol(3) == "0xffffffffc0de0010"
    assert kernel.readings == 5, "reading them costs much"


def test_names_are_read_when_one_is_new(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {5 << 32: b"filter", 6: b"a\xffb"}
    reads = []

    def elements(fd: int, key_bytes: int, value_bytes: int, entries: int) -> tuple[bytes, bytes, int]:
        reads.append((fd, key_bytes, value_bytes))
        keys = b"".join(name.ljust(128, b"\0") for name in held.values())
        return keys, struct.pack(f"={len(held)}Q", *held), len(held)

    monkeypatch.setattr(libbpf, "elements", elements)
    names = KernelNames(kernel, -1, 78)
    assert [names.name(number) for number in (0, 5 << 32, 6, 5 << 32)] == [
        None,
        "filter",
        "a\\xffb",
        "filter",
    ]
    held[7] = b"later"
    assert names.name(7) == "later"
    assert reads == [(78, 128, 8)] * 2


def test_rules_are_those_of_who_keeps_them(kernel: Kernel) -> None:
    class Rules:
        def rule(self, netns: int, table: int, handle: int) -> str | None:
            return f"{netns} {table} {handle}" if handle else None

    names = KernelNames(kernel, -1, -1, Rules())
    assert (names.nft_rule(1, 2, 3), names.nft_rule(1, 2, 0)) == ("1 2 3", None)
    assert KernelNames(kernel, -1, -1).nft_rule(1, 2, 3) is None
