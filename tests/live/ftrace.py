"""The kernel's own count of calls, and its stacks: its tracers, in an instance that is ours alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")


class Traced:
    """Calls of some functions since tracing began."""

    def __init__(self, instance: Path) -> None:
        self._instance = instance

    def counts(self) -> Counter[str]:
        """Return function -> calls. Lines are `task-pid [cpu] flags time: function <-caller`."""
        for stats in self._instance.glob("per_cpu/*/stats"):
            assert "\noverrun: 0\n" in stats.read_text(), "the buffer has room for all"
        lines = (self._instance / "trace").read_text().splitlines()
        return Counter(line.partition(" <-")[0].rpartition(" ")[2] for line in lines if " <-" in line)


@contextmanager
def traced(functions: Sequence[str]) -> Iterator[Traced]:
    """Trace some functions until the end of the block."""
    with _instance() as instance:
        (instance / "set_ftrace_filter").write_text("\n".join(functions))
        (instance / "current_tracer").write_text("function")
        try:
            yield Traced(instance)
        finally:
            (instance / "current_tracer").write_text("nop")


@contextmanager
def stacks(event: str) -> Iterator[list[set[str]]]:
    """Note the functions on each stack of an event (`subsystem/name`); they are there after the block."""
    found: list[set[str]] = []
    with _instance() as instance:
        (instance / "options/stacktrace").write_text("1")
        (instance / "events" / event / "enable").write_text("1")
        yield found
        (instance / "events" / event / "enable").write_text("0")
        for line in (instance / "trace").read_text().splitlines():
            if "<stack trace>" in line:
                found.append(set())
            elif line.startswith(" => ") and found:
                found[-1].add(line[4:].split("+")[0].strip())


@contextmanager
def _instance() -> Iterator[Path]:
    path = TRACEFS / "instances" / f"fyke-test-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()
