"""When rules are looked for, and what is kept of them, with a reader made up here."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fyke.capture import rulesets
from fyke.capture.rulesets import Rulesets
from fyke.kernel import netns, ruleset_reader
from fyke.kernel.ruleset_reader import Ruleset, Unreadable
from live.waiting import eventually

HERE = 4711


class FakeReader:
    answers: Callable[[Ruleset | None], Ruleset]
    reads = 0
    closed = 0

    def read(self, _descriptor: int, known: Ruleset | None) -> Ruleset:
        FakeReader.reads += 1
        return FakeReader.answers(known)

    def close(self) -> None:
        FakeReader.closed += 1


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rulesets]:
    def opened(inode: int) -> int:
        if inode != HERE:
            raise LookupError(inode)
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(ruleset_reader, "Reader", FakeReader)
    monkeypatch.setattr(netns, "open_namespace", opened)
    monkeypatch.setattr(rulesets, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(rulesets, "POLL_SHARE", 1)
    monkeypatch.setattr(rulesets, "AGAIN_SECONDS", 0.01)
    FakeReader.reads = FakeReader.closed = 0
    made = Rulesets()
    yield made
    made.close()


def answer(*rulesets_: Ruleset) -> None:
    """Give these one after the other, and then the last again, as not changed."""
    left = list(rulesets_)

    def answers(known: Ruleset | None) -> Ruleset:
        if known and len(left) == 1 and known.generation == left[0].generation:
            return Ruleset(known.cookie, known.generation, None)
        return left.pop(0) if len(left) > 1 else left[0]

    FakeReader.answers = staticmethod(answers)  # type: ignore[assignment]


def test_nothing_is_opened_before_it_is_used() -> None:
    made = Rulesets()
    assert made._thread is None
    made.close()
    assert made.rule(HERE, 1, 2) is None


def test_what_is_known_is_not_asked_for_again(keeper: Rulesets) -> None:
    answer(Ruleset(1, 1, {(1, 2): "drop"}))
    assert keeper.rule(HERE, 1, 2) == "drop"
    assert keeper.rule(HERE, 1, 3) is None
    assert keeper.rule(99, 1, 2) is None
    keeper.close()
    assert (keeper.rule(HERE, 1, 2), keeper.rule(HERE, 1, 4)) == ("drop", None)
    assert FakeReader.closed == 1


def test_texts_of_rules_that_are_gone_are_kept(keeper: Rulesets) -> None:
    answer(Ruleset(1, 1, {(1, 2): "drop"}), Ruleset(1, 2, {(1, 3): "accept"}))
    keeper.start([HERE])
    eventually(lambda: keeper.rule(HERE, 1, 3) == "accept")
    assert keeper.rule(HERE, 1, 2) == "drop"


@pytest.mark.parametrize(
    ("first", "second"), [((1, 5), (2, 6)), ((0, 5), (0, 3))], ids=["another cookie", "younger"]
)
def test_the_number_of_a_namespace_given_to_another(
    keeper: Rulesets, first: tuple[int, int], second: tuple[int, int]
) -> None:
    answer(Ruleset(*first, {(1, 2): "drop"}), Ruleset(*second, {(1, 3): "accept"}))
    keeper.start([HERE])
    eventually(lambda: keeper.rule(HERE, 1, 3) == "accept")
    assert keeper.rule(HERE, 1, 2) is None


def test_not_too_many_texts_are_kept(keeper: Rulesets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulesets, "KEPT_TEXTS", 10)
    answer(*(Ruleset(1, n, {(1, n): "drop"}) for n in range(1, 50)))
    keeper.start([HERE])
    eventually(lambda: keeper.rule(HERE, 1, 49) == "drop")
    assert len(keeper._texts[HERE]) <= 12


def test_it_says_once_why_there_are_no_texts(keeper: Rulesets, caplog: pytest.LogCaptureFixture) -> None:
    def answers(_known: Ruleset | None) -> Ruleset:
        raise Unreadable("the library isn't installed", fatal=True)

    FakeReader.answers = staticmethod(answers)  # type: ignore[assignment]
    assert keeper.rule(HERE, 1, 2) is None
    assert keeper.rule(HERE, 1, 3) is None
    assert FakeReader.reads == 1
    assert [r.message for r in caplog.records] == [
        "rules of nftables are shown by their handles only: the library isn't installed"
    ]


def test_what_can_not_be_read_now_is_tried_again(keeper: Rulesets, caplog: pytest.LogCaptureFixture) -> None:
    def answers(_known: Ruleset | None) -> Ruleset:
        if FakeReader.reads < 3:
            raise Unreadable("the library failed on it")
        return Ruleset(1, 1, {(1, 2): "drop"})

    FakeReader.answers = staticmethod(answers)  # type: ignore[assignment]
    eventually(lambda: keeper.rule(HERE, 1, 2) == "drop")
    assert len(caplog.records) == 1


def test_nobody_waits_twice_for_a_reader_that_hangs(
    keeper: Rulesets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulesets, "PATIENCE_SECONDS", 0.2)
    held = threading.Event()

    def answers(_known: Ruleset | None) -> Ruleset:
        held.wait(30)
        return Ruleset(1, 1, {(1, 2): "drop"})

    FakeReader.answers = staticmethod(answers)  # type: ignore[assignment]
    began = time.monotonic()
    assert [keeper.rule(HERE, 1, handle) for handle in range(50)] == [None] * 50
    assert time.monotonic() - began < 5, "not fifty times 0.2 s"
    held.set()
    eventually(lambda: keeper.rule(HERE, 1, 2) == "drop")
