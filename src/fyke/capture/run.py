"""The loop of a collection: from attached probes to sinks, until something ends it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fyke.capture.ready import write_ready_file
from fyke.capture.session import POLL_SECONDS, Session
from fyke.capture.stopping import Command, StopRequest, StopSignals
from fyke.kernel.machine import kernel_clock_ns

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.capture.flow_rows import FlowRows
    from fyke.capture.loss import Gap

log = logging.getLogger(__name__)

# How often the loss counters are looked at.
LOSS_SECONDS = 0.5
# How long the last events may take to be written after a second signal.
HURRY_SECONDS = 2.0


@dataclass
class Run:
    """How one collection runs and ends.

    sink: what `go` gives each batch. live: batches are wanted at once, however small. stop_after: number of
    events.
    """

    session: Session
    sink: Callable[[pa.RecordBatch], None]
    signals: StopSignals | StopRequest
    command: Command | None = None
    live: bool = False
    stop_after: int | None = None
    ready_file: str | None = None
    events: int = 0
    reason: str = ""
    _flows: FlowRows | None = field(default=None, repr=False)
    _looked: float = field(default=0.0, repr=False)
    _hurry_until: float = field(default=0.0, repr=False)

    def go(self) -> None:
        """Collect until a signal, the command's end or the number of events; then write the closing row."""
        with closing(self.batches()) as batches:
            for batch in batches:
                self.sink(batch)

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Collect; yield the events, the notes of what was lost, and at the end the closing row."""
        rings = self.session.rings
        rings.watch(self.signals.fd)
        if self.command:
            self.command.start()
            rings.watch(self.command.fd)
        try:
            if rate := self.session.plan.flow_rate:
                from fyke.capture.flow_rows import FlowRows

                self._flows = FlowRows(rate)
            if self.ready_file is not None:
                write_ready_file(self.ready_file)
            while not self._is_over():
                if not rings.more:
                    rings.wait(POLL_SECONDS)
                yield from self._take(self.session.poll(flush=self.live))
                if self._flows:
                    yield from self._noted(self._flows.rows())
                yield from self._look_for_loss()
            for batch in self.session.stop():
                yield from self._finish(batch)
            if self._flows:
                yield from self._noted(self._flows.last())
        finally:
            if self._flows:
                self._flows.close()
            if self.command:
                self.command.stop()
        yield from self._close()

    def _is_over(self) -> bool:
        if self.reason:
            return True
        if self.signals.count:
            self.reason = "signal"
        elif self.command and self.command.ended:
            self.reason = "command"
        return bool(self.reason)

    def _take(self, batch: pa.RecordBatch | None) -> Iterator[pa.RecordBatch]:
        if batch is None or self.reason == "count":
            return
        if self.stop_after is not None and self.events + len(batch) >= self.stop_after:
            batch = batch.slice(0, self.stop_after - self.events)
            self.reason = "count"
        self.events += len(batch)
        if self._flows:
            self._flows.look(batch)
        yield batch

    def _noted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Take rows that no probe has sent: events all the same, but none that a number was asked for of."""
        for batch in batches:
            self.events += len(batch)
            yield batch

    def _finish(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Take one of the last batches. A second signal is in a hurry: what takes long counts as lost."""
        if self.signals.count > 1 and not self._hurry_until:
            self._hurry_until = time.monotonic() + HURRY_SECONDS
        if not self._hurry_until or time.monotonic() < self._hurry_until:
            yield from self._take(batch)
        elif self.reason != "count":
            self.session.loss.abandon(len(batch))

    def _look_for_loss(self) -> Iterator[pa.RecordBatch]:
        now = time.monotonic()
        if now - self._looked < LOSS_SECONDS:
            return
        self._looked = now
        yield from self._report(self.session.gaps())

    def _report(self, gaps: list[Gap]) -> Iterator[pa.RecordBatch]:
        if not gaps:
            return
        from fyke.capture.loss import gap_batch

        yield gap_batch(gaps)
        for cause, text in _CAUSES.items():
            lost = sum(g.count for g in gaps if g.cause == cause)
            if lost:
                log.warning(text, lost)

    def _close(self) -> Iterator[pa.RecordBatch]:
        from fyke.capture.loss import closing_batch

        yield from self._report(self.session.gaps())
        session = self.session
        yield closing_batch(kernel_clock_ns(), self.events, session.loss, self.reason, session.missing)
        if self.session.rings.late:
            log.warning("%d events came too late to be put in order of time", self.session.rings.late)


_CAUSES = {
    "ring_full": "%d events lost: the buffer is full; make it larger with --buffer, or ask for less",
    "abandoned": "%d events thrown away: after the second signal there was no time to write them",
    "recursion": "%d events lost: probes were hit while another of ours was running on the same CPU",
    "missed_return": "%d returns of functions were not seen: missed, or still to come at the end",
    "tracking_full": "%d packets not tracked: too many at once",
    "stack_full": "%d stack traces lost: no room for more different ones",
}
