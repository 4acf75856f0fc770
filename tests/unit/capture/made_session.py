"""A session that follows a script, for what is around sessions: the loop, the command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest
from made_kernel import made_kernel
from made_plan import planned
from made_records import headers_btf

from fyke.capture.layout import RecordLayout, read_layout
from fyke.capture.loss import Gap
from fyke.capture.plan import Plan
from fyke.events.schema import arrow_schema

RING_FULL = Gap(1, 2, "ring_full", 3, "net:netif_rx", "raw_tracepoint", 0)


def batch(*times: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"timestamp_ns": t} for t in times], schema=arrow_schema())


class Loss:
    """The counters at the end: the first probe was hit and lost three, the others were not."""

    def __init__(self) -> None:
        self.totals = {"ring_full": 3, "recursion": 1}
        self.lost_events = 4
        self.probes = 1
        self.unjudged = 0

    def by_probe(self, _missing: object) -> str:
        return "[]"

    def hits(self) -> list[int]:
        return [9] + [0] * (self.probes - 1)

    def lost(self) -> list[int]:
        return [3] + [0] * (self.probes - 1)

    def unreadable(self) -> list[int]:
        return [self.unjudged] + [0] * (self.probes - 1)

    def no_link_layer(self) -> list[int]:
        return [0] * (self.probes - 1) + [self.unjudged]


@cache
def _plan() -> Plan:
    return planned()


class Script:
    """A session: each look does the next step. A step is a batch, or something to do first.

    It is its own rings, too.
    """

    def __init__(
        self, *steps: Any, rest: tuple[pa.RecordBatch, ...] = (), gaps: tuple[list[Gap], ...] = ()
    ) -> None:
        self.steps = list(steps)
        self.rest = rest
        self.losses = list(gaps)
        self.loss = Loss()
        self.missing: dict[str, str] = {}
        self.added = ("ip_rcv",)
        self.plan = _plan()
        self.more = False
        self.late = 0
        self.watched: list[int] = []
        self.flushed: list[bool] = []
        self.stopped = False

    @property
    def rings(self) -> Script:
        return self

    def watch(self, fd: int) -> None:
        os.fstat(fd)
        self.watched.append(fd)

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        assert self.steps, "nothing ends this collection"

    def poll(self, *, flush: bool) -> pa.RecordBatch | None:
        self.flushed.append(flush)
        step = self.steps.pop(0)
        if callable(step):
            return step()  # type: ignore[no-any-return]
        return step

    def gaps(self) -> list[Gap]:
        return self.losses.pop(0) if self.losses else []

    def stop(self) -> Iterator[pa.RecordBatch]:
        self.stopped = True
        yield from self.rest

    def begin(self, plan: Plan, _kernel: object, _progress: object) -> Self:
        """Stand in for the class `Session`."""
        self.plan = plan
        self.loss.probes = len(plan.probes)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True


def on_made_kernel(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Give the command a kernel that has everything, two CPUs, and a folder with an earlier recording.

    No collection can begin until the test says with what session.
    """

    def layout(plan: Plan) -> RecordLayout:
        return read_layout(headers_btf(), plan.sections, plan.snaplen)

    def untouchable(*_: object) -> None:
        raise AssertionError("a collection was begun")

    monkeypatch.setattr("fyke.kernel.view.LiveKernel", made_kernel)
    monkeypatch.setattr("fyke.kernel.machine.possible_cpus", lambda: (0, 1))
    monkeypatch.setattr("fyke.kernel.machine.online_cpus", lambda: (0, 1))
    monkeypatch.setattr("fyke.capture.load.plan_layout", layout)
    monkeypatch.setattr("fyke.capture.session.Session", untouchable)
    monkeypatch.chdir(folder)
    (folder / "old.arrow").write_bytes(b"precious")
