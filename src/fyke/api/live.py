"""A collection as part of a program: events from the running kernel, as they come."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fyke.api.event import Event, events_of
from fyke.api.rows import Rows
from fyke.errors import UsageError
from fyke.events.facts import Facts

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.capture.plan import Options, Plan
    from fyke.capture.session import Session
    from fyke.capture.stopping import StopRequest
    from fyke.capture.trace_table import TraceTables


@dataclass(frozen=True)
class Loss:
    """What a collection lost so far, in events. by_cause: the causes of `gap.cause`; by_probe: by symbol."""

    events: int = 0
    by_cause: dict[str, int] = field(default_factory=dict)
    by_probe: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.by_cause)


class Collection:
    """A collection; made by `fyke.collect`. Probes are attached at the begin of its `with` block, and gone
    after it.

    Iterating yields pyarrow RecordBatches (the columns of docs/columns.md) as events come, and ends after
    `stop()`, `stop_after` events, or the end of the command: with rows that note what was lost, and the end.
    What had not been yielded at the end of the block is thrown away.
    """

    def __init__(
        self,
        options: Options,
        command: str | None,
        stop_after: int | None,
        allow_system_changes: bool = False,
    ) -> None:
        from fyke.capture.begin import cpus
        from fyke.capture.plan import make_plan
        from fyke.kernel.rights import rights_first
        from fyke.kernel.view import LiveKernel

        if stop_after is not None and stop_after < 1:
            raise UsageError(f"stop_after {stop_after} is less than 1")
        if command is not None and not command.strip():
            raise UsageError("the command is empty")
        self._kernel = LiveKernel()
        with rights_first(self._kernel):
            self.plan: Plan = make_plan(options, self._kernel, *cpus())
        self._options, self._allow_system_changes = options, allow_system_changes
        self._command, self._stop_after = command, stop_after
        self._facts: Facts | None = None
        self._session: Session | None = None
        self._tables: TraceTables | None = None
        self._stop: StopRequest | None = None
        self._batches: Generator[pa.RecordBatch, None, None] | None = None
        self._loss = Loss()
        self._added: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        from fyke import __version__
        from fyke.capture.begin import facts_of
        from fyke.capture.run import Run
        from fyke.capture.session import Session
        from fyke.capture.stopping import Command, StopRequest

        if self._facts is not None:
            raise UsageError("a collection can be run once", "make another one with fyke.collect()")
        self._facts = facts_of(self.plan, shlex.join(sys.argv), __version__)
        if self._allow_system_changes and any(c.name == "nft" for c in self.plan.collectors):
            from fyke.capture.trace_table import trace_tables

            self._tables = trace_tables(self._options)
        try:
            self._session = Session(self.plan, self._kernel)
        except BaseException:
            self._close_tables()
            raise
        self._stop = StopRequest()
        command = None if self._command is None else Command(self._command)
        # Only the generator holds the run: when it ends, the map of counters goes that the run has mapped.
        self._batches = Run(
            self._session, _nowhere, self._stop, command=command, live=True, stop_after=self._stop_after
        ).batches()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        assert self._batches is not None
        assert self._stop is not None
        try:
            self._batches.close()
            self._loss, self._added = self._current_loss(), self._session.added
        finally:
            self._close_tables()
            self._session.close()
            self._session = None
            self._stop.close()
            self._stop = None

    def _close_tables(self) -> None:
        if self._tables:
            self._tables.close()
            self._tables = None

    def __repr__(self) -> str:
        symbols = [probe.symbol for probe in self.plan.probes]
        more = f" and {len(symbols) - 3} more" if len(symbols) > 3 else ""
        return f"<Collection at {', '.join(symbols[:3])}{more}>"

    @property
    def facts(self) -> Facts:
        """The facts of the collection, as its file would have them. Raises UsageError before it began."""
        if self._facts is None:
            raise UsageError("the collection has not begun", "use it in a with statement")
        return self._facts

    @property
    def loss(self) -> Loss:
        """What was lost so far; after the block, in all."""
        return self._loss if self._session is None else self._current_loss()

    @property
    def added(self) -> tuple[str, ...]:
        """Functions that were found on packets' way, and are probed since (probe_stack), in order."""
        return self._added if self._session is None else self._session.added

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._batches is None:
            raise UsageError("the collection has not begun", "use it in a with statement")
        return self._batches

    def events(self) -> Iterator[Event]:
        """Yield events as objects; see `loss` for what was lost between them."""
        for batch in self:
            yield from events_of(Rows(batch, self.facts))

    def stop(self) -> None:
        """End the collection: what is on its way is still yielded. From any thread."""
        if self._stop is not None:
            self._stop.stop()

    def _current_loss(self) -> Loss:
        assert self._session is not None
        loss = self._session.loss
        by_probe: dict[str, int] = {}
        for probe, count in zip(self._session.plan.probes, loss.lost(), strict=True):
            if count:
                by_probe[probe.symbol] = by_probe.get(probe.symbol, 0) + count
        return Loss(loss.lost_events, dict(loss.totals), by_probe)


