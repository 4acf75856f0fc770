"""How long one waits for `fyke collect`: exec to ready, Ctrl-C to its end; how long many functions take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.collecting import collecting
from bench.report import Line, median, spread
from fyke.capture.attach import Attached
from fyke.capture.load import Loaded
from fyke.capture.plan import Options, make_plan
from fyke.capture.probeable import Inspection
from fyke.kernel.machine import online_cpus, possible_cpus
from fyke.kernel.view import LiveKernel

OPTIONS = ("-c", "skb,skb-tracking,dev,ns")
AIM_READY_SECONDS = 0.8
AIM_GENERIC_SECONDS = 1.5
FUNCTIONS = 1500
AIM_MANY_SECONDS = 2.0


def measure(*, quick: bool) -> Iterator[Line]:
    """Start and stop collections some times; what the first one finds cold is not counted."""
    rounds = 1 if quick else 16
    ready, stop = _times(rounds, *OPTIONS)
    yield Line("exec to ready", median(ready), "s", at_most=AIM_READY_SECONDS, note=spread(ready))
    yield Line("SIGINT to exit", median(stop), "s", note=spread(stop))
    ready, stop = _times(rounds, profile="generic")
    yield Line("generic, exec to ready", median(ready), "s", at_most=AIM_GENERIC_SECONDS, note=spread(ready))
    yield Line("generic, SIGINT to exit", median(stop), "s", note=spread(stop))
    yield from _many(1 if quick else 5)


def _times(rounds: int, *options: str, profile: str = "") -> tuple[list[float], list[float]]:
    """Return seconds until ready, and until stopped."""
    ready, stop = [], []
    with tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        for number in range(rounds):
            with collecting(Path(folder), *options, profile=profile) as collection:
                ended = collection.stop()
            if number or rounds == 1:
                ready.append(collection.ready_seconds)
                stop.append(ended.stop_seconds)
    return ready, stop


def _many(rounds: int) -> Iterator[Line]:
    """Attach and detach many functions at once, in this process, after everything is loaded."""
    kernel = LiveKernel()
    if not kernel.features.has("kprobe_multi"):
        yield Line("not measured: many functions, as there is no kprobe.multi", 0, "s")
        return
    found = [one.probe for one in Inspection(kernel, ("skb",)).find("kprobe:*")]
    names = found[:: max(1, len(found) // FUNCTIONS)][:FUNCTIONS]
    options = Options(collectors=("skb",), probes=tuple(names))
    times: dict[str, list[float]] = {"plan": [], "load": [], "attach": [], "detach": []}
    for _ in range(rounds):
        started = time.monotonic()
        plan = make_plan(options, kernel, max(possible_cpus()) + 1, online_cpus())
        planned = time.monotonic()
        loaded = Loaded(plan, kernel)
        try:
            at = time.monotonic()
            attached = Attached(loaded)
            there = time.monotonic()
            attached.detach()
            gone = time.monotonic()
        finally:
            loaded.close()
        for name, seconds in zip(
            times, (planned - started, at - planned, there - at, gone - there), strict=True
        ):
            times[name].append(seconds)
    for name, found in times.items():
        aim = AIM_MANY_SECONDS if name in ("attach", "detach") else None
        yield Line(f"{len(names)} functions, {name}", median(found), "s", at_most=aim, note=spread(found))
