"""Where fyke's own CPU goes between ring and file: the loop of `fyke collect` run in here, by stages."""

from __future__ import annotations

import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from bench.collecting import TRACEPOINTS
from bench.report import Line, median, spread
from bench.wire import Wire, wire
from fyke.capture.decode import Decoder
from fyke.capture.plan import Options, make_plan
from fyke.capture.rings import Ring, Rings
from fyke.capture.run import Run
from fyke.capture.session import Session
from fyke.capture.stopping import Command, StopSignals
from fyke.events import message, store
from fyke.events.facts import Facts
from fyke.events.output import Output
from fyke.kernel.machine import possible_cpus
from fyke.kernel.view import LiveKernel

COLLECTORS = ("skb", "skb-tracking", "dev", "ns")

# stage -> the function that is it. A stage inside another is taken off the outer one.
STAGES: dict[str, tuple[type, str]] = {
    "copy out of the rings": (Ring, "take"),
    "put in order of time": (Rings, "take"),
    "make columns": (Decoder, "batch"),
    "encode and compress": (message.Encoder, "frame"),
    "write": (Output, "append"),
    "wait": (Rings, "wait"),
}


@dataclass
class _Clock:
    """CPU seconds of this process, all threads, by stage; `open` are the stages being in, innermost last."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    open: list[list[float]] = field(default_factory=list)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            self.open.append([0.0])
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                took = time.process_time() - started
                inner = self.open.pop()[0]
                self.spent[stage] += took - inner
                if self.open:
                    self.open[-1][0] += took

        return run


def measure(*, quick: bool) -> Iterator[Line]:
    """Flood, and divide the CPU time by the events."""
    rounds, packets = (1, 20_000) if quick else (5, 500_000)
    costs: dict[str, list[float]] = defaultdict(list)
    with wire() as net, tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        for _ in range(rounds):
            for stage, us in _round(net, packets, f"{folder}/events.arrow").items():
                costs[stage].append(us)
    for stage, values in costs.items():
        yield Line(stage, median(values), "us/event", note=spread(values))


def _round(net: Wire, packets: int, path: str) -> dict[str, float]:
    kernel = LiveKernel()
    probes = tuple(f"tp:{name}" for name in TRACEPOINTS)
    plan = make_plan(Options(collectors=COLLECTORS, probes=probes), kernel, max(possible_cpus()) + 1)
    command = Command(" ".join(net.flood_command(packets)))
    clock = _Clock()
    with (
        StopSignals() as signals,
        store.EventWriter(path, Facts()) as writer,
        Session(plan, kernel) as session,
        _timed(clock),
    ):
        run = Run(session, writer.write, signals, command)
        started = time.process_time()
        run.go()
        total = time.process_time() - started
    events = run.events
    result = {stage: clock.spent[stage] / events * 1e6 for stage in STAGES}
    result["everything else"] = (total - sum(clock.spent.values())) / events * 1e6
    result["together"] = total / events * 1e6
    return result


@contextmanager
def _timed(clock: _Clock) -> Iterator[None]:
    with ExitStack() as stack:
        for stage, (owner, name) in STAGES.items():
            timed = clock.timed(stage, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        yield
