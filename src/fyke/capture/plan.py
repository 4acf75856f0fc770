"""What a collection will do, decided before anything is done: options and kernel facts -> a Plan.

Needs no root; `fyke collect --dry-run` prints it.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fyke.capture import ovs
from fyke.capture.arguments import ARGUMENTS
from fyke.capture.autoprobe import SEEDS, check_adding, plan_adding
from fyke.capture.connections import Connections, plan_connections
from fyke.capture.filters import FilterOptions, Filters, check_filters, parse_filters, plan_filters
from fyke.capture.kernel import Kernel
from fyke.capture.ovs_user import FileId, follow_upcalls
from fyke.capture.planned import PlannedProbe
from fyke.capture.probe_spec import parse_probe
from fyke.capture.probes import ProbeSet
from fyke.capture.user_probes import SECTIONS as USER_SECTIONS
from fyke.capture.user_probes import UserTask, filter_notes, wanted_task
from fyke.collectors import COLLECTORS, Collector
from fyke.collectors.ct import COLLECTOR as CT
from fyke.collectors.ct.events import CT_EVENT
from fyke.collectors.nft.verdicts import DEFAULT as DEFAULT_VERDICTS
from fyke.collectors.ovs import COLLECTOR as OVS
from fyke.collectors.ovs.sections import OVS_DETRACE, OVS_OPERATION, OVS_RECV
from fyke.collectors.ovs.user import MOST_PLACES
from fyke.errors import Unsupported, UsageError

DEFAULT_PROBES = ("tp:net:netif_receive_skb", "tp:net:net_dev_start_xmit")
DEFAULT_SNAPLEN = 256
MAX_SNAPLEN = 2048
DEFAULT_MAX_PROBES = 2048
TRACKING_ENTRIES = 1 << 16
STACK_ENTRIES = 1 << 14
CALL_ENTRIES = 1 << 14  # calls of functions whose return is probed, at a time
MAX_RING_BYTES = 1 << 31  # max_entries of a map is 32 bits wide, and a ring's size a power of two
# Attaching and detaching one kprobe costs tens of milliseconds.
MANY_SINGLE_KPROBES = 50


@dataclass(frozen=True)
class Options:
    """What the user asked for, as far as it concerns the kernel."""

    collectors: tuple[str, ...] = ("auto",)
    probes: tuple[str, ...] = ()
    skb_sections: tuple[str, ...] = ()
    nft_verdicts: tuple[str, ...] = DEFAULT_VERDICTS
    ct_events: bool = False
    flow_rate: int = 0  # how many flows ovs-vswitchd is asked for in a second; 0: none
    ovs_track: bool = False
    stack: bool = False
    probe_stack: bool = False
    snaplen: int = DEFAULT_SNAPLEN
    buffer_bytes: int | None = None
    max_probes: int = DEFAULT_MAX_PROBES
    filters: FilterOptions = field(default_factory=FilterOptions)


@dataclass(frozen=True)
class Plan:
    """Everything that will be loaded and attached.

    choices: mechanism that functions without a type were given -> why.
    probes: of a running collection (`Session.plan`) they grow; a probe's place is its number, and stays.
    adds: the mechanism of probes that are added while it runs, until there are `max_probes`; empty: none are.
    stack: whether each event shows its stack.
    """

    collectors: tuple[Collector, ...]
    sections: tuple[str, ...]
    probes: Sequence[PlannedProbe]
    tracking: bool
    verify_identity: bool
    snaplen: int
    buffer_bytes: int
    cpus: int
    online: frozenset[int]
    filters: Filters = field(default_factory=Filters)
    notes: tuple[str, ...] = ()
    nft_verdicts: tuple[str, ...] = DEFAULT_VERDICTS
    connections: Connections = field(default_factory=Connections)
    choices: Mapping[str, str] = field(default_factory=dict)
    adds: str = ""
    max_probes: int = DEFAULT_MAX_PROBES
    stack: bool = False
    ovs_track: bool = False
    ovs_files: frozenset[FileId] = frozenset()
    tracking_entries: int = TRACKING_ENTRIES
    stack_entries: int = STACK_ENTRIES
    call_entries: int = CALL_ENTRIES
    user_task: UserTask | None = None
    flow_rate: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The sections that events may have, and those of rows that no probe sends."""
        return (*self.sections, OVS_DETRACE.name) if self.flow_rate else self.sections

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
    def any_return(self) -> bool:
        """Whether some probe is at a function's return."""
        return any(p.is_return for p in self.probes)

    @property
    def probe_room(self) -> int:
        """How many probes there may come to be."""
        room = max(len(self.probes), self.max_probes) if self.adds else len(self.probes)
        return room + MOST_PLACES if self.ovs_track else room

    @property
    def any_user(self) -> bool:
        """Whether some probe is in a user program."""
        return self.ovs_track or any(p.user for p in self.probes)

    @property
    def any_stack(self) -> bool:
        """Whether stack traces are taken."""
        return bool(self.adds) or any("STACK" in p.flags for p in self.probes)


