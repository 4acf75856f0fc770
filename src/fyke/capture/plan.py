"""What a collection will do, decided before anything is done: options and kernel facts -> a Plan.

Needs no root; `fyke collect --dry-run` prints it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import Protocol

from fyke.capture.arguments import ARGUMENTS, IN_REGISTERS, argument_slots, readable_params
from fyke.capture.probe_spec import ProbeSpec, parse_probe
from fyke.collectors import COLLECTORS, Collector
from fyke.collectors.kernel_view import KernelView
from fyke.collectors.skb_tracking import probes as tracking
from fyke.errors import Unsupported, UsageError

DEFAULT_PROBES = ("tp:net:netif_receive_skb", "tp:net:net_dev_start_xmit")
DEFAULT_SNAPLEN = 256
MAX_SNAPLEN = 2048
DEFAULT_MAX_PROBES = 2048
TRACKING_ENTRIES = 1 << 16
STACK_ENTRIES = 1 << 14
MAX_RING_BYTES = 1 << 31  # max_entries of a map is 32 bits wide, and a ring's size a power of two
# Attaching and detaching one kprobe costs tens of milliseconds.
MANY_SINGLE_KPROBES = 50


class Answer(Protocol):
    """Why a feature is there or not."""

    @property
    def why(self) -> str:
        """The reason, a clause."""


class Features(Protocol):
    """What the kernel can do (see `fyke.kernel.features`)."""

    def has(self, name: str) -> bool:
        """Say whether the kernel surely has a feature."""

    def __getitem__(self, name: str) -> Answer:
        """Return the answer to a feature."""


class Kernel(KernelView, Protocol):
    """What planning asks of the kernel (see `fyke.kernel.view.LiveKernel`)."""

    @property
    def features(self) -> Features:
        """What it can do."""

    def function_params(self, name: str) -> list[str] | None:
        """Return the parameter types of a function, None when it has no BTF."""

    def tracepoint_params(self, name: str) -> list[str] | None:
        """Return the parameter types of a tracepoint (bare name)."""

    def match_functions(self, pattern: str) -> list[str]:
        """Return the functions that can be probed, by name or `*` pattern."""

    def match_tracepoints(self, pattern: str) -> list[str]:
        """Return tracepoints as `subsystem:name`, by name or `*` pattern."""

    def why_no_function(self, name: str) -> str | None:
        """Say why a function can't be probed, None when it can."""

    def why_no_tracepoint(self, wanted: str) -> str | None:
        """Say why a tracepoint (`subsystem:name`) can't be probed, None when it can."""

    def near(self, name: str) -> list[str]:
        """Return names like this one."""


@dataclass(frozen=True)
class Options:
    """What the user asked for, as far as it concerns the kernel."""

    collectors: tuple[str, ...] = ("auto",)
    probes: tuple[str, ...] = ()
    skb_sections: tuple[str, ...] = ()
    stack: bool = False
    snaplen: int = DEFAULT_SNAPLEN
    buffer_bytes: int | None = None
    max_probes: int = DEFAULT_MAX_PROBES


@dataclass(frozen=True)
class PlannedProbe:
    """One place in the kernel and what happens there.

    arguments: kind (`skb`, `dev`, `net`, `reason`, `other`, `result`) -> index among the arguments; a return
    value stands behind them.
    flags: names of `enum probe_flags`, without the prefix.
    """

    symbol: str
    mechanism: str
    sections: frozenset[str]
    arguments: dict[str, int]
    flags: frozenset[str] = frozenset()
    asked: tuple[str, ...] = ()

    @property
    def internal(self) -> bool:
        """Whether only tracking needs it."""
        return not self.asked