def collect(
    *,
    probes: Sequence[str] = (),
    collectors: Sequence[str] = (),
    filter: str | None = None,
    filter_inner: str | None = None,
    filter_meta: str | None = None,
    pid: int | None = None,
    netns: str | None = None,
    netif: str | None = None,
    skb_sections: Sequence[str] = (),
    nft_verdicts: Sequence[str] = (),
    ct_events: bool = False,
    ovs_enrich_flows: bool = False,
    ovs_enrich_rate: int | None = None,
    ovs_track: bool = False,
    stack: bool = False,
    probe_stack: bool = False,
    snaplen: int | None = None,
    buffer: int | str | None = None,
    max_probes: int | None = None,
    command: str | None = None,
    stop_after: int | None = None,
    allow_system_changes: bool = False,
) -> Collection:
    """Prepare a collection; a `with` statement runs it. Needs what `fyke collect` needs, mostly root.

    The arguments are the options of `fyke collect`, with their defaults: probes are those of `-p`, collectors
    of `-c`, filter is tcpdump's language. probe_stack: `Collection.added` tells what was found. buffer:
    bytes, or a size such as "64MB". command: a shell command whose end ends the collection. stop_after: a
    number of events. allow_system_changes: have nftables trace packets for the time of the block.

    Raises TypeError, UsageError and Unsupported for what can't be; RunError at the begin of the block.
    """
    from fyke.capture.begin import checked_options
    from fyke.capture.filters import FilterOptions
    from fyke.events.rotation import parse_size

    lists = {"probes": probes, "collectors": collectors, "skb_sections": skb_sections}
    for name, value in (lists | {"nft_verdicts": nft_verdicts}).items():
        if isinstance(value, str):
            raise UsageError(f"{name} is a string, not a list of them", f"write {name}=[{value!r}]")
        for one in value:
            _check_type(f"one of {name}", one, str)
    texts = {"filter": filter, "filter_inner": filter_inner, "filter_meta": filter_meta}
    texts |= {"netns": netns, "netif": netif, "command": command}
    numbers = {
        "ovs_enrich_rate": ovs_enrich_rate,
        "pid": pid,
        "snaplen": snaplen,
        "max_probes": max_probes,
        "stop_after": stop_after,
    }
    for name, text in texts.items():
        _check_type(name, text, str)
    for name, number in numbers.items():
        _check_type(name, number, int)
    if not isinstance(buffer, str):
        _check_type("buffer", buffer, int)
    size: Any = parse_size(buffer) if isinstance(buffer, str) else buffer
    if size is not None and size < 1:
        raise UsageError(f"buffer {size} is nothing")
    options = checked_options(
        collectors=collectors,
        probes=probes,
        skb_sections=skb_sections,
        nft_verdicts=nft_verdicts,
        ct_events=ct_events,
        ovs_enrich_flows=ovs_enrich_flows,
        ovs_enrich_rate=ovs_enrich_rate,
        ovs_track=ovs_track,
        stack=stack,
        probe_stack=probe_stack,
        snaplen=snaplen,
        buffer_bytes=size,
        max_probes=max_probes,
        filters=FilterOptions(
            packet=filter, inner=filter_inner, fields=filter_meta, pid=pid, netns=netns, netif=netif
        ),
    )
    return Collection(options, command, stop_after, allow_system_changes)


def _check_type(name: str, value: object, kind: type) -> None:
    """Raise TypeError where a value, which may be None, is of another type; True is no number."""
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}, not {'a string' if kind is str else 'a whole number'}")


def _nowhere(_batch: pa.RecordBatch) -> None:
    """Take no batch: they are asked for one by one."""
