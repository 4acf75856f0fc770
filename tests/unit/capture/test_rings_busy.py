"""Rings of which a record is still being written: how far the stream goes meanwhile, and at the end."""

from __future__ import annotations

import pytest
from made_ring import drain, rings_of, times

from fyke.capture import rings as module


def test_a_record_being_written_holds_back_what_is_younger() -> None:
    with rings_of(2) as (rings, made):
        made[0].put(100)
        made[0].put(200)
        busy = made[0].reserve(300, 0)
        made[0].put(400)
        made[1].put(150)
        made[1].put(350)
        assert times(rings.take(10**6)) == [100, 150]
        assert not rings.more  # looking again at once wouldn't help
        assert busy is not None
        made[0].commit(busy)
        assert times(rings.take(10**6)) == [200, 300, 350, 400]
        assert rings.late == 0


def test_a_ring_whose_first_record_is_being_written_goes_no_further_than_it_has_given() -> None:
    """What it has is younger than what it gave last, but may be older than what the others have."""
    with rings_of(2) as (rings, made):
        made[0].put(100)
        assert times(rings.take(10**6)) == [100]
        busy = made[0].reserve(200, 0)
        assert busy is not None
        made[0].put(260)
        for stamp in (90, 150, 250):
            made[1].put(stamp)
        assert times(rings.take(10**6)) == [90]
        assert not rings.more
        made[1].put(300)
        assert rings.take(10**6) is None
        made[0].commit(busy)
        assert times(rings.take(10**6)) == [150, 200, 250, 260, 300]
        assert rings.late == 1  # 90 is older than what had been given


def test_what_others_have_waits_for_all_that_a_ring_gave_until_it_gives_more() -> None:
    """The bound is each ring's own, and the lowest one counts."""
    with rings_of(3) as (rings, made):
        for cpu, stamp in enumerate((300, 100, 200)):
            made[cpu].put(stamp)
        assert times(rings.take(10**6)) == [100, 200, 300]
        first, second = made[1].reserve(310, 0), made[2].reserve(330, 0)
        assert first is not None
        assert second is not None
        made[0].put(320)
        made[0].put(340)
        assert rings.take(10**6) is None
        made[1].commit(first)
        assert rings.take(10**6) is None  # the other is still being written
        made[2].commit(second)
        assert times(rings.take(10**6)) == [310, 320, 330, 340]
        assert rings.late == 0


def test_a_ring_that_never_gave_anything_holds_back_no_more_than_the_slack() -> None:
    with rings_of(2) as (rings, made):
        busy = made[0].reserve(9000, 0)
        assert busy is not None
        made[1].put(5000)
        made[1].put(9500)
        assert times(rings.take(9600)) == [5000]
        made[0].commit(busy)
        assert times(rings.take(10_600)) == [9000, 9500]
        assert rings.late == 0


def test_at_the_end_a_record_that_is_never_finished_costs_no_other_cpus_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LAST_WAIT_SECONDS", 0.01)
    with rings_of(2) as (rings, made):
        made[0].put(100)
        made[0].reserve(200, 0)
        for stamp in (50, 150, 250):
            made[1].put(stamp)
        assert drain(rings) == [50, 100, 150, 250]


def test_at_the_end_a_record_that_is_being_written_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with rings_of(1) as (rings, made):
        busy = made[0].reserve(100, 0)
        made[0].put(200)
        assert busy is not None
        naps: list[float] = []

        def finish_meanwhile(seconds: float) -> None:
            naps.append(seconds)
            made[0].commit(busy)

        monkeypatch.setattr(module.time, "sleep", finish_meanwhile)
        assert drain(rings) == [100, 200]
        assert len(naps) == 1
