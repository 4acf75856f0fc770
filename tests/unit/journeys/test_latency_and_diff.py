"""Hop times and differences of recordings, against a plain computation over the events themselves."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fyke.events.reader import open_events
from fyke.journeys.diff import Difference, difference
from fyke.journeys.latency import Latency, latency
from fyke.journeys.views import Views
from fyke.journeys.views_rows import Rows

CORPUS = Path(__file__).parents[2] / "data" / "retis"
NAMES = ("nat-ping", "nft-verdicts", "bridge-udp")
Row = dict[str, Any]


def recording(name: str) -> str:
    return str(CORPUS / name / "events.json")


@cache
def ways(name: str) -> list[list[Row]]:
    """Return the events of each packet in order of time."""
    packets: dict[Any, list[Row]] = defaultdict(list)
    with open_events(recording(name)) as source:
        rows = [row for batch in source.batches() for row in batch.to_pylist()]
    for number, row in enumerate(rows):
        tracking = row["skb_tracking"]
        packets[(tracking["timestamp_ns"], tracking["orig_head"]) if tracking else number].append(row)
    return [sorted(way, key=lambda row: row["timestamp_ns"]) for way in packets.values()]


def symbols(way: list[Row]) -> tuple[str, ...]:
    return tuple(row["kernel"]["symbol"] for row in way)


@cache
def measured(name: str) -> Latency:
    with Views(Rows(recording(name))) as views:
        return latency(views, slowest=3)


def hop_times(name: str) -> dict[tuple[str, str], list[int]]:
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for way in ways(name):
        for one, next_ in itertools.pairwise(way):
            hop = one["kernel"]["symbol"], next_["kernel"]["symbol"]
            times[hop].append(next_["timestamp_ns"] - one["timestamp_ns"])
    return times


@pytest.mark.parametrize("name", NAMES)
def test_times_of_hops(name: str) -> None:
    found = measured(name)
    expected = hop_times(name)
    assert {(row["from_symbol"], row["to_symbol"]) for row in found.hops} == set(expected)
    for row in found.hops:
        times = expected[row["from_symbol"], row["to_symbol"]]
        assert row["count"] == len(times)
        assert row["max_ns"] == max(times)
        assert row["total_ns"] == sum(times)
        assert row["p50_ns"] == pytest.approx(statistics.median(times))
        if len(times) > 1:
            assert row["p90_ns"] == pytest.approx(statistics.quantiles(times, n=10, method="inclusive")[8])
    totals = [row["total_ns"] for row in found.hops]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_times_of_paths_and_the_slowest_packets(name: str) -> None:
    found = measured(name)
    long_ways = [way for way in ways(name) if len(way) > 1]
    expected: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for way in long_ways:
        expected[symbols(way)].append(way[-1]["timestamp_ns"] - way[0]["timestamp_ns"])
    assert {tuple(row["path"].split(" > ")): row["count"] for row in found.paths} == {
        path: len(times) for path, times in expected.items()
    }
    for row in found.paths:
        times = expected[tuple(row["path"].split(" > "))]
        assert (row["max_ns"], row["p50_ns"]) == (max(times), pytest.approx(statistics.median(times)))
    durations = sorted((ns for times in expected.values() for ns in times), reverse=True)
    assert [row["duration_ns"] for row in found.slowest] == durations[:3]
    assert sum(found.histogram.values()) == len(long_ways)
    assert found.histogram == Counter(max(ns, 1).bit_length() - 1 for ns in durations)


def test_the_longest_hop_of_a_slow_packet() -> None:
    with Views(Rows(recording("nat-ping"))) as views:
        (row,) = latency(views, slowest=1).slowest
    way = max(ways("nat-ping"), key=lambda way: way[-1]["timestamp_ns"] - way[0]["timestamp_ns"])
    hops = [
        (b["timestamp_ns"] - a["timestamp_ns"], a["kernel"]["symbol"], b["kernel"]["symbol"])
        for a, b in itertools.pairwise(way)
    ]
    assert (row["delta_ns"], row["from_symbol"], row["to_symbol"]) == max(hops, key=lambda hop: hop[0])


@cache
def compared(left: str, right: str) -> Difference:
    with Views(Rows(recording(left))) as one, Views(Rows(recording(right))) as other:
        return difference(one, other)


def paths_of(name: str) -> Counter[tuple[str, ...]]:
    """Return the paths; a packet that was dropped ends in its reason."""
    found: Counter[tuple[str, ...]] = Counter()
    for way in ways(name):
        reasons = [row["skb_drop"]["drop_reason"] for row in way if row["skb_drop"]]
        found[(*symbols(way), *(f"drop {reason}" for reason in reasons[:1]))] += 1
    return found


def test_a_recording_and_itself_differ_in_nothing() -> None:
    found = compared("nft-verdicts", "nft-verdicts")
    assert (found.left_only, found.right_only, found.lost) == ([], [], (0, 0))
    assert {p.path: p.left for p in found.both} == paths_of("nft-verdicts")
    assert all(p.left == p.right for p in found.both)
    assert all(hop.ratio == 1 for hop in found.hops if hop.left_p50_ns)


@pytest.mark.parametrize(("left", "right"), [("nat-ping", "nft-verdicts"), ("nft-verdicts", "bridge-udp")])
def test_paths_of_one_side_and_where_they_part(left: str, right: str) -> None:
    found = compared(left, right)
    here, there = paths_of(left), paths_of(right)
    assert {p.path: p.left for p in found.left_only} == {p: n for p, n in here.items() if p not in there}
    assert {p.path: p.right for p in found.right_only} == {p: n for p, n in there.items() if p not in here}
    assert {p.path for p in found.both} == set(here) & set(there)
    for path in found.left_only:
        commons = [_common(path.path, other) for other in there]
        assert path.common == max(commons)
        if path.common:
            assert path.nearest in there
            assert _common(path.path, path.nearest) == path.common


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def test_hops_of_both_sides() -> None:
    found = compared("nat-ping", "nft-verdicts")
    left, right = hop_times("nat-ping"), hop_times("nft-verdicts")
    assert {(hop.from_symbol, hop.to_symbol) for hop in found.hops} == set(left) & set(right)
    for hop in found.hops:
        key = hop.from_symbol, hop.to_symbol
        assert (hop.left_count, hop.right_count) == (len(left[key]), len(right[key]))
        assert hop.left_p50_ns == pytest.approx(statistics.median(left[key]))
        assert hop.right_p50_ns == pytest.approx(statistics.median(right[key]))
