"""Probes at BPF programs: `xdp:PATTERN` and `tc:PATTERN`, by fexit, for what each program decides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fyke.capture.arguments import root_slots
from fyke.capture.planned import PlannedProbe
from fyke.collectors.api import SKB, Collector
from fyke.errors import Unsupported, UsageError
from fyke.events.escape import printable
from fyke.kernel.bpf_programs import TC, XDP, BpfProgram
from fyke.kernel.return_type import ReturnType
from fyke.kernel.verdicts import TC_VERDICTS, XDP_VERDICTS

if TYPE_CHECKING:
    from fyke.capture.kernel import Kernel
    from fyke.capture.probe_spec import ProbeSpec
    from fyke.capture.probes import ProbeSet

XDP_BUFF = "struct xdp_buff *"
# What can be told of a packet that has no skb yet.
_OF_FRAMES = frozenset({"skb_tracking", "packet", "netns", "dev"})
_RETURNS = {
    XDP: ReturnType("enum xdp_action", "enum", 4, False, XDP_VERDICTS),
    TC: ReturnType("int", "enum", 4, True, TC_VERDICTS),
}
_WORDS = {XDP: "XDP", TC: "TC"}


def add_programs(probes: ProbeSet, spec: ProbeSpec, asked: str) -> None:
    """Add the programs that a spec names, of those that are loaded.

    Raises UsageError when there are none, Unsupported when they can't be attached to.
    """
    known, found = named_programs(probes.kernel, spec)
    if not probes.kernel.features.has("fentry"):
        why = probes.kernel.features["fentry"].why
        raise Unsupported(f"can't probe BPF programs ({spec.text}): {why}", "see `fyke doctor`")
    good = [p for p in found if not p.why_not]
    if not good:
        first = found[0]
        raise Unsupported(
            f"can't probe the {_WORDS[first.kind]} program {printable(first.name)} (id {first.id}): "
            f"{first.why_not}",
            "its interface can be watched: -p tp:net:netif_receive_skb, -p tp:xdp:*",
        )
    for program in found:
        if program.why_not:
            probes.notes.append(
                f"{spec.text}: {printable(program.name)} (id {program.id}) is left out: {program.why_not}"
            )
    names = Counter(p.name for p in known)
    for program in good:
        probes.merge(_planned(probes, spec, asked, program, alone=names[program.name] == 1))


def named_programs(kernel: Kernel, spec: ProbeSpec) -> tuple[list[BpfProgram], list[BpfProgram]]:
    """Return all loaded programs of a type, and those a spec names. Raises UsageError when it names none."""
    known = [p for p in _loaded(kernel, spec) if p.kind == spec.type]
    found = _matching(known, spec.target)
    if not found:
        raise _missing(kernel, spec, known)
    return known, found


def takers(kind: str, collectors: Iterable[Collector]) -> list[Collector]:
    """Return those of some collectors that get data at programs of a kind."""
    taking = [c for c in collectors if SKB in c.takes]
    return taking if kind == TC else [c for c in taking if _OF_FRAMES & {s.name for s in c.sections}]


def _loaded(kernel: Kernel, spec: ProbeSpec) -> Sequence[BpfProgram]:
    try:
        return kernel.bpf_programs
    except OSError as e:
        raise Unsupported(
            f"{spec.text}: the loaded BPF programs can't be listed: {e.strerror}", "run it with sudo"
        ) from None


def _matching(known: list[BpfProgram], pattern: str) -> list[BpfProgram]:
    if pattern.startswith("id:"):
        return [p for p in known if p.id == int(pattern[3:])]
    matches = re.compile(".*".join(map(re.escape, pattern.split("*")))).fullmatch
    # The kernel itself, and so other tools, know the first 15 characters only.
    return [p for p in known if matches(p.name) or pattern == p.name[:15]]


def _missing(kernel: Kernel, spec: ProbeSpec, known: list[BpfProgram]) -> UsageError:
    hint = "loaded: " + ", ".join(sorted({printable(p.name) for p in known})[:8]) if known else ""
    if spec.type == XDP and kernel.has_tracepoint(spec.target):
        hint = f"the tracepoint is tp:xdp:{spec.target}"
    words = _WORDS[spec.type]
    if spec.is_pattern:
        return UsageError(f"no {words} program that is loaded here matches {spec.text}", hint)
    return UsageError(f"no {words} program {spec.target} is loaded here", hint)


def _planned(
    probes: ProbeSet, spec: ProbeSpec, asked: str, program: BpfProgram, *, alone: bool
) -> PlannedProbe:
    """Plan a probe of a program. alone: no other one has its name."""
    is_xdp = program.kind == XDP
    taken = frozenset(s.name for c in probes.collectors if SKB in c.takes for s in c.sections)
    sections = taken & probes.sections
    params = [XDP_BUFF if is_xdp else SKB]
    name = printable(program.name) if alone else f"{printable(program.name)}#{program.id}"
    return PlannedProbe(
        f"{program.kind}:{name}",
        "fexit",
        (sections & _OF_FRAMES if is_xdp else sections) | {"retval"},
        {"xdp" if is_xdp else "skb": 0, "result": program.arguments},
        frozenset({*(("STACK",) if spec.stack or probes.stack else ()), *(("FRAMES",) if is_xdp else ())}),
        (asked,),
        root_slots(params, "fexit", probes.roots),
        returns=_RETURNS[program.kind],
        at_program=program,
    )
