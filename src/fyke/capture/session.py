"""The lifecycle of a collection: load, attach, enable, poll, stop. Whatever happens, nothing is left."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from fyke.capture.adding import Adding
from fyke.capture.attach import Attached
from fyke.capture.decode import Decoder
from fyke.capture.forget import INTERVAL_NS, forget_stale
from fyke.capture.load import Loaded
from fyke.capture.loss import Gap, LossCounters
from fyke.capture.names import KernelNames
from fyke.capture.plan import Plan
from fyke.capture.rings import Bytes2D, Rings
from fyke.collectors.ct.events import CT_EVENT
from fyke.events.heap import give_back
from fyke.kernel.machine import kernel_clock_ns
from fyke.kernel.netns import own_inode
from fyke.kernel.view import LiveKernel

if TYPE_CHECKING:
    from fyke.capture.ovs_user import DaemonWatch
    from fyke.capture.planned import PlannedProbe
    from fyke.capture.rulesets import Rulesets

# Records are written at least this often, and not in smaller batches than this while more come in: small
# batches cost twice as much (see bench/README.md).
FLUSH_SECONDS = 1.0
BATCH_RECORDS = 10_240
# How long to sleep between looks at the rings; a ring that fills up ends the sleep.
POLL_SECONDS = 0.05
# How often to look for programs that have come and are to be probed.
WATCH_NS = 1_000_000_000
# How long functions that were called may take to return at the end.
RETURN_SECONDS = 0.2


class Session:
    """One running collection; a context manager. Batches come from `poll()` and `stop()`."""

    def __init__(
        self, plan: Plan, kernel: LiveKernel, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        # Probes that are added are added here; whoever has this plan has them.
        self.plan = plan = replace(plan, probes=[*plan.probes])
        self._attached: Attached | None = None
        self._rings: Rings | None = None
        self._held: list[Bytes2D] = []
        self._held_since = time.monotonic()
        self._forgot_ns = self._watched_ns = kernel_clock_ns()
        self._rules = _rules(plan)
        try:
            self._loaded = Loaded(plan, kernel)
        except BaseException:
            self._close_rules()
            raise
        try:
            self._rings = Rings(self._loaded.ring_fds, plan.ring_sizes, self._loaded.layout.record_bytes)
            maps = self._loaded.maps
            names = KernelNames(kernel, maps.stacks, maps.names, self._rules)
            self._decoder = Decoder(plan, self._loaded.layout, names)
            self._attached = Attached(self._loaded, progress)
            programs = self._loaded.programs
            self.loss = LossCounters(plan, self._loaded.counters, programs, kernel_clock_ns())
            self._adding = Adding(plan, kernel, self._loaded, self._attached, names) if plan.adds else None
            self._watch = self._daemon_watch(kernel)
            if self._adding is None and self._watch is None:
                kernel.forget(symbols=not (plan.any_stack or CT_EVENT.name in plan.sections))
                give_back()
            self._loaded.enable(True)
        except BaseException:
            self.close()
            raise

    def _daemon_watch(self, kernel: LiveKernel) -> DaemonWatch | None:
        if not self.plan.ovs_track:
            return None
        from fyke.capture.ovs_user import Daemons, DaemonWatch, no_functions

        why = no_functions(kernel)
        daemons = Daemons(platform.machine(), planned=self.plan.ovs_files, no_functions=why)
        return DaemonWatch(daemons, self._add)

    def _add(self, probe: PlannedProbe) -> None:
        """Add a probe. Raises RunError when it can't be attached."""
        assert self._attached is not None
        assert isinstance(self.plan.probes, list)
        self.plan.probes.append(probe)
        number = len(self.plan.probes) - 1
        self._loaded.configure(number)
        self._attached.attach([number])

    @property
    def rings(self) -> Rings:
        """The rings, to wait on."""
        assert self._rings is not None
        return self._rings

    @property
    def missing(self) -> dict[str, str]:
        """Symbols of patterns that couldn't be attached, with the reason."""
        return self._attached.missing if self._attached else {}

    @property
    def added(self) -> tuple[str, ...]:
        """Functions that are probed since they were found (--probe-stack), in order."""
        probes = [probe.symbol for probe in self.plan.probes if probe.added_ns is not None]
        return tuple(symbol for symbol in probes if symbol not in self.missing)

    def poll(self, *, flush: bool) -> pa.RecordBatch | None:
        """Look at the rings; return a batch when enough has come in, or `flush` asks for what is there."""
        now_ns = kernel_clock_ns()
        records = self.rings.take(now_ns)
        if self._adding:
            self._adding.step()
        if records is not None:
            self._held.append(records)
        if self._watch and now_ns - self._watched_ns > WATCH_NS:
            self._watched_ns = now_ns
            self._watch.look()
        if self.plan.tracking and now_ns - self._forgot_ns > INTERVAL_NS:
            self._forgot_ns = now_ns
            forget_stale(
                self._loaded.maps.tracking, self.plan.tracking_entries, self._loaded.tracked_dtype, now_ns
            )
        waited = time.monotonic() - self._held_since
        count = sum(len(r) for r in self._held)
        if count and (flush or count >= BATCH_RECORDS or waited > FLUSH_SECONDS):
            return self._batch()
        return None

    def gaps(self) -> list[Gap]:
        """Return what was lost since the last call."""
        return self.loss.look(kernel_clock_ns)

    def stop(self) -> Iterator[pa.RecordBatch]:
        """Stop events, detach, and yield the last of them."""
        self._loaded.enable(False)
        if self.plan.any_return:
            self._wait_for_returns()
        if self._attached:
            self._attached.detach()
        while True:
            records = self.rings.take(None)
            if records is not None:
                self._held.append(records)
            if self._held:
                yield self._batch()
            if not self.rings.more:
                return

    def _wait_for_returns(self) -> None:
        """Let the functions that are running return, for a moment; some wait for what may not come."""
        end = time.monotonic() + RETURN_SECONDS
        while (calls := self._loaded.calls()) and time.monotonic() < end:
            time.sleep(RETURN_SECONDS / 10)
        self.loss.never_returned(calls)

    def _batch(self) -> pa.RecordBatch:
        import numpy as np

        records = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        self._held = []
        self._held_since = time.monotonic()
        return self._decoder.batch(records)

    def close(self) -> None:
        """Take everything out of the kernel."""
        if self._attached:
            self._attached.detach()
        if self._rings:
            self._rings.close()
        self._loaded.close()
        self._close_rules()

    def _close_rules(self) -> None:
        if self._rules:
            self._rules.close()

    def __enter__(self) -> Self:
        """Return the running session."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _rules(plan: Plan) -> Rulesets | None:
    """Begin to read the rules that the first events may be of, while programs are loaded."""
    if "nft" not in plan.sections:
        return None
    from fyke.capture.rulesets import Rulesets

    rules = Rulesets()
    rules.start({own_inode(), plan.filters.netns or own_inode()})
    return rules
