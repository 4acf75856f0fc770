"""`--probe-stack`: which functions on the stacks of packets are probed, too.

The stack of an event tells which way its packet came; the stack of its end, the way from the probes on.
Tracking sees most ends anyway; that a packet came there makes no event, but its stack is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from fyke.capture import mechanisms
from fyke.capture.planned import PlannedProbe
from fyke.capture.probe_spec import ProbeSpec
from fyke.capture.probes import ProbeSet
from fyke.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from fyke.capture.filters import FilterOptions
    from fyke.capture.kernel import Kernel
    from fyke.capture.plan import Plan

ASKED = "--probe-stack"
SEEDS = ("tp:skb:consume_skb", "tp:skb:kfree_skb")
MOST_PROBES = 1 << 14  # room for one takes 64 bytes a CPU
_ENDS = ("skb:consume_skb", "skb:kfree_skb")
# What runs in between when a packet is received: what is further out was interrupted, and is not on its way.
_INTERRUPTS = ("asm_common_interrupt", "asm_sysvec_", "el1h_64_irq", "el1_irq")
# A function that every kernel has, to load a program for that is only copied.
_EVERYWHERE = "pskb_expand_head"


def check_adding(filters: FilterOptions, max_probes: int) -> None:
    """Raise UsageError where nothing says which packets to follow, or so many probes can't have room."""
    if all(getattr(filters, one.name) is None for one in fields(filters)):
        raise UsageError(
            "--probe-stack needs a filter: without, it would probe whatever any packet passes",
            "say which packets, e.g. -f icmp or -m 'sk_buff.mark == 7'",
        )
    if max_probes > MOST_PROBES:
        raise UsageError(
            f"--max-probes {max_probes} is too many for --probe-stack, which makes room for all of them",
            f"give at most {MOST_PROBES}",
        )


def plan_adding(probes: ProbeSet, max_probes: int, *, tracking: bool) -> str:
    """Prepare for probes to be added; return the mechanism they get. Raises Unsupported without any."""
    kernel = probes.kernel
    if not (kernel.features.has("kprobe") or kernel.features.has("fentry")):
        why = kernel.features["kprobe"].why
        raise Unsupported(f"--probe-stack can't probe functions: no kprobes here, {why}", "leave it out")
    mechanism = mechanisms.of_function(kernel, _spec(""))[0]
    probes.notes.append(
        f"--probe-stack: functions on the way of packets that match are probed, too, by {mechanism}, up to "
        f"{max_probes} probes in all"
    )
    if not tracking:
        probes.notes.append(
            "--probe-stack: without skb-tracking, packets can't be followed from the probes on; only what "
            "leads to the probes is found"
        )
        return mechanism
    for end in _ENDS:
        if kernel.has_tracepoint(end.partition(":")[2]):
            probes.merge(PlannedProbe(end, "raw_tracepoint", frozenset(), {"skb": 0}))
    return mechanism


def any_function(mechanism: str) -> PlannedProbe:
    """Return a probe that a program of this mechanism can be loaded for."""
    return PlannedProbe(_EVERYWHERE, mechanism, frozenset(), {})


class Found:
    """Functions that were met on stacks. `on(frames)` yields probes at those that are new and worth it."""

    def __init__(self, plan: Plan, kernel: Kernel) -> None:
        self._plan, self._kernel = plan, kernel
        self._set = ProbeSet(
            kernel, plan.collectors, plan.sections, stack=plan.stack, roots=plan.filters.roots
        )
        self._known = {probe.symbol for probe in plan.probes if not probe.exit}

    def on(self, frames: list[str]) -> Iterator[PlannedProbe]:
        """Look at a stack: `symbol+0xoffset`, innermost first."""
        for frame in frames:
            symbol = frame.partition("+")[0]
            if symbol.startswith(_INTERRUPTS):
                return
            if symbol in self._known:
                continue
            self._known.add(symbol)
            probe = self._probe(symbol)
            if probe is not None:
                yield probe

    def _probe(self, symbol: str) -> PlannedProbe | None:
        """Return the probe at a function; None when it can't be, or would never have an event."""
        if self._kernel.function_params(symbol) is None or not self._kernel.has_function(symbol):
            return None
        probe = self._set.planned(_spec(symbol), ASKED, symbol, self._plan.adds)
        filters = self._plan.filters
        if probe is None or "skb" in probe.arguments:
            return probe
        # Without a packet, only a filter of what it does have can let it pass.
        return probe if probe.roots and not (filters.packet or filters.inner) else None


def _spec(symbol: str) -> ProbeSpec:
    return ProbeSpec(symbol, "func", symbol)
