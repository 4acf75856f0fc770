"""Signals and commands that end a collection, with real ones of both."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fyke.capture.stopping import Command, StopSignals
from fyke.errors import RunError

SECONDS = 20  # how long anything may take on a busy machine before it counts as never


def becomes_readable(fd: int, seconds: float = SECONDS) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


def becomes_true(test: Callable[[], bool]) -> bool:
    end = time.monotonic() + SECONDS
    while not test() and time.monotonic() < end:
        time.sleep(0.005)
    return test()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_counted_and_ends_a_wait(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.count == 0
        assert not becomes_readable(signals.fd, 0)
        os.kill(os.getpid(), number)
        assert becomes_readable(signals.fd)
        assert signals.count == 1
        os.kill(os.getpid(), number)
        assert becomes_true(lambda: signals.count == 2)
    assert signal.getsignal(number) is before


def test_many_signals_are_no_worse_than_one() -> None:
    with StopSignals() as signals:
        for _ in range(70_000):  # more than fit into the pipe
            signal.raise_signal(signal.SIGINT)
        assert signals.count == 70_000
        assert becomes_readable(signals.fd, 0)


def test_everything_is_given_back() -> None:
    def own(_number: int, _frame: object) -> None: ...

    reading, writing = os.pipe2(os.O_NONBLOCK)
    handler = signal.signal(signal.SIGTERM, own)
    wakeup = signal.set_wakeup_fd(writing)
    try:
        with StopSignals() as signals:
            assert signal.getsignal(signal.SIGTERM) is not own
            fd = signals.fd
        assert signal.getsignal(signal.SIGTERM) is own
        assert signal.set_wakeup_fd(writing) == writing
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, handler)
        os.close(reading)
        os.close(writing)


def test_an_ignored_hangup_stays_ignored() -> None:
    """`nohup fyke collect` is to survive its terminal."""
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.count == 0
            signal.raise_signal(signal.SIGINT)
            assert signals.count == 1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, handler)


def test_a_command_that_ends() -> None:
    command = Command("exit 3")
    assert not command.ended
    command.start()
    assert becomes_readable(command.fd)
    assert command.ended
    fd = command.fd
    command.stop()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    command.stop()


def test_a_command_has_the_environment_that_is_given(tmp_path: Path) -> None:
    command = Command(f"echo $A$B > '{tmp_path}/told'", {"PATH": os.environ["PATH"], "B": "ours"})
    command.start()
    assert becomes_readable(command.fd)
    assert (tmp_path / "told").read_text() == "ours\n"
    command.stop()


def test_a_command_is_a_shells_and_its_output_goes_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    command = Command(
        f"echo out; echo err >&2; readlink /proc/self/fd/0 /proc/self/fd/1 > '{there}'; true && cat"
    )
    command.start()
    assert becomes_readable(command.fd), "cat reads its end of file at once"
    command.stop()
    assert there.read_text() == f"/dev/null\n{there}\n"
    assert capfd.readouterr() == ("", "")


def test_what_still_runs_is_ended_children_and_all(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    command = Command(f"sleep 600 & echo $$ $! > '{file}'; wait")
    command.start()
    assert becomes_true(lambda: file.exists() and len(file.read_text().split()) == 2)
    shell, child = map(int, file.read_text().split())
    assert not command.ended
    assert os.getpgid(child) == shell != os.getpgid(0)  # Ctrl-C in the terminal doesn't reach it
    started = time.monotonic()
    command.stop()
    assert time.monotonic() - started < 1.5
    assert becomes_true(lambda: not Path(f"/proc/{child}").exists() or _is_dead(child))
    assert not Path(f"/proc/{shell}").exists()


def test_a_command_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fyke.capture.stopping.PATIENCE_SECONDS", 0.2)
    file = tmp_path / "deaf"
    command = Command(f"trap '' TERM; echo > '{file}'; while :; do sleep 600; done")
    command.start()
    assert becomes_true(file.exists)
    started = time.monotonic()
    command.stop()
    assert 0.2 <= time.monotonic() - started < SECONDS
    command.stop()


def test_a_command_that_was_not_started_needs_no_stop() -> None:
    command = Command("true")
    command.stop()
    assert not command.ended


def test_without_a_shell_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RunError, match=r"^can't run the command of --cmd: No such file or directory$"):
        Command("true").start()


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("true", ""),
        ("exit 3", "ended with status 3"),
        ("no-such-command-here", "ended with status 127 (no such command)"),
        ("kill -9 $$", "was killed by signal 9 (SIGKILL)"),
    ],
)
def test_how_a_command_failed(text: str, failure: str) -> None:
    command = Command(text)
    command.start()
    select.select([command.fd], [], [], 10)
    assert command.ended
    assert command.failure == failure
    command.stop()
