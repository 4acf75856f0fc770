"""The loop of a collection around a session that follows a script: what ends it, what is written and said."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from made_session import RING_FULL, Script, batch

from fyke.capture import run as module
from fyke.capture.loss import Gap
from fyke.capture.run import Run
from fyke.capture.stopping import Command, StopSignals
from fyke.errors import RunError, UsageError


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    with StopSignals() as found:
        yield found


@pytest.fixture(autouse=True)
def _look_for_loss_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOSS_SECONDS", -1)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def go(script: Script, signals: StopSignals, **settings: Any) -> tuple[Run, list[dict[str, Any]]]:
    """Run the script; return the run and the rows that were written."""
    rows: list[dict[str, Any]] = []
    session: Any = script

    def sink(taken: pa.RecordBatch) -> None:
        assert len(taken), "nothing was written"
        rows.extend(taken.to_pylist())

    run = Run(session, sink, signals, **settings)
    run.go()
    return run, rows


def times(rows: list[dict[str, Any]]) -> list[int]:
    return [r["timestamp_ns"] for r in rows if r["gap"] is None and r["closing"] is None]


def test_a_signal_ends_it_with_all_that_is_there(signals: StopSignals) -> None:
    script = Script(batch(1, 2), None, batch(3), interrupt, rest=(batch(4), batch(5, 6)))
    run, rows = go(script, signals)
    assert times(rows) == [1, 2, 3, 4, 5, 6]
    assert script.stopped
    assert script.watched == [signals.fd]
    assert (run.events, run.reason) == (6, "signal")
    assert [r["closing"] for r in rows[:-1]] == [None] * (len(rows) - 1)
    assert rows[-1]["closing"] == {"events": 6, "lost": 4, "reason": "signal", "probes": "[]"}


def test_twice_is_no_worse_than_once(signals: StopSignals) -> None:
    def both() -> None:
        interrupt()
        interrupt()

    run, rows = go(Script(batch(1), both, rest=(batch(2),)), signals)
    assert times(rows) == [1, 2]
    assert rows[-1]["closing"]["events"] == run.events == 2


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4])])
def test_a_number_of_events_is_exact(signals: StopSignals, count: int, expected: list[int]) -> None:
    run, rows = go(Script(batch(1, 2), batch(3, 4, 5), rest=(batch(6),)), signals, stop_after=count)
    assert times(rows) == expected
    assert (run.events, run.reason) == (count, "count")
    assert rows[-1]["closing"]["events"] == count


def test_the_number_may_be_reached_by_what_comes_last(signals: StopSignals) -> None:
    run, rows = go(Script(batch(1), interrupt, rest=(batch(2, 3), batch(4))), signals, stop_after=2)
    assert times(rows) == [1, 2]
    assert run.reason == "count"


def test_the_end_of_the_command_ends_it(signals: StopSignals, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    command = Command(f"cat {tmp_path / 'go'}")

    def wait_for_it() -> None:
        (tmp_path / "go").write_text("")
        os.waitid(os.P_PIDFD, command.fd, os.WEXITED | os.WNOWAIT)

    script = Script(batch(1), wait_for_it, rest=(batch(2),))
    run, rows = go(script, signals, command=command)
    assert times(rows) == [1, 2]
    assert run.reason == "command"
    assert len(script.watched) == 2


def test_the_command_does_not_outlive_it_and_runs_until_events_have_ended(signals: StopSignals) -> None:
    command = Command("sleep 600")
    states: list[bool] = []

    class Watched(Script):
        def stop(self) -> Iterator[pa.RecordBatch]:
            states.append(command.ended)
            yield from super().stop()

    go(Watched(interrupt), signals, command=command)
    assert states == [False]
    assert command._process is None


@pytest.mark.parametrize("live", [True, False])
def test_batches_are_wanted_at_once_when_somebody_looks(signals: StopSignals, live: bool) -> None:
    script = Script(None, interrupt)
    go(script, signals, live=live)
    assert script.flushed == [live, live]


def test_it_does_not_wait_while_there_is_more(signals: StopSignals) -> None:
    class Busy(Script):
        def wait(self, seconds: float) -> None:
            raise AssertionError("waited")

    script = Busy(batch(1), interrupt)
    script.more = True
    assert times(go(script, signals)[1]) == [1]


def test_losses_are_written_and_said_while_it_runs(
    signals: StopSignals, caplog: pytest.LogCaptureFixture
) -> None:
    stack = Gap(2, 4, "stack_full", 2, "ip_rcv", "kprobe", 1)
    script = Script(batch(1), batch(2), interrupt, gaps=([RING_FULL], [], [stack, stack], [RING_FULL]))
    with caplog.at_level(logging.WARNING, "fyke"):
        _, rows = go(script, signals)
    found = [r["gap"] and (r["gap"]["cause"], r["gap"]["count"]) for r in rows]
    assert found == [None, ("ring_full", 3), None, *[("stack_full", 2)] * 2, ("ring_full", 3), None]
    assert caplog.messages == [
        "3 events lost: the buffer is full; make it larger with --buffer, or ask for less",
        "4 stack traces lost: no room for more different ones",
        "3 events lost: the buffer is full; make it larger with --buffer, or ask for less",
    ]


def test_losses_are_not_events(signals: StopSignals) -> None:
    script = Script(batch(1), batch(2), gaps=([RING_FULL], [RING_FULL]))
    assert go(script, signals, stop_after=2)[0].events == 2


def test_every_cause_has_words() -> None:
    from fyke.capture.loss import COUNTED, LOST_EVENTS

    assert {*COUNTED, *LOST_EVENTS} == set(module._CAUSES)


def test_events_out_of_order_are_admitted(signals: StopSignals, caplog: pytest.LogCaptureFixture) -> None:
    script = Script(interrupt)
    script.late = 7
    go(script, signals)
    assert caplog.messages == ["7 events came too late to be put in order of time"]


def test_the_ready_file_is_there_when_events_flow(signals: StopSignals, tmp_path: Path) -> None:
    path = tmp_path / "ready"
    assert not path.exists()
    seen: list[bool] = []

    def look() -> None:
        seen.append(path.read_text() == "ready\n")
        interrupt()

    go(Script(look), signals, ready_file=str(path))
    assert seen == [True]


def test_a_ready_file_that_cannot_be_written_ends_the_command(signals: StopSignals, tmp_path: Path) -> None:
    command = Command("sleep 600")
    with pytest.raises(UsageError) as caught:
        go(Script(), signals, ready_file=str(tmp_path / "no" / "ready"), command=command)
    assert caught.value.message == f"can't write --ready-file {tmp_path}/no/ready: No such file or directory"
    assert command._process is None


def test_a_sink_that_fails_ends_the_command(signals: StopSignals) -> None:
    command = Command("sleep 600")

    def full(_batch: pa.RecordBatch) -> None:
        raise RunError("the disk is full")

    session: Any = Script(batch(1))
    with pytest.raises(RunError, match="the disk is full"):
        Run(session, full, signals, command=command).go()
    assert command._process is None


def test_nothing_else_ends_it(signals: StopSignals) -> None:
    endless: Callable[[], None] = lambda: None  # noqa: E731
    with pytest.raises(AssertionError, match="nothing ends this collection"):
        go(Script(endless, endless, batch(1)), signals, stop_after=2)
