"""All rings as one stream: in time order up to a watermark, complete at the end, what came late counted."""

from __future__ import annotations

import os
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_ring import SLACK_NS, drain, rings_of, times

from fyke.capture import rings as module


def test_nothing_there() -> None:
    with rings_of(2) as (rings, _):
        assert rings.take(10**9) is None
        assert rings.take(None) is None
        assert not rings.more


def test_time_order_across_cpus() -> None:
    with rings_of(3) as (rings, made):
        for cpu, stamps in enumerate(([10, 40, 70], [20, 50], [30, 60, 80])):
            for stamp in stamps:
                made[cpu].put(stamp)
        assert times(rings.take(10**6)) == [10, 20, 30, 40, 50, 60, 70, 80]
        assert rings.late == 0


def test_records_of_one_time_keep_the_order_of_their_cpu() -> None:
    with rings_of(2) as (rings, made):
        for number in range(5):
            made[0].put(7, number)
        made[1].put(7, 100)
        taken = rings.take(10**6)
        assert taken is not None
        order = [number for (number,) in struct.iter_unpack("=8xQ8x", taken.tobytes())]
        assert [n for n in order if n < 100] == [0, 1, 2, 3, 4]


def test_what_is_younger_than_the_slack_waits() -> None:
    with rings_of(2) as (rings, made):
        made[0].put(1000)
        made[0].put(3000)
        assert times(rings.take(2500)) == [1000]
        # On its way for all that time: this is what waiting is for.
        made[1].put(2000)
        assert times(rings.take(3500)) == [2000]
        assert rings.take(4000) is None
        assert times(rings.take(4001)) == [3000]
        assert rings.late == 0


@pytest.mark.parametrize("base", [10_000, 1 << 53, 1 << 62, (1 << 63) + 5])
def test_the_watermark_is_exact_however_long_the_machine_is_up(base: int) -> None:
    with rings_of(1) as (rings, made):
        for stamp in (base, base + 1, base + 2):
            made[0].put(stamp)
        assert times(rings.take(base + SLACK_NS + 1)) == [base]
        assert times(rings.take(base + SLACK_NS + 2)) == [base + 1]
        assert times(rings.take(base + SLACK_NS + 3)) == [base + 2]


def test_the_end_takes_everything() -> None:
    with rings_of(2) as (rings, made):
        made[0].put(5000)
        made[1].put(9000)
        assert rings.take(5500) is None
        made[0].put(9999)
        assert drain(rings) == [5000, 9000, 9999]
        assert drain(rings) == []


@pytest.mark.parametrize("discard", [(), (3,), (0, 1, 2, 3), tuple(range(30)), tuple(range(0, 30, 2))])
def test_the_end_takes_everything_however_much_has_piled_up(
    monkeypatch: pytest.MonkeyPatch, discard: tuple[int, ...]
) -> None:
    """With discarded records among those looked at in one go, too."""
    monkeypatch.setattr(module, "MAX_RECORDS", 4)
    with rings_of(2) as (rings, made):
        for number in range(30):
            made[0].put(10 * number, discard=number in discard)
        made[1].put(155)
        expected = sorted([10 * n for n in range(30) if n not in discard] + [155])
        assert drain(rings) == expected
        assert rings.late == 0


def test_order_holds_when_a_ring_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other CPUs have that is younger than the end of a part waits for the next part."""
    monkeypatch.setattr(module, "MAX_RECORDS", 4)
    for discard in ((), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 6, 7)):
        with rings_of(2) as (rings, made):
            for number in range(10):
                made[0].put(10 * number, discard=number in discard)
            for stamp in (5, 45, 85, 95):
                made[1].put(stamp)
            found = times(rings.take(10**6))
            assert rings.more == (len(discard) < 8)
            while rings.more:
                found += times(rings.take(10**6))
            assert found == sorted([10 * n for n in range(10) if n not in discard] + [5, 45, 85, 95])
            assert rings.late == 0


def test_what_comes_late_is_given_all_the_same_and_counted() -> None:
    with rings_of(2) as (rings, made):
        made[0].put(5000)
        assert times(rings.take(10_000)) == [5000]
        made[1].put(3000)
        made[1].put(4000)
        made[1].put(5000)
        made[1].put(6000)
        assert times(rings.take(10_000)) == [3000, 4000, 5000, 6000]
        assert rings.late == 2
        made[0].put(5500)
        assert times(rings.take(10_000)) == [5500]
        assert rings.late == 3


def test_a_wait_ends_with_a_watched_descriptor() -> None:
    with rings_of(1) as (rings, _):
        reading, writing = os.pipe()
        rings.watch(reading)
        os.write(writing, b"!")
        started = time.monotonic()
        rings.wait(30)
        assert time.monotonic() - started < 10
        os.close(reading)
        os.close(writing)


# (CPU, time until the next event of any CPU, how long it is on its way)
EVENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 700), st.integers(0, 3000)), max_size=60)


@settings(deadline=None, max_examples=100)
@given(EVENTS, st.lists(st.integers(0, 60), max_size=6), st.sampled_from([3, 4096]), st.booleans())
def test_any_traffic_comes_out_whole_and_in_order(
    events: list[tuple[int, int, int]], looks: list[int], at_once: int, punctual: bool
) -> None:
    """Events are reserved and committed in time; now and then somebody looks."""
    with pytest.MonkeyPatch.context() as patch, rings_of(3) as (rings, made):
        patch.setattr(module, "MAX_RECORDS", at_once)
        clock, batches, put, open_records = SLACK_NS, [], [], []
        for number, (cpu, pause, duration) in enumerate(events):
            clock += pause
            limit = SLACK_NS - 1 if punctual else 3000
            at = made[cpu].reserve(clock, number)
            assert at is not None
            put.append(clock)
            open_records.append((clock + min(duration, limit), cpu, at))
            for entry in [e for e in open_records if e[0] <= clock]:
                made[entry[1]].commit(entry[2])
                open_records.remove(entry)
            if number in looks:
                batch = times(rings.take(clock))
                assert all(stamp < clock - SLACK_NS for stamp in batch)
                batches.append(batch)
        for _, cpu, at in open_records:
            made[cpu].commit(at)
        batches.append(drain(rings))
    assert sorted(stamp for batch in batches for stamp in batch) == put
    late, newest = 0, 0
    for batch in batches[:-1]:
        assert batch == sorted(batch)
        late += sum(stamp < newest for stamp in batch)
        newest = max([newest, *batch])
    if punctual:
        assert rings.late == late == 0
        assert batches[-1] == sorted(batches[-1])
    else:
        assert rings.late >= late