def make_plan(options: Options, kernel: Kernel, cpus: int, online: tuple[int, ...] | None = None) -> Plan:
    """Decide, for a machine with this many possible CPUs, of which some are online (all when not given).

    Raises UsageError and Unsupported, each naming the probe, collector or option at fault.
    """
    running = frozenset(range(cpus) if online is None else online)
    _check_buffer(options, len(running))
    named = [(parse_probe(text), text) for text in options.probes]  # before the kernel is asked anything
    parsed = parse_filters(options.filters)
    if options.probe_stack:
        check_adding(options.filters, options.max_probes)
    collectors, notes = _choose_collectors(options, kernel)
    sections = _choose_sections(options, collectors, kernel)
    filters = plan_filters(parsed, kernel)
    connections = plan_connections(parsed, filters) if options.ct_events else Connections()
    probes = ProbeSet(kernel, collectors, sections, stack=options.stack, roots=filters.roots)
    own = [(parse_probe(text), collector) for collector in collectors for text in collector.probes(kernel)]
    if not named and (set(options.collectors) == {"auto"} or not (own or options.ct_events)):
        usual = SEEDS if options.probe_stack else DEFAULT_PROBES
        named = [(parse_probe(text), "default") for text in usual]
    # Where a function is probed by fentry, a probe without a type joins it.
    for spec, asked in sorted(named, key=lambda one: one[0].type != "fentry"):
        probes.add(spec, asked)
    for spec, collector in own:
        probes.add(spec, collector.name, collector)
    if OVS in collectors:
        ovs.complete(probes, track=options.ovs_track)
    daemons = follow_upcalls(probes) if options.ovs_track else frozenset()
    if options.ct_events:
        probes.add_connections(judge=connections.noted)
    on = any(c.name == "skb-tracking" for c in collectors)
    verify = probes.add_tracking() if on else False
    adds = plan_adding(probes, options.max_probes, tracking=on) if options.probe_stack else ""
    planned = tuple(probes.by_place.values())
    own_sections = {section for probe in planned for section in probe.sections} - set(sections)
    if options.ovs_track:  # by daemons that come later
        own_sections.add("userspace")
    sections = (*(name for name in ("retval", *USER_SECTIONS) if name in own_sections), *sections)
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
        filters,
        (
            *notes,
            *probes.notes,
            *check_filters(filters, planned, probes.params_of),
            *filter_notes(options.filters, planned),
        ),
        options.nft_verdicts,
        connections,
        probes.choices,
        adds,
        options.max_probes,
        options.stack,
        ovs_track=options.ovs_track,
        ovs_files=daemons,
        user_task=wanted_task(options.filters.pid),
        flow_rate=options.flow_rate,
    )


def check_options(options: Options) -> None:
    """Raise UsageError for what is wrong on any kernel."""
    for text in options.probes:
        parse_probe(text)
    _check_collectors(options.collectors)
    parse_filters(options.filters)
    if options.probe_stack:
        check_adding(options.filters, options.max_probes)


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
    _check_collectors(options.collectors)
    chosen: list[Collector] = []
    notes: list[str] = []
    for collector in COLLECTORS:
        named = collector.name in options.collectors
        if not named and "auto" not in options.collectors:
            continue
        reason = collector.unavailable(kernel) or _no_kprobes(collector, kernel)
        if reason and named:
            raise Unsupported(f"collector {collector.name} can't work here: {reason}", "leave it out of -c")
        if reason:
            notes.append(f"{collector.name} is off: {reason}")
            continue
        chosen.append(collector)
        notes.extend(collector.notes(kernel))
    if options.ct_events and CT not in chosen:
        if why := CT.unavailable(kernel):
            raise Unsupported(f"--ct-events can't work here: {why}", "leave it out")
        raise UsageError("--ct-events needs the collector ct", "add ct to -c")
    if options.flow_rate and OVS not in chosen:
        if why := OVS.unavailable(kernel):
            raise Unsupported(f"--ovs-enrich-flows can't work here: {why}", "leave it out")
        raise UsageError("--ovs-enrich-flows needs the collector ovs", "add ovs to -c")
    return tuple(chosen), notes


def _check_collectors(names: tuple[str, ...]) -> None:
    known = [c.name for c in COLLECTORS]
    for name in names:
        if name != "auto" and name not in known:
            raise UsageError(f"unknown collector {name!r}", f"collectors: auto, {', '.join(known)}")


def _no_kprobes(collector: Collector, kernel: Kernel) -> str | None:
    """Say why a collector can't have its own probes, when they are at functions."""
    functions = [p.target for p in map(parse_probe, collector.probes(kernel)) if p.type != "raw_tracepoint"]
    if not functions or kernel.features.has("kprobe"):
        return None
    return f"{functions[0]} can't be probed: no kprobes here, {kernel.features['kprobe'].why}"


def _choose_sections(options: Options, collectors: tuple[Collector, ...], kernel: Kernel) -> tuple[str, ...]:
    optional = {section: word for c in COLLECTORS for word, section in c.optional_sections}
    words = set(options.skb_sections)
    if "all" in words:
        words |= set(optional.values())
    off = {name for name, word in optional.items() if word not in words}
    if not options.ct_events:
        off.add(CT_EVENT.name)
    if not options.ovs_track:
        off |= {OVS_RECV.name, OVS_OPERATION.name}
    return tuple(s.name for c in collectors for s in c.sections if s.name not in off | c.left_out(kernel))


__all__ = [
    "ARGUMENTS",
    "Kernel",
    "Options",
    "Plan",
    "PlannedProbe",
    "check_options",
    "default_buffer_bytes",
    "make_plan",
]
