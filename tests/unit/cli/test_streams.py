"""The program as a process: streams that are full or closed, and Ctrl-C at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from cli_samples import environment

FULL = "error: can't write to standard output: No space left on device\n"
CLOSED = "error: can't write to standard output: it is closed\n"


def shell(words: str) -> subprocess.CompletedProcess[str]:
    line = f"exec {sys.executable} -m fyke {words}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), timeout=60)


@pytest.mark.parametrize("words", ["doctor", "--help", "--version", "print --help"])
@pytest.mark.parametrize(("where", "says"), [(">/dev/full", FULL), (">&-", CLOSED), ("<&- >&-", CLOSED)])
def test_stdout_that_cannot_be_written_to(words: str, where: str, says: str) -> None:
    run = shell(f"{words} {where}")
    assert (run.returncode, run.stdout, run.stderr) == (1, "", says)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_stderr_that_cannot_be_written_to_changes_nothing(where: str) -> None:
    run = shell(f"bogus {where}")
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "")
    run = shell(f"--version {where}")
    assert (run.returncode, run.stdout) == (0, "fyke 0.1.0\n")


def test_a_closed_stream_is_not_the_next_file_opened() -> None:
    script = (
        "import os; from fyke.cli.streams import use_streams; use_streams(); "
        "raise SystemExit(os.open(os.devnull, os.O_RDONLY) < 3)"
    )
    line = f"exec {sys.executable} -c '{script}' <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], env=environment(), timeout=60).returncode == 0


INTERRUPTED = """
import os, signal, sys
from fyke import __main__ as program
import fyke.cli.main as frame
def strike(*words):
    os.kill(os.getpid(), signal.SIGINT)
{place}
program.entry()
"""


def interrupted(place: str) -> subprocess.CompletedProcess[str]:
    script = INTERRUPTED.format(place=place)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), timeout=60
    )


@pytest.mark.parametrize(
    ("place", "code"),
    [
        # While modules are loaded: nothing of Python's is there to show a traceback.
        ("import fyke.cli.streams as s; s.use_streams = strike", -signal.SIGINT),
        ("frame._split = strike", 130),
        # After the command.
        ("import atexit; atexit.register(strike); frame.main = lambda argv: 7", 7),
        # It was ignored by whoever started the program.
        (
            "signal.signal(signal.SIGINT, signal.SIG_IGN); "
            "frame._run = lambda *words: strike() or 5; sys.argv = ['fyke', 'doctor']",
            5,
        ),
    ],
)
def test_ctrl_c_at_any_time(place: str, code: int) -> None:
    run = interrupted(place)
    assert (run.returncode, run.stdout, run.stderr) == (code, "", "")


def test_a_slow_reader_that_does_not_block_gets_everything() -> None:
    script = (
        "import os, sys; from fyke.cli.streams import use_streams; os.set_blocking(1, False); "
        "use_streams(); sys.stdout.write('x' * 300_000); sys.stdout.flush()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment()) as run:
        assert run.stdout is not None
        seen = b"".join(iter(lambda: os.read(run.stdout.fileno(), 4096), b""))  # type: ignore[union-attr]
    assert (len(seen), run.returncode) == (300_000, 0)
