"""What a collector declares. One folder per collector; it imports this and `fyke.events`, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fyke.collectors.kernel_view import KernelView
from fyke.events.column import Section

SKB = "struct sk_buff *"
NET_DEVICE = "struct net_device *"
NET = "struct net *"


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector's declaration.

    takes: kernel argument types from any one of which it can take data, as BTF spells them.
    probes: tells the probes it adds by itself where it can work, in `-p` syntax.
    unavailable: says why it can't work on this kernel (a sentence), or None when it can.
    left_out: names the sections that would only take room here, as what they tell of isn't there.
    notes: sentences to tell the user at the start, about what this kernel doesn't give.
    options: values of `--skb-sections` and the like that turn single sections on; a section not
    named here is always on when the collector is.
    """

    name: str
    sections: tuple[Section, ...]
    takes: tuple[str, ...]
    probes: Callable[[KernelView], tuple[str, ...]] = lambda _kernel: ()
    unavailable: Callable[[KernelView], str | None] = lambda _kernel: None
    left_out: Callable[[KernelView], frozenset[str]] = lambda _kernel: frozenset()
    notes: Callable[[KernelView], tuple[str, ...]] = lambda _kernel: ()
    optional_sections: tuple[tuple[str, str], ...] = ()
