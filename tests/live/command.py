"""The `fyke` command as users run it: a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 120
"""For a command to start or end, at most; Python takes long to start in an emulated kernel."""


def fyke(*arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run fyke to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "fyke", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        input=stdin,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


class Running:
    """A `fyke collect` that collects."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def end(self, number: signal.Signals | None = signal.SIGINT) -> tuple[int, str, str]:
        """Send a signal if asked; return the exit code, stdout and stderr."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err


@contextmanager
def collecting(folder: Path, *arguments: str) -> Iterator[Running]:
    """Run `fyke collect`; the block begins when events flow (--ready-file)."""
    ready = folder / "ready"
    process = subprocess.Popen(
        [sys.executable, "-m", "fyke", "collect", "--ready-file", str(ready), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        end = time.monotonic() + SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"fyke collect didn't start: {process.communicate()}")
            time.sleep(0.02)
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