@dataclass(frozen=True)
class Plan:
    """Everything that will be loaded and attached."""

    collectors: tuple[Collector, ...]
    sections: tuple[str, ...]
    probes: tuple[PlannedProbe, ...]
    tracking: bool
    verify_identity: bool
    snaplen: int
    buffer_bytes: int
    cpus: int
    online: frozenset[int]
    notes: tuple[str, ...] = field(default=())
    tracking_entries: int = TRACKING_ENTRIES
    stack_entries: int = STACK_ENTRIES

    @property
    def ring_bytes(self) -> int:
        """Size of the ring of a CPU that is online: the largest power of two that fits its share."""
        share = max(self.buffer_bytes // len(self.online), mmap.PAGESIZE)
        return 1 << (share.bit_length() - 1)

    @property
    def ring_sizes(self) -> tuple[int, ...]:
        """Size of each possible CPU's ring. Many machines could have far more CPUs than they have: those get
        a page, which counts what is lost there should they come."""
        return tuple(self.ring_bytes if cpu in self.online else mmap.PAGESIZE for cpu in range(self.cpus))

    @property
    def any_stack(self) -> bool:
        """Whether some probe takes stack traces."""
        return any("STACK" in p.flags for p in self.probes)


def make_plan(options: Options, kernel: Kernel, cpus: int, online: tuple[int, ...] | None = None) -> Plan:
    """Decide, for a machine with this many possible CPUs, of which some are online (all when not given).

    Raises UsageError and Unsupported, each naming the probe, collector or option at fault.
    """
    running = frozenset(range(cpus) if online is None else online)
    _check_buffer(options, len(running))
    named = [(parse_probe(text), text) for text in options.probes]  # before the kernel is asked anything
    collectors, notes = _choose_collectors(options, kernel)
    sections = _choose_sections(options, collectors)
    probes = _Probes(options, kernel, collectors, sections)
    if not named and set(options.collectors) == {"auto"}:
        named = [(parse_probe(text), "default") for text in DEFAULT_PROBES]
    for spec, asked in named:
        probes.add(spec, asked)
    for collector in collectors:
        for text in collector.probes:
            probes.add(parse_probe(text), collector.name, collector)
    if not probes.by_symbol:
        raise UsageError(
            "there is no probe to collect from", "name one with -p, e.g. -p tp:net:netif_receive_skb"
        )
    on = any(c.name == "skb-tracking" for c in collectors)
    verify = probes.add_tracking() if on else False
    planned = tuple(probes.by_symbol.values())
    if len(planned) > options.max_probes:
        raise UsageError(
            f"{len(planned)} probes are more than --max-probes {options.max_probes}",
            "narrow the pattern or raise it",
        )
    single = sum(p.mechanism == "kprobe" for p in planned)
    if single > MANY_SINGLE_KPROBES:
        probes.notes.append(
            f"{single} functions are probed one by one, which takes a while at the start and the end: "
            "this kernel has no kprobe.multi"
        )
    return Plan(
        collectors,
        sections,
        planned,
        on,
        verify,
        options.snaplen,
        options.buffer_bytes or default_buffer_bytes(len(running)),
        cpus,
        running,
        (*notes, *probes.notes),
    )


def default_buffer_bytes(cpus: int) -> int:
    """Return the default memory of all rings: 1 MiB a CPU, at least 64 MiB."""
    return max(64 << 20, cpus << 20)


def _check_buffer(options: Options, cpus: int) -> None:
    if (options.buffer_bytes or 0) > cpus * MAX_RING_BYTES:
        raise UsageError(
            f"--buffer {options.buffer_bytes} is more than rings can have: 2 GiB for each of {cpus} CPUs",
            f"give at most {2 * cpus}GiB",
        )


def _choose_collectors(options: Options, kernel: Kernel) -> tuple[tuple[Collector, ...], list[str]]:
    known = {c.name: c for c in COLLECTORS}
    for name in options.collectors:
        if name != "auto" and name not in known:
            raise UsageError(f"unknown collector {name!r}", f"collectors: auto, {', '.join(known)}")
    chosen: list[Collector] = []
    notes: list[str] = []
    for collector in COLLECTORS:
        named = collector.name in options.collectors
        if not named and "auto" not in options.collectors:
            continue
        reason = collector.unavailable(kernel)
        if reason and named:
            raise Unsupported(f"collector {collector.name} can't work here: {reason}", "leave it out of -c")
        if reason:
            notes.append(f"{collector.name} is off: {reason}")
            continue
        chosen.append(collector)
        notes.extend(collector.notes(kernel))
    return tuple(chosen), notes


def _choose_sections(options: Options, collectors: tuple[Collector, ...]) -> tuple[str, ...]:
    optional = {section: word for c in COLLECTORS for word, section in c.optional_sections}
    words = set(options.skb_sections)
    if "all" in words:
        words |= set(optional.values())
    return tuple(
        s.name for c in collectors for s in c.sections if s.name not in optional or optional[s.name] in words
    )


class _Probes:
    """The probes planned so far, one a symbol."""

    def __init__(
        self, options: Options, kernel: Kernel, collectors: tuple[Collector, ...], sections: tuple[str, ...]
    ) -> None:
        self.options = options
        self.kernel = kernel
        self.collectors = collectors
        self.sections = frozenset(sections)
        self.by_symbol: dict[tuple[str, bool], PlannedProbe] = {}
        self.notes: list[str] = []

    def add(self, spec: ProbeSpec, asked: str, own: Collector | None = None) -> None:
        """Add what a spec names; refuse it by name when there is nothing to take.

        own: the collector whose own probe it is; it takes there, whatever the arguments are.
        """
        is_tracepoint = spec.type == "raw_tracepoint"
        if not is_tracepoint and not self.kernel.features.has("kprobe"):
            reason = f"no kprobes here, {self.kernel.features['kprobe'].why}"
            raise Unsupported(
                f"can't probe function {spec.target}: {reason}", "use tracepoints: -p tp:SUBSYSTEM:NAME"
            )
        match = self.kernel.match_tracepoints if is_tracepoint else self.kernel.match_functions
        targets = match(spec.target)
        if not targets:
            raise self._missing(spec)
        useless = 0
        for target in targets:
            useless += not self._add_one(spec, asked, target, own)
        if useless == len(targets):
            self._refuse(spec, targets)
        if useless:
            self.notes.append(
                f"{spec.text}: {useless} of {len(targets)} matches left out, no collector takes data there"
            )

    def _missing(self, spec: ProbeSpec) -> UsageError:
        if spec.is_pattern:
            return UsageError(
                f"nothing here matches {spec.text}", "patterns match whole names; `*` is any text"
            )
        near = self.kernel.near(spec.target)
        hint = f"near: {', '.join(near)}" if near else ""
        is_tracepoint = spec.type == "raw_tracepoint"
        why = self.kernel.why_no_tracepoint if is_tracepoint else self.kernel.why_no_function
        return UsageError(why(spec.target) or f"{spec.target} can't be probed", hint)

    def _refuse(self, spec: ProbeSpec, targets: list[str]) -> None:
        names = ", ".join(c.name for c in self.collectors)
        what = targets[0] if len(targets) == 1 else f"any of the {len(targets)} matches of {spec.target}"
        params = self._params(targets[0], spec.type) if len(targets) == 1 else None
        reason = f"its arguments are ({', '.join(params)})" if params else "none has an argument they know"
        if params and len(params) > len(readable_params(params, spec.type)):
            reason += f", of which only the first {IN_REGISTERS} can be read"
        if not params and len(targets) == 1:
            untyped = "the kernel's BTF doesn't describe its arguments"
            reason = untyped if params is None else "it has no arguments"
        raise UsageError(
            f"no enabled collector ({names}) can take anything from {what}: {reason}",
            "a probe needs an argument such as struct sk_buff * or struct net_device *",
        )

    def _params(self, target: str, kind: str) -> list[str] | None:
        if kind == "raw_tracepoint":
            return self.kernel.tracepoint_params(target.partition(":")[2])
        return self.kernel.function_params(target)

    def _add_one(self, spec: ProbeSpec, asked: str, target: str, own: Collector | None) -> bool:
        params = self._params(target, spec.type)
        readable = set(readable_params(params or [], spec.type))
        takers = [c for c in self.collectors if c is own or set(c.takes) & readable]
        sections = frozenset(s.name for c in takers for s in c.sections) & self.sections
        if not sections:
            return False
        stack = frozenset({"STACK"} if spec.stack or self.options.stack else ())
        self._merge(
            PlannedProbe(
                target,
                self._mechanism(spec.type),
                sections,
                argument_slots(params or [], spec.type),
                stack,
                (asked,),
            )
        )
        return True

    def _mechanism(self, kind: str) -> str:
        if kind == "raw_tracepoint":
            return kind
        return "kprobe_multi" if self.kernel.features.has("kprobe_multi") else "kprobe"

    def _merge(self, new: PlannedProbe) -> None:
        # A function may be probed at its entry by the user and at its return by tracking.
        key = (new.symbol, new.mechanism == "fexit")
        old = self.by_symbol.get(key)
        if old:
            new = PlannedProbe(
                new.symbol,
                new.mechanism,
                old.sections | new.sections,
                old.arguments | new.arguments,
                old.flags | new.flags,
                (*old.asked, *new.asked),
            )
        self.by_symbol[key] = new

    def add_tracking(self) -> bool:
        """Add tracking's own probes. Returns whether packets must be recognised by their headers."""
        kernel = self.kernel
        kprobes = kernel.features.has("kprobe")
        sees_frees = kprobes and kernel.has_function(tracking.FREE_HEAD.symbol)
        if sees_frees:
            self._merge(self._tracking_probe(tracking.FREE_HEAD, "kprobe"))
        else:
            self._note_tracepoints()
            for probe in tracking.TRACEPOINTS:
                self._merge(self._tracking_probe(probe, "raw_tracepoint"))
        for probe in tracking.FUNCTIONS if sees_frees else (tracking.RELEASE_DATA, *tracking.FUNCTIONS):
            if kprobes and kernel.has_function(probe.symbol):
                self._merge(self._tracking_probe(probe, "kprobe"))
            elif kprobes and probe.lost:
                self._note_unseen(probe.lost, f"{probe.symbol} can't be probed here")
        if kernel.features.has("fentry"):
            for exit_ in tracking.EXITS:
                self._add_exit(exit_)
        else:
            lost = ", nor ".join(exit_.lost for exit_ in tracking.EXITS if exit_.lost)
            self._note_unseen(lost, f"no fexit here, {kernel.features['fentry'].why}")
        return not sees_frees

    def _tracking_probe(self, probe: tracking.TrackingProbe, kind: str) -> PlannedProbe:
        arguments = {"skb": probe.skb}
        if probe.other is not None:
            arguments["other"] = probe.other
        return PlannedProbe(
            probe.symbol, self._mechanism(kind), frozenset(), arguments, frozenset(probe.flags)
        )

    def _add_exit(self, exit_: tracking.TrackingExit) -> None:
        kernel = self.kernel
        params = kernel.function_params(exit_.symbol)
        if params is None or not kernel.has_function(exit_.symbol):
            if exit_.lost:
                self._note_unseen(exit_.lost, f"{exit_.symbol} can't be probed here")
            return
        arguments = {"skb": exit_.skb, "result": len(params)}
        if exit_.other is not None:
            arguments["other"] = exit_.other
        sections = frozenset({"skb_tracking"} if exit_.records else ()) & self.sections
        self._merge(PlannedProbe(exit_.symbol, "fexit", sections, arguments))

    def _note_unseen(self, what: str, reason: str) -> None:
        self.notes.append(f"skb-tracking: can't see {what} ({reason})")

    def _note_tracepoints(self) -> None:
        features = self.kernel.features
        why = "skb_free_head can't be probed"
        if not features.has("kprobe"):
            why = f"no kprobes here, {features['kprobe'].why}"
        self.notes.append(
            f"skb-tracking doesn't see every end of a packet ({why}): it knows a packet again by its headers,"
            " and can't follow one that is encrypted in place or sent again"
        )


__all__ = ["ARGUMENTS", "Kernel", "Options", "Plan", "PlannedProbe", "default_buffer_bytes", "make_plan"]
