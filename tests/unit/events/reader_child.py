"""A child process that reads event files: what a library makes of garbled bytes can end a process, and then
the test must fail, not the test run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_CHILD = """
import json, re, resource, sys, time
from fyke.errors import InputError
from fyke.events.reader import open_events

def peak_mb():
    # Of Linux' ru_maxrss the larger part may be what the process that started this one had.
    try:
        with open("/proc/self/status") as status:
            return int(re.search(r"^VmHWM:\\s+([0-9]+) kB", status.read(), re.M)[1]) >> 10
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

for line in sys.stdin:
    times, problem, complete, began = [], None, None, time.process_time()
    try:
        source = open_events(json.loads(line))
        for batch in source.batches():
            times += [row["timestamp_ns"] for row in batch.to_pylist()]
        complete = source.complete
    except InputError as error:
        problem = error.message
    print(json.dumps([times, problem, complete, peak_mb(), time.process_time() - began]), flush=True)
"""


@dataclass(frozen=True)
class Read:
    """What came of a file. times: of the rows that were read. peak_mb: of the process so far."""

    times: list[int]
    problem: str | None
    complete: bool | None
    peak_mb: int
    cpu_seconds: float

    def check_problem(self, path: Path) -> None:
        """The problem is one sentence that can be shown, and says of which file."""
        assert self.problem is not None
        assert "\n" not in self.problem
        assert self.problem.isprintable()
        assert str(path) in self.problem


class ReaderChild:
    """A process that reads files and says what came of it."""

    def __init__(self) -> None:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-c", _CHILD]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )

    def read(self, path: Path) -> Read:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(str(path)), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            code = self.process.wait()
            self.__init__()  # type: ignore[misc]  # for the next example
            pytest.fail(f"reading ended the process ({code})")
        return Read(*json.loads(answer))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
