"""The probes in Open vSwitch's datapath: what is taken at each, and those where something is only noted."""

from __future__ import annotations

from dataclasses import replace

from fyke.capture import mechanisms
from fyke.capture.planned import PlannedProbe
from fyke.capture.probes import ProbeSet
from fyke.collectors.api import SKB
from fyke.collectors.ovs import COLLECTOR
from fyke.collectors.ovs.probes import EVENTS, NOTES, OvsProbe
from fyke.collectors.ovs.sections import SECTIONS

_OWN = frozenset(section.name for section in SECTIONS)


def complete(probes: ProbeSet, *, track: bool) -> None:
    """Make the collector's own probes, which are planned as any, what they are for.

    track: whether packets are followed through ovs-vswitchd.
    """
    kernel = probes.kernel
    for own in EVENTS:
        if own.lost and not kernel.has_function(own.symbol):
            probes.notes.append(f"ovs: can't see {own.lost} ({_why_not(probes, own.symbol)})")
    for place, probe in probes.by_place.items():
        if COLLECTOR.name in probe.asked:
            own = next(own for own in EVENTS if _is_at(own, probe))
            probes.by_place[place] = _completed(probes, probe, own)
    for note in NOTES:
        if kernel.has_function(note.symbol):
            if track or not note.track:
                probes.merge(_noting(note, mechanisms.kprobe(kernel)))
        else:
            probes.notes.append(f"ovs: can't see {note.lost} ({_why_not(probes, note.symbol)})")


def _why_not(probes: ProbeSet, symbol: str) -> str:
    return probes.kernel.why_no_function(symbol) or f"{symbol} can't be probed here"


def _is_at(own: OvsProbe, probe: PlannedProbe) -> bool:
    return own.symbol == probe.symbol and own.is_return == probe.is_return


def _completed(probes: ProbeSet, probe: PlannedProbe, own: OvsProbe) -> PlannedProbe:
    """Take there what is taken of any packet, and what is the collector's own there."""
    packets = {s.name for c in probes.collectors if SKB in c.takes for s in c.sections} & probes.sections
    others = probe.sections - _OWN if set(probe.asked) != {COLLECTOR.name} else frozenset()
    arguments = {"skb": own.skb, "other": own.other}
    return replace(
        probe,
        sections=frozenset(packets | {own.section}) | others,
        arguments={**probe.arguments, **{k: index for k, index in arguments.items() if index is not None}},
        flags=probe.flags | {own.flag},
    )


def _noting(note: OvsProbe, mechanism: str) -> PlannedProbe:
    assert note.skb is not None
    return PlannedProbe(note.symbol, mechanism, frozenset(), {"skb": note.skb}, frozenset({note.flag}))
