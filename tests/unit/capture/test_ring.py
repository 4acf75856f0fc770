"""Reading one ring: what is ready, in order, once; nothing else; and its space given back."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from made_ring import RECORD_BYTES, STRIDE, MadeRing

from fyke.capture import rings
from fyke.capture.rings import Ring


@pytest.fixture
def made() -> Iterator[MadeRing]:
    ring = MadeRing()
    yield ring
    ring.close()


@pytest.fixture
def ring(made: MadeRing) -> Iterator[Ring]:
    reader = Ring(made.fd, made.size, RECORD_BYTES)
    yield reader
    reader.close()


def numbers(taken: np.ndarray | None) -> list[int]:  # type: ignore[type-arg]
    if taken is None:
        return []
    assert taken.shape[1] == RECORD_BYTES
    assert (taken[:, 16:] == 0xEE).all()
    return [number for (number,) in struct.iter_unpack("=8xQ8x", taken.tobytes())]


def test_an_empty_ring(ring: Ring) -> None:
    assert ring.take() == (None, False)


def test_what_is_ready_is_taken_once_and_given_back(made: MadeRing, ring: Ring) -> None:
    for number in range(5):
        made.put(100, number)
    taken, stopped = ring.take()
    assert (numbers(taken), stopped) == ([0, 1, 2, 3, 4], False)
    assert made.consumed == made.produced == 5 * STRIDE
    assert ring.take() == (None, False)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_what_was_taken_is_ours(made: MadeRing, ring: Ring, count: int) -> None:
    """The kernel writes into the space as soon as it is given back."""
    for number in range(count):
        made.put(100, number)
    taken, _ = ring.take()
    made.scribble()
    assert numbers(taken) == list(range(count))


def test_a_record_that_is_being_written_is_waited_for(made: MadeRing, ring: Ring) -> None:
    made.put(1, 1)
    busy = made.reserve(2, 2)
    made.put(3, 3)
    taken, stopped = ring.take()
    assert (numbers(taken), stopped) == ([1], True)
    assert made.consumed == STRIDE
    taken, stopped = ring.take()
    assert (taken, stopped) == (None, True)
    assert busy is not None
    made.commit(busy)
    taken, stopped = ring.take()
    assert (numbers(taken), stopped) == ([2, 3], False)


def test_discarded_records_are_left_out_and_their_space_given_back(made: MadeRing, ring: Ring) -> None:
    for number in range(6):
        made.put(number, number, discard=number % 3 != 1)
    taken, stopped = ring.take()
    assert (numbers(taken), stopped) == ([1, 4], False)
    assert made.consumed == 6 * STRIDE
    made.put(7, 7, discard=True)
    assert ring.take() == (None, False)
    assert made.consumed == 7 * STRIDE


def test_records_at_the_end_go_on_at_the_beginning(made: MadeRing, ring: Ring) -> None:
    assert made.size % STRIDE == 0
    start = made.size - 12  # so that a header is cut in two
    made.start_at(start)
    again = Ring(made.fd, made.size, RECORD_BYTES)
    for number in range(20):
        made.put(number, number)
    taken, stopped = again.take()
    assert (numbers(taken), stopped) == (list(range(20)), False)
    assert made.consumed == start + 20 * STRIDE
    again.close()


def test_a_full_ring_is_taken_whole(made: MadeRing, ring: Ring) -> None:
    made.start_at(64 * STRIDE)
    again = Ring(made.fd, made.size, RECORD_BYTES)
    count = 0
    while made.put(count, count):
        count += 1
    assert count == made.size // STRIDE - 1
    assert numbers(again.take()[0]) == list(range(count))
    assert made.put(0, 0)
    again.close()


def test_positions_beyond_32_bits(made: MadeRing) -> None:
    made.start_at((1 << 40) + 8 * 3)
    reader = Ring(made.fd, made.size, RECORD_BYTES)
    made.put(1, 1)
    assert numbers(reader.take()[0]) == [1]
    assert made.consumed == (1 << 40) + 8 * 3 + STRIDE
    reader.close()


def test_no_more_than_so_many_at_a_time(made: MadeRing, ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "MAX_RECORDS", 4)
    for number in range(9):
        made.put(number, number)
    found = [ring.take() for _ in range(4)]
    assert [numbers(taken) for taken, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8], []]
    assert [stopped for _, stopped in found] == [True, True, False, False]


def test_looking_again_at_once_is_for_what_was_left_not_for_what_is_being_written(
    made: MadeRing, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "MAX_RECORDS", 4)
    for number in range(6):
        made.put(number, number)
    ring.take()
    assert ring.more
    busy = made.reserve(6, 6)
    for number in range(7, 12):
        made.put(number, number)
    assert (numbers(ring.take()[0]), ring.more) == ([4, 5], False)
    assert (ring.take(), ring.more) == ((None, True), False)
    assert busy is not None
    made.commit(busy)
    assert (numbers(ring.take()[0]), ring.more) == ([6, 7, 8, 9], True)
    assert (numbers(ring.take()[0]), ring.more) == ([10, 11], False)


def test_a_closed_ring_leaves_no_mapping(made: MadeRing) -> None:
    reader = Ring(made.fd, made.size, RECORD_BYTES)
    made.put(1, 1)
    taken, _ = reader.take()
    reader.close()
    assert numbers(taken) == [1]
    with open("/proc/self/maps") as maps:
        assert maps.read().count("memfd:ring") == 1  # the test's own


class RingMachine(RuleBasedStateMachine):
    """A ring against a list: records busy, committed, discarded and taken in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.made = MadeRing()
        self.made.start_at(self.made.size - 5 * STRIDE - 16)
        self.ring = Ring(self.made.fd, self.made.size, RECORD_BYTES)
        self.model: list[list[int | str]] = []  # [number, position, state], the oldest first
        self.next = 0

    @rule(count=st.integers(1, 60), state=st.sampled_from(["busy", "ready", "discarded"]))
    def write(self, count: int, state: str) -> None:
        for _ in range(count):
            at = self.made.reserve(self.next, self.next)
            if at is None:
                return
            if state != "busy":
                self.made.commit(at, discard=state == "discarded")
            self.model.append([self.next, at, state])
            self.next += 1

    @precondition(lambda self: any(state == "busy" for *_, state in self.model))
    @rule(data=st.data(), discard=st.booleans())
    def finish(self, data: st.DataObject, discard: bool) -> None:
        entry = data.draw(st.sampled_from([e for e in self.model if e[2] == "busy"]))
        self.made.commit(int(entry[1]), discard=discard)
        entry[2] = "discarded" if discard else "ready"

    @rule()
    def take(self) -> None:
        states = [state for *_, state in self.model]
        until = states.index("busy") if "busy" in states else len(states)
        expected = [number for number, _, state in self.model[:until] if state == "ready"]
        taken, stopped = self.ring.take()
        assert numbers(taken) == expected
        assert stopped == (until < len(states))
        self.model = self.model[until:]

    @invariant()
    def space_is_given_back(self) -> None:
        assert self.made.produced - self.made.consumed == len(self.model) * STRIDE

    def teardown(self) -> None:
        self.ring.close()
        self.made.close()


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
