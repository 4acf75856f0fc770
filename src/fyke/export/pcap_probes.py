"""The probes of a recording as interfaces of a capture, and which of them are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.escape import printable
from fyke.events.pcapng import PROBE_TYPE as CAPTURE
from fyke.events.retis.mapping import PROBE_TYPES

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe that was hit, as the file has it."""

    type: str
    symbol: str

    @property
    def kind(self) -> str:
        """What Retis calls its type."""
        return PROBE_TYPES.get(self.type, self.type)

    @property
    def name(self) -> str:
        """TYPE:SYMBOL, as `-p` takes it, safe to show."""
        return printable(f"{self.kind}:{self.symbol}")


@dataclass(frozen=True)
class WantedProbe:
    """A probe, or a pattern of probes, that is asked for. type: a recorded one, or what Retis calls it.

    text: as it was given. target: a symbol; `*` stands for anything.
    """

    text: str
    type: str
    target: str
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pattern = ".*".join(map(re.escape, self.target.split("*")))
        object.__setattr__(self, "_pattern", re.compile(pattern, re.DOTALL))

    def matches(self, probe: Probe) -> bool:
        """Say whether a probe is meant."""
        return self.type in (probe.type, probe.kind) and self._pattern.fullmatch(probe.symbol) is not None


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were seen: at a probe, in a network namespace. netns: its inode, None if not known."""

    probe: Probe
    netns: int | None

    @property
    def name(self) -> str:
        """The name that Retis gives to the interface of a probe; of a capture's interface, its own."""
        if self.probe.type == CAPTURE:
            return printable(self.probe.symbol)
        return printable(f"{self.probe.kind}/{self.probe.symbol}")

    @property
    def description(self) -> str:
        """What the user should know of it: the kernel has no such interface, and where the packets were."""
        if self.probe.type == CAPTURE:
            return f"Interface of the capture that was read: {self.name}"
        text = f"Fake interface for probe {self.name}"
        return text if self.netns is None else f"{text} in network namespace {self.netns}"


class Interfaces:
    """Numbers the interfaces of a recording in order of first sight. wanted: none means all.

    begin: called with each new one. found: those of `wanted` that some event was at.
    """

    def __init__(self, wanted: Sequence[WantedProbe], begin: Callable[[Interface], None]) -> None:
        self._wanted = tuple(wanted)
        self._begin = begin
        self._known: dict[Interface, int] = {}
        self._chosen: dict[Probe, bool] = {}
        self.found: set[WantedProbe] = set()

    def chosen(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Say for each row whether it is an event at a wanted probe."""
        codes, firsts = _distinct(batch, ("kernel.probe_type", "kernel.symbol"))
        chosen = [self._choose(probe) for probe in _probes(batch, firsts)]
        return np.array(chosen, np.bool_)[codes]

    def numbers(self, batch: pa.RecordBatch) -> Numbers:
        """Return the number of each row's interface; all rows are at a probe."""
        codes, firsts = _distinct(batch, ("kernel.probe_type", "kernel.symbol", "netns.inum"))
        netns = _column(batch, "netns.inum").take(pa.array(firsts)).to_pylist()
        probes = _probes(batch, firsts)
        interfaces = [Interface(p, ns) for p, ns in zip(probes, netns, strict=True) if p is not None]
        return np.array([self._number(i) for i in interfaces], np.int64)[codes]

    def _choose(self, probe: Probe | None) -> bool:
        if probe is None:
            return False
        if probe not in self._chosen:
            matching = [w for w in self._wanted if w.matches(probe)]
            self.found.update(matching)
            self._chosen[probe] = bool(matching) or not self._wanted
        return self._chosen[probe]

    def _number(self, interface: Interface) -> int:
        number = self._known.get(interface)
        if number is None:
            number = self._known[interface] = len(self._known)
            self._begin(interface)
        return number


def probes_of(batch: pa.RecordBatch) -> set[Probe]:
    """Return the probes at which the batch has events that hold packets."""
    held = batch.filter(pc.fill_null(pc.greater(pc.binary_length(_column(batch, "packet.data")), 0), False))
    _codes, firsts = _distinct(held, ("kernel.probe_type", "kernel.symbol"))
    return {probe for probe in _probes(held, firsts) if probe is not None}


def _probes(batch: pa.RecordBatch, rows: Numbers) -> list[Probe | None]:
    """Return the probes of some rows, None for those that have none."""
    kernel = batch.column("kernel").take(pa.array(rows)).to_pylist()
    return [
        None if k is None or k["symbol"] is None else Probe(k["probe_type"] or "", k["symbol"])
        for k in kernel
    ]


def _distinct(batch: pa.RecordBatch, names: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Return for each row the number of its combination of values, and for each number its first row."""
    codes = np.zeros(len(batch), np.int64)
    for name in names:
        encoded = _column(batch, name).dictionary_encode("encode")
        # Both factors are at most the number of rows: no overflow of 64 bits.
        pairs = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
        codes = pa.array(pairs).dictionary_encode().indices.to_numpy().astype(np.int64)
    firsts = np.empty(int(codes.max(initial=-1)) + 1, np.int64)
    firsts[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return codes, firsts


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    section, _, column = name.partition(".")
    return pc.struct_field(batch.column(section), column)
