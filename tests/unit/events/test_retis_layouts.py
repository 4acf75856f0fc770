"""Lines laid out as earlier ones: taken without a search, and never for what they aren't."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_both_ways import read, same, taken, write
from retis_samples import EVENT

from fyke.events.retis import layouts
from fyke.events.retis.fast import FastReader

LINES = 40  # so many lines of a shape are several blocks

pytestmark = pytest.mark.usefixtures("small_blocks")


def line_of(comm: str = "ping", pid: int = 10, length: int = 84, name: str = "eth0") -> bytes:
    event: dict[str, Any] = copy.deepcopy(EVENT)
    event["common"]["task"] |= {"comm": comm, "pid": pid}
    event["skb"]["meta"]["len"] = length
    event["dev"]["name"] = name
    return json.dumps(event, separators=(",", ":")).encode()


def searched(retis_file: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many events of a file were not guessed."""
    counts = []
    real = FastReader._searched

    def counted(self: FastReader, block: Any, events: Any, rest: Any) -> Any:
        counts.append(len(rest))
        return real(self, block, events, rest)

    with monkeypatch.context() as patch:
        patch.setattr(FastReader, "_searched", counted)
        read(retis_file, 1)
    return sum(counts)


def test_what_is_laid_out_as_before_is_not_searched(
    retis_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(retis_file, [line_of(pid=10 + n) for n in range(LINES)])
    assert searched(retis_file, monkeypatch) <= 5, "the first block"
    same(retis_file)


def test_layouts_of_one_length_are_told_apart(retis_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [
        line_of("ping", 10, 840, "eth0"),
        line_of("pings", 1, 840, "eth0"),
        line_of("pings", 10, 84, "eth0"),
        line_of("ping", 100, 84, "eth0"),
    ]
    assert len({len(way) for way in ways}) == 1
    assert len(ways) == layouts.WAYS
    write(retis_file, ways * LINES)
    assert searched(retis_file, monkeypatch) < 30
    same(retis_file)
    write(
        retis_file, [*ways * LINES, *[line_of("pi", 10, 84, "eth000")] * LINES]
    )  # one more than are remembered
    same(retis_file)


@pytest.mark.parametrize(
    "odd",
    [
        line_of(comm='p"g"'),  # escaped; then as long as others without
        line_of().replace(b'"ping"', b'"p""g"'),
        line_of(comm="pingping").replace(b"pingping", b'p","a":"'),
        line_of(comm="pingping").replace(b"pingping", b'p","b":1'),
        line_of(pid=1000).replace(b":1000,", b":1,1,"),
        line_of(pid=1000).replace(b":1000,", b':"10",'),
    ],
)
def test_a_line_of_the_same_length_that_is_another_thing(retis_file: Path, odd: bytes) -> None:
    usual = [line_of(comm="p" * (4 + len(odd) - len(line_of()))), line_of(), line_of(pid=1000)] * LINES
    write(retis_file, [*usual, odd, *usual])
    table, problem, _ = same(retis_file)
    assert len(table) in (len(usual), 2 * len(usual) + 1)
    assert (len(table) == len(usual)) == bool(problem)


def test_quotes_elsewhere_do_not_make_up_for_quotes_in_a_string(retis_file: Path) -> None:
    usual = [line_of(comm="pingping")] * LINES
    odd = line_of(comm="pingping").replace(b"pingping", b'p","a":"')
    write(retis_file, [*usual, "é".encode().join((b'{"common":{"timestamp":1},"x":"', b'"}')), odd, *usual])
    table, problem, _ = same(retis_file)
    assert (len(table), problem) == (2 * LINES + 2, "")
    assert table["task"][LINES + 1].as_py()["comm"] == "p"


VALUES = st.fixed_dictionaries(
    {
        "comm": st.sampled_from(["p", "pi", "pin", "ping", 'p"', "é"]),
        "pid": st.sampled_from([1, 10, 100, 1000, 2**31]),
        "length": st.sampled_from([0, 12, 123, 1234]),
        "name": st.sampled_from(["e", "et", "eth", "eth0"]),
    }
)


@given(few=st.lists(VALUES, min_size=1, max_size=8), order=st.lists(st.integers(0, 7), max_size=60))
@settings(max_examples=25, deadline=None)
def test_any_lengths(retis_file: Path, few: list[dict[str, Any]], order: list[int]) -> None:
    write(retis_file, [line_of(**few[n % len(few)]) for n in order])
    same(retis_file)


def test_when_there_are_too_many_it_begins_anew(retis_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "_MOST", 8)
    lines = [line_of(comm="p" * n, pid=10**m) for n in range(1, 8) for m in range(5)]
    write(retis_file, lines * 3)
    same(retis_file)
    assert taken(retis_file) == (len(lines) * 3, 0)


def test_long_lines_are_not_remembered(retis_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = line_of(comm="p" * 5000)
    longest = line_of(comm="p" * (layouts.MAX_BYTES - len(line_of(comm=""))))
    write(retis_file, [*[long] * 10, *[longest] * 10])
    assert searched(retis_file, monkeypatch) in (11, 12), "the long ones, and the others' first block"
    same(retis_file)
