"""Which probes a collection gets: what was asked for, what collectors bring, what tracking needs."""

from __future__ import annotations

import logging
import platform
from collections import Counter
from dataclasses import replace

from fyke.capture import mechanisms
from fyke.capture.arguments import readable_params, root_slots
from fyke.capture.bpf_programs import XDP_BUFF, add_programs
from fyke.capture.kernel import Kernel
from fyke.capture.mechanisms import IN_REGISTERS, MECHANISMS
from fyke.capture.planned import PlannedProbe
from fyke.capture.probe_spec import PROGRAM_TYPES, USER_TYPES, ProbeSpec
from fyke.capture.reach import Reaches
from fyke.capture.user_probes import unreadable, user_probes
from fyke.collectors import Collector
from fyke.collectors.api import SKB
from fyke.collectors.ct.events import CONNECTS, CREATED, CT_EVENT, DESTROYED, ConnectionProbe
from fyke.collectors.skb_tracking import probes as tracking
from fyke.errors import Unsupported, UsageError
from fyke.kernel.btf import Param

log = logging.getLogger(__name__)


class ProbeSet:
    """The probes planned so far, one a symbol and mechanism."""

    def __init__(
        self,
        kernel: Kernel,
        collectors: tuple[Collector, ...],
        sections: tuple[str, ...],
        *,
        stack: bool,
        roots: tuple[str, ...] = (),
    ) -> None:
        self.stack = stack
        self.roots = roots
        self.kernel = kernel
        self._reaches = Reaches(kernel)
        self.collectors = collectors
        self.sections = frozenset(sections) - {CT_EVENT.name}  # of no packet
        self.by_place: dict[tuple[object, ...], PlannedProbe] = {}
        self.notes: list[str] = []
        self.choices: dict[str, str] = {}  # mechanism of functions without a type -> why it was taken

    def add(self, spec: ProbeSpec, asked: str, own: Collector | None = None) -> None:
        """Add what a spec names; refuse it by name when there is nothing to take.

        own: the collector whose own probe it is; it takes there, whatever the arguments are.
        """
        if spec.type in PROGRAM_TYPES:
            add_programs(self, spec, asked)
            return
        if spec.type in USER_TYPES:
            found = user_probes(spec, asked, self.kernel, platform.machine())
            self.notes += unreadable(found)
            for probe in found:
                self.merge(probe)
            return
        is_tracepoint = spec.type == "raw_tracepoint"
        ways = (spec.type,) if is_tracepoint else mechanisms.of_function(self.kernel, spec)
        match = self.kernel.match_tracepoints if is_tracepoint else self.kernel.match_functions
        targets = match(spec.target)
        if not targets:
            raise self._missing(spec)
        taken: Counter[str] = Counter()
        for target in targets:
            for way in self._order(ways, target):
                if self._add_one(spec, asked, target, way, own):
                    taken[way] += 1
                    break
        useless = len(targets) - taken.total()
        if useless == len(targets):
            self._refuse(spec, targets, ways[0])
        if useless:
            self.notes.append(
                f"{spec.text}: {useless} of {len(targets)} matches left out, no collector takes data there"
            )

        if spec.type == "func":
            self._explain(spec, taken)

    def _explain(self, spec: ProbeSpec, taken: Counter[str]) -> None:
        """Keep why functions without a type got their mechanisms, and say so of what isn't usual."""
        for way, count in taken.items():
            why = self.choices[way] = mechanisms.why(self.kernel, way)
            log.debug("%s: %d by %s: %s", spec.text, count, way, why)
            if way == "fentry":
                which = (
                    f"{spec.text} is" if count == taken.total() else f"{count} functions of {spec.text} are"
                )
                self.notes.append(f"{which} probed by fentry: {why}")

    def _order(self, ways: tuple[str, ...], target: str) -> list[str]:
        """Return mechanisms with one in front that is there already: two would tell everything twice."""
        return sorted(ways, key=lambda way: (target, way, MECHANISMS[way].program) not in self.by_place)

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

    def _refuse(self, spec: ProbeSpec, targets: list[str], mechanism: str) -> None:
        names = ", ".join(c.name for c in self.collectors)
        what = targets[0] if len(targets) == 1 else f"any of the {len(targets)} matches of {spec.target}"
        params = self._types(targets[0], mechanism) if len(targets) == 1 else None
        reason = f"its arguments are ({', '.join(params)})" if params else "none has an argument they know"
        if params and len(params) > len(readable_params(params, mechanism)):
            reason += f", of which only the first {IN_REGISTERS} can be read"
        if not params and len(targets) == 1:
            untyped = "the kernel's BTF doesn't describe its arguments"
            reason = untyped if params is None else "it has no arguments"
        raise UsageError(
            f"no enabled collector ({names}) can take anything from {what}: {reason}",
            "a probe needs an argument such as struct sk_buff * or struct net_device *",
        )

    def params_of(self, probe: PlannedProbe) -> list[str]:
        """Return the types of what can be read of a planned probe's arguments."""
        if probe.at_program:
            return [XDP_BUFF if probe.takes_frames else SKB]
        params = readable_params(self._types(probe.symbol, probe.mechanism) or [], probe.mechanism)
        return [*params, SKB] if probe.finds_skb else params

    def _params(self, target: str, mechanism: str) -> tuple[Param, ...] | None:
        if mechanism == "raw_tracepoint":
            prototype = self.kernel.tracepoint_prototype(target.partition(":")[2])
        else:
            prototype = self.kernel.function_prototype(target)
        return None if prototype is None else prototype.params

    def _types(self, target: str, mechanism: str) -> list[str] | None:
        params = self._params(target, mechanism)
        return None if params is None else [param.type for param in params]

    def _add_one(
        self, spec: ProbeSpec, asked: str, target: str, mechanism: str, own: Collector | None
    ) -> bool:
        probe = self.planned(spec, asked, target, mechanism, own)
        if probe is not None:
            self.merge(probe)
        return probe is not None

    def planned(
        self, spec: ProbeSpec, asked: str, target: str, mechanism: str, own: Collector | None = None
    ) -> PlannedProbe | None:
        """Return the probe at one target of a spec; None when no collector can take anything there."""
        reach = self._reaches.of(self._params(target, mechanism) or (), mechanism)
        takers = {*reach.takers(self.collectors), *([own] if own else [])}
        sections = frozenset(s.name for c in takers for s in c.sections) & self.sections
        if not sections:
            return None
        stack = frozenset({"STACK"} if spec.stack or self.stack else ())
        roots = root_slots(self._types(target, mechanism) or [], mechanism, self.roots)
        arguments, steps = reach.arguments, reach.steps
        probe = PlannedProbe(target, mechanism, sections, arguments, stack, (asked,), roots, steps)
        if MECHANISMS[mechanism].trampoline:
            probe = self._in_slots(probe)
        return self._with_result(probe) if probe.is_return else probe

    def _in_slots(self, probe: PlannedProbe) -> PlannedProbe:
        """Count 8-byte words in place of arguments: a structure passed by value may take two."""
        slots = self.kernel.function_slots(probe.symbol)
        return replace(
            probe,
            arguments={kind: slots[index] for kind, index in probe.arguments.items()},
            roots={root: slots[index] for root, index in probe.roots.items()},
        )

    def _with_result(self, probe: PlannedProbe) -> PlannedProbe:
        returns = self.kernel.function_return(probe.symbol)
        if returns is None:
            return probe
        is_array_of_all = MECHANISMS[probe.mechanism].all
        at = self.kernel.function_slots(probe.symbol)[-1] if is_array_of_all else IN_REGISTERS
        return replace(
            probe,
            sections=probe.sections | {"retval"},
            arguments={**probe.arguments, "result": at},
            returns=returns,
        )

    def merge(self, new: PlannedProbe) -> None:
        """Add a probe; one that is there at this place is both."""
        key = (new.symbol, new.mechanism, new.program, *([new.user] if new.user else []))
        old = self.by_place.get(key)
        if old:
            new = replace(
                new,
                sections=old.sections | new.sections,
                arguments=old.arguments | new.arguments,
                flags=old.flags | new.flags,
                asked=(*old.asked, *new.asked),
                roots={**old.roots, **new.roots},
                steps={**old.steps, **new.steps},
            )
        self.by_place[key] = new

    def add_tracking(self) -> bool:
        """Add tracking's own probes. Returns whether packets must be recognised by their headers."""
        kernel = self.kernel
        kprobes = kernel.features.has("kprobe")
        sees_frees = kprobes and kernel.has_function(tracking.FREE_HEAD.symbol)
        if sees_frees:
            self.merge(self._tracking_probe(tracking.FREE_HEAD, self._entry_at(tracking.FREE_HEAD.symbol)))
        else:
            self._note_tracepoints()
            for probe in tracking.TRACEPOINTS:
                self.merge(self._tracking_probe(probe, "raw_tracepoint"))
        for probe in tracking.FUNCTIONS if sees_frees else (tracking.RELEASE_DATA, *tracking.FUNCTIONS):
            if kprobes and kernel.has_function(probe.symbol):
                self.merge(self._tracking_probe(probe, self._entry_at(probe.symbol)))
            elif kprobes and probe.lost:
                self._note_unseen(probe.lost, f"{probe.symbol} can't be probed here")
        if kernel.features.has("fentry"):
            for exit_ in tracking.EXITS:
                self._add_exit(exit_)
        else:
            lost = ", nor ".join(exit_.lost for exit_ in tracking.EXITS if exit_.lost)
            self._note_unseen(lost, f"no fexit here, {kernel.features['fentry'].why}")
        if any(p.takes_frames for p in self.by_place.values()):
            self._add_copies()
        return not sees_frees

    def _add_copies(self) -> None:
        """See packets be copied for XDP; either both places are looked at or none."""
        features, symbol = self.kernel.features, tracking.COPY.symbol
        if features.has("fentry") and features.has("kprobe") and self.kernel.has_function(symbol):
            self.merge(self._tracking_probe(tracking.COPY, self._entry_at(symbol)))
            self._add_exit(tracking.COPY_EXIT)

    def _entry_at(self, symbol: str) -> str:
        """Return how the user probes a function: the event must be made before its packet is forgotten."""
        there = [p.mechanism for p in self.by_place.values() if p.symbol == symbol]
        entries = [m for m in there if m in mechanisms.ENTRIES]
        return entries[0] if entries else mechanisms.kprobe(self.kernel)

    def _tracking_probe(self, probe: tracking.TrackingProbe, mechanism: str) -> PlannedProbe:
        arguments = _places(skb=probe.skb, other=probe.other)
        return PlannedProbe(probe.symbol, mechanism, frozenset(), arguments, frozenset(probe.flags))

    def _add_exit(self, exit_: tracking.TrackingExit) -> None:
        kernel = self.kernel
        params = kernel.function_params(exit_.symbol)
        if params is None or not kernel.has_function(exit_.symbol):
            if exit_.lost:
                self._note_unseen(exit_.lost, f"{exit_.symbol} can't be probed here")
            return
        arguments = _places(skb=exit_.skb, other=exit_.other, result=len(params))
        sections = frozenset({"skb_tracking"} if exit_.records else ()) & self.sections
        self.merge(PlannedProbe(exit_.symbol, "fexit", sections, arguments, exit=exit_.exit))

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

    def add_connections(self, *, judge: bool) -> None:
        """Add the probes of `--ct-events`. judge: filters decide which connections are wanted.

        Raises Unsupported where connections can't be seen at all.
        """
        sections = frozenset({CT_EVENT.name, "ct", *self.sections & {"ct_parent", "netns"}})
        planned = [self._connection_probe(probe, sections) for probe in (CREATED, DESTROYED)]
        if not any(planned):
            raise Unsupported(
                f"--ct-events can't work here: {self._why_no_connections(CREATED)}", "leave it out"
            )
        if judge:
            planned.append(self._connection_probe(CONNECTS, frozenset()))
        for probe in planned:
            if probe:
                self.merge(probe)

    def _connection_probe(self, probe: ConnectionProbe, sections: frozenset[str]) -> PlannedProbe | None:
        kernel = self.kernel
        symbol = next((name for name in probe.symbols if kernel.has_function(name)), None)
        if symbol is None or not kernel.features.has("kprobe"):
            self.notes.append(f"--ct-events: can't see {probe.what} ({self._why_no_connections(probe)})")
            return None
        # By place, not type: kernels before Linux 5.11 don't describe the functions of modules.
        arguments = {"skb" if probe is CONNECTS else "other": 0}
        roots = {root: 0 for root in self.roots if probe is CONNECTS and f"struct {root} *" == SKB}
        flags = frozenset({probe.flag, *(("STACK",) if sections and self.stack else ())})
        return PlannedProbe(
            symbol, mechanisms.kprobe(kernel), sections, arguments, flags, ("--ct-events",), roots
        )

    def _why_no_connections(self, probe: ConnectionProbe) -> str:
        if not self.kernel.features.has("kprobe"):
            return f"no kprobes here, {self.kernel.features['kprobe'].why}"
        return self.kernel.why_no_function(probe.symbols[0]) or "it can't be probed"


def _places(**indexes: int | None) -> dict[str, int]:
    return {kind: index for kind, index in indexes.items() if index is not None}
