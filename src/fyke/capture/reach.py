"""What collectors can take at a probe: its arguments, and what is reached from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fyke.capture.arguments import argument_slots, readable_params
from fyke.capture.getters import ENDS, GETTERS, Getter, steps
from fyke.capture.kernel import Kernel
from fyke.collectors import Collector
from fyke.kernel.btf import Param


@dataclass(frozen=True, slots=True)
class Reach:
    """What is reached from a probe's arguments.

    arguments: kind (`skb`, `dev`, `reason` ...) -> index of the argument that is it, or leads to it.
    steps: kind -> byte offsets of the pointers to follow from the argument; none: it is what is sought.
    getters: kind -> the way there, in words.
    types: what collectors may take, as BTF spells it.
    """

    arguments: dict[str, int]
    steps: dict[str, tuple[int, ...]]
    getters: dict[str, Getter]
    types: frozenset[str]

    def takers(self, collectors: Iterable[Collector]) -> tuple[Collector, ...]:
        """Return those of some collectors that can take something."""
        return tuple(c for c in collectors if not self.types.isdisjoint(c.takes))


class Reaches:
    """Finds what probes reach on one kernel; each way is looked up in its types once."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._steps: dict[int, tuple[int, ...] | None] = {}
        self._getters: dict[str, list[tuple[int, Getter]]] = {}
        for rank, getter in enumerate(GETTERS):
            self._getters.setdefault(getter.argument, []).append((rank, getter))

    def of(self, params: Sequence[Param], mechanism: str) -> Reach:
        """Return what a probe of this mechanism reaches where these are the parameters."""
        readable = readable_params([param.type for param in params], mechanism)
        arguments = argument_slots(readable, mechanism)
        best: dict[str, int] = {}
        at: dict[str, int] = {}
        for index, spelled in enumerate(readable):
            for rank, getter in self._getters.get(spelled, ()):
                end = getter.end
                if end in arguments or best.get(end, rank + 1) <= rank:
                    continue
                if getter.name in ("", params[index].name) and self._way(rank, getter) is not None:
                    best[end], at[end] = rank, index
        return Reach(
            arguments | at,
            {end: self._steps[rank] or () for end, rank in best.items()},
            {end: GETTERS[rank] for end, rank in best.items()},
            frozenset((*readable, *(ENDS[end] for end in best))),
        )

    def _way(self, rank: int, getter: Getter) -> tuple[int, ...] | None:
        if rank not in self._steps:
            self._steps[rank] = steps(self._kernel, getter)
        return self._steps[rank]
