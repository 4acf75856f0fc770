"""What can be probed on a kernel: by which mechanisms, and which collectors get data there."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fyke.capture.bpf_programs import named_programs, takers
from fyke.capture.getters import ENDS, GETTERS
from fyke.capture.kernel import Kernel
from fyke.capture.probe_spec import PROGRAM_TYPES, TYPES, USER_TYPES, parse_probe
from fyke.capture.reach import Reach, Reaches
from fyke.capture.user_probes import places, programs
from fyke.collectors import COLLECTORS, Collector
from fyke.errors import FykeError, Unsupported, UsageError
from fyke.kernel.bpf_programs import TC
from fyke.kernel.btf import Param
from fyke.kernel.patterns import matcher

_HINT = "write [TYPE:]PATTERN, e.g. 'ip_*', tp:skb:kfree_skb or 'tp:net:*'"
# Type of a probe at a function -> the mechanisms that it may be, best first, with the features they need.
_MECHANISMS: dict[str, dict[str, tuple[str, ...]]] = {
    "kprobe": {"kprobe_multi": ("kprobe", "kprobe_multi"), "kprobe": ("kprobe",)},
    "kretprobe": {"kretprobe_multi": ("kprobe", "kprobe_multi"), "kretprobe": ("kprobe",)},
    "fentry": {"fentry": ("fentry",)},
    "fexit": {"fexit": ("fentry",)},
}


@dataclass(frozen=True, slots=True)
class Probeable:
    """A place that can be probed.

    type: as `-p` has it. mechanisms: the usual one first; none: this kernel has no way. params: what it
    takes. module: empty for the kernel's own, and for tracepoints. found: what (`skb`, `dev`, `net`, `reason`
    ...) -> the argument that it is, or the way to it (`state->out`). Of user programs, symbol is `PATH:NAME`,
    and found has the numbers of arguments that can be read, counted from 0.
    """

    type: str
    symbol: str
    module: str
    mechanisms: tuple[str, ...]
    collectors: tuple[str, ...]
    params: tuple[Param, ...]
    found: dict[str, str]

    @property
    def probe(self) -> str:
        """The place as `-p` takes it."""
        return f"{'tp' if self.type == 'raw_tracepoint' else self.type}:{self.symbol}"


class Inspection:
    """Looks for what patterns name.

    collectors: one of them must get data; any that works here when none is given. everything: functions are
    shown also where this kernel has no way to probe any. notes: what is to be said, sentences without a full
    stop. Raises UsageError and Unsupported for collectors that don't exist or work here.
    """

    def __init__(self, kernel: Kernel, collectors: Sequence[str] = (), *, everything: bool = False) -> None:
        self.kernel = kernel
        self.notes: list[str] = []
        self._everything = everything
        names = [collector.name for collector in COLLECTORS]
        for name in collectors:
            if name not in names:
                raise UsageError(f"unknown collector {name!r}", f"collectors: {', '.join(names)}")
        chosen = [c for c in COLLECTORS if not collectors or c.name in collectors]
        self._collectors = [c for c in chosen if self._works(c, asked=bool(collectors))]
        # Collectors' own probes, where they know what to take.
        self._own = {
            spec.target: collector
            for collector in self._collectors
            for spec in map(parse_probe, collector.probes(kernel))
        }
        self._taken = frozenset(spelled for c in self._collectors for spelled in c.takes)
        self._takers_of: dict[tuple[frozenset[str], Collector | None], tuple[str, ...]] = {}
        self._reaches = Reaches(kernel)

    def find(self, text: str) -> list[Probeable]:
        """Return what a pattern `[TYPE:]NAME` names, sorted. Raises UsageError or Unsupported for nothing."""
        kind = TYPES.get(text.partition(":")[0])
        if kind in USER_TYPES:
            return self._in_programs(text)
        if kind in PROGRAM_TYPES:
            return self._at_programs(text)
        kind, pattern = _split(text)
        found = [] if kind == "raw_tracepoint" else self._functions(kind, pattern)
        left_out = found and not found[0].mechanisms and not self._everything
        if left_out:
            self.notes.append(
                f"{len(found)} functions are left out: {self._why_none(kind)}; --all shows them"
            )
            found = []
        if kind in (None, "raw_tracepoint"):
            found = found + self._tracepoints(pattern)
        if not found:
            raise self._none(kind, pattern) if not left_out else self._no_way(kind, pattern)
        return sorted(found, key=lambda one: one.probe)

    def _works(self, collector: Collector, *, asked: bool) -> bool:
        why = collector.unavailable(self.kernel)
        if why and asked:
            raise Unsupported(f"collector {collector.name} can't work here: {why}", "leave it out of -c")
        return not why

    # Functions

    def _functions(self, kind: str | None, pattern: str) -> list[Probeable]:
        mechanisms = self._mechanisms(kind)
        names = self._candidates(pattern)
        return [one for name in names if (one := self._function(name, kind, mechanisms))]

    def _mechanisms(self, kind: str | None) -> tuple[str, ...]:
        """Return the mechanisms for a type that this kernel has, or may have."""
        features = self.kernel.features
        there = []
        for name in ("kprobe", "fentry") if kind in (None, "func") else (str(kind),):
            for way, needs in _MECHANISMS[name].items():
                if all(features[need].state != "no" for need in needs):
                    there.append(way)
                    break
        return tuple(there)

    def _candidates(self, pattern: str) -> list[str]:
        """Return functions of which there may be something to take."""
        kernel = self.kernel
        if "*" not in pattern:
            return kernel.match_functions(pattern)
        ways = {getter.argument for getter in GETTERS if ENDS[getter.end] in self._taken}
        names = kernel.functions_taking(self._taken | ways) | {name for name in self._own if ":" not in name}
        return [name for name in filter(matcher(pattern), names) if kernel.has_function(name)]

    def _function(self, name: str, kind: str | None, mechanisms: tuple[str, ...]) -> Probeable | None:
        prototype = self.kernel.function_prototype(name)
        if prototype is None:
            return None
        # Where there is no way, it is shown what the usual one would find.
        for at, mechanism in enumerate(mechanisms or ("kprobe",)):
            reach = self._reaches.of(prototype.params, mechanism)
            if takers := self._takers(reach, name):
                module = self.kernel.module_of(name)
                found = _found(reach, prototype.params)
                if kind in (None, "func"):
                    kind = "fentry" if mechanism == "fentry" else "kprobe"
                return Probeable(kind, name, module, mechanisms[at:], takers, prototype.params, found)
        return None

    def _takers(self, reach: Reach, target: str) -> tuple[str, ...]:
        types, own = reach.types & self._taken, self._own.get(target)
        known = self._takers_of.get((types, own))
        if known is None:
            takers = reach.takers(self._collectors)
            known = tuple(c.name for c in self._collectors if c in takers or c is own)
            self._takers_of[types, own] = known
        return known

    # Tracepoints

    def _tracepoints(self, pattern: str) -> list[Probeable]:
        matches = matcher(pattern if ":" in pattern else f"*:{pattern}")
        found = []
        for event in filter(matches, self.kernel.tracepoints()):
            prototype = self.kernel.tracepoint_prototype(event.rpartition(":")[2])
            params = prototype.params if prototype else ()
            reach = self._reaches.of(params, "raw_tracepoint")
            if takers := self._takers(reach, event):
                kind, ways = "raw_tracepoint", ("raw_tracepoint",)
                found.append(Probeable(kind, event, "", ways, takers, params, _found(reach, params)))
        return found

    # User programs

    def _in_programs(self, text: str) -> list[Probeable]:
        spec = parse_probe(text)
        ways = (spec.type,) if self.kernel.features["uprobe"].state != "no" else ()
        found: dict[str, Probeable] = {}
        refused: list[UsageError] = []
        for program in programs(spec.path):
            try:
                for name, place in places(program, spec, platform.machine()):
                    readable = [str(n) for n, operand in enumerate(place.arguments) if operand]
                    arguments = {"arguments": ", ".join(readable)} if readable else {}
                    symbol = f"{place.path}:{name}"
                    found.setdefault(symbol, Probeable(spec.type, symbol, "", ways, (), (), arguments))
            except UsageError as e:
                refused.append(e)
        if not found:
            raise refused[0]
        return sorted(found.values(), key=lambda one: one.probe)

    # BPF programs

    def _at_programs(self, text: str) -> list[Probeable]:
        spec = parse_probe(text)
        known, found = named_programs(self.kernel, spec)
        names = Counter(program.name for program in known)
        collectors = tuple(c.name for c in takers(spec.type, self._collectors))
        fexit = () if self.kernel.features["fentry"].state == "no" else ("fexit",)
        places = []
        for program in found:
            symbol = program.name if names[program.name] == 1 else f"id:{program.id}"
            ways = () if program.why_not else fexit
            argument = {"skb" if spec.type == TC else "xdp": "argument 1"}
            places.append(Probeable(spec.type, symbol, "", ways, collectors, (), argument))
        return sorted(places, key=lambda one: one.probe)

    # Why not

    def _why_none(self, kind: str | None) -> str:
        features = {
            None: ("kprobe", "fentry"),
            "func": ("kprobe", "fentry"),
            "kprobe": ("kprobe",),
            "kretprobe": ("kprobe",),
        }.get(kind, ("fentry",))
        why = [f"{_FEATURES[name]} here, {self.kernel.features[name].why}" for name in features]
        return ", and ".join(why)

    def _no_way(self, kind: str | None, pattern: str) -> FykeError:
        self.notes.clear()
        what = "functions" if "*" in pattern else f"function {pattern}"
        return Unsupported(
            f"{what} can't be probed: {self._why_none(kind)}", "--all shows what it could give"
        )

    def _none(self, kind: str | None, pattern: str) -> FykeError:
        kernel = self.kernel
        nobody = "no collector" if len(self._collectors) > 1 else f"collector {self._collectors[0].name}"
        if "*" in pattern:
            return UsageError(
                f"nothing here matches {pattern} and has an argument that {nobody} takes data from",
                "patterns match whole names; `*` is any text",
            )
        if kind == "raw_tracepoint" or ":" in pattern:
            prototype = kernel.tracepoint_prototype(pattern.rpartition(":")[2])
            why = kernel.why_no_tracepoint(pattern)
        else:
            prototype, why = kernel.function_prototype(pattern), kernel.why_no_function(pattern)
        if why:
            near = kernel.near(pattern)
            return UsageError(why, f"near: {', '.join(near)}" if near else "")
        hint = "a probe needs an argument such as struct sk_buff *, or one that leads to it"
        if prototype is None:
            return UsageError(
                f"nothing can be taken at {pattern}: the kernel's BTF doesn't describe its arguments", hint
            )
        types = ", ".join(param.type for param in prototype.params) or "none"
        return UsageError(f"nothing can be taken at {pattern}: its arguments are {types}", hint)


_FEATURES = {"kprobe": "no kprobes", "fentry": "no fentry"}


def _found(reach: Reach, params: Sequence[Param]) -> dict[str, str]:
    found = {}
    for kind, index in reach.arguments.items():
        name = params[index].name or f"argument {index + 1}"
        found[kind] = reach.getters[kind].path(name) if kind in reach.getters else name
    return found


def _split(text: str) -> tuple[str | None, str]:
    """Return (type or None, pattern) of `[TYPE:]PATTERN`. Raises UsageError."""
    head, colon, rest = text.partition(":")
    kind = TYPES.get(head) if colon else None
    pattern = rest if kind else text
    if kind is None and ":" in pattern:
        if pattern.count(":") > 1:
            raise UsageError(f"unknown probe type {head!r} in {text!r}", f"types: {', '.join(TYPES)}")
        kind = "raw_tracepoint"
    parts = pattern.split(":")
    well_formed = all(part and all(ch.isalnum() or ch in "_*.$" for ch in part) for part in parts)
    if not well_formed or len(parts) > (2 if kind == "raw_tracepoint" else 1):
        raise UsageError(f"{text!r} is no pattern of names", _HINT)
    return kind, pattern
