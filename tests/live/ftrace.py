"""The kernel's own count of calls: its function tracer, in an instance that is ours alone."""

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
    instance = TRACEFS / "instances" / f"fyke-test-{os.getpid()}"
    instance.mkdir()
    try:
        (instance / "set_ftrace_filter").write_text("\n".join(functions))
        (instance / "current_tracer").write_text("function")
        yield Traced(instance)
    finally:
        (instance / "current_tracer").write_text("nop")
        instance.rmdir()
