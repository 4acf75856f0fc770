"""User programs to probe: a small one in C, compiled here, that does what it is told and says what it did."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Did", "Trial", "compiled", "running"]

_SOURCE = Path(__file__).with_name("trial.c")
_SECONDS = 120


@dataclass(frozen=True)
class Did:
    """What it says of what it did. listened: its semaphore is raised. text: an address that work() gets."""

    listened: bool
    pid: int
    text: int


def compiled(folder: Path, *flags: str, name: str = "trial") -> Path:
    """Compile it. flags: `-no-pie`, `-DLISTENED` (with a semaphore)."""
    path = folder / name
    subprocess.run(["gcc", "-O2", *flags, "-o", str(path), str(_SOURCE)], check=True, timeout=_SECONDS)
    return path


class Trial:
    """The program, running."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def work(self, times: int) -> Did:
        """Have it call work() so often."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{times}\n")
        stdin.flush()
        listened, pid, text = stdout.readline().split()
        return Did(listened != "0", int(pid), int(text, 16))


@contextmanager
def running(*command: str) -> Iterator[Trial]:
    """Run it; it ends with the block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        trial = Trial(process)
        trial.work(0)
        yield trial
        assert process.stdin is not None
        process.stdin.close()
