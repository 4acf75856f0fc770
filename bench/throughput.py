"""How many events a second reach the file without loss, at what cost to fyke's own process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.collecting import TRACEPOINTS, Ended, collecting
from bench.report import Line, median, spread
from bench.wire import Sent, Wire, wire

OPTIONS = ("-c", "skb,skb-tracking,dev,ns")
MORE = (*TRACEPOINTS, "net:net_dev_queue", "net:netif_rx")
AIM_RATE, AIM_CPU_US, AIM_PEAK_MB = 400_000, 1.2, 150
_TRIES = 6
_SECONDS = 6  # of one flood, after the first
_LESS = 0.85  # the next rate to try after one at which events were lost


@dataclass(frozen=True)
class _Flow:
    """One collection under one flood."""

    sent: Sent
    ended: Ended

    @property
    def rate(self) -> float:
        """Events in the file per second of the flood; a handful may be of before and after."""
        return self.ended.events / self.sent.seconds

    @property
    def per_sender_cpu(self) -> float:
        """Events in the file per CPU second of the sender."""
        return self.ended.events / self.sent.cpu_seconds

    @property
    def cpu_us(self) -> float:
        return self.ended.cpu_seconds / self.ended.events * 1e6


@dataclass(frozen=True)
class _Load:
    """Where a flood is recorded. main: this is what the aims are for."""

    what: str
    probes: tuple[str, ...]
    senders: int
    main: bool = False


def measure(*, quick: bool) -> Iterator[Line]:
    """Flood as fast as the senders can; where events are lost, slower, until none is. One CPU is fyke's."""
    rounds, packets = (1, 20_000) if quick else (5, 800_000)
    senders = max(1, len(os.sched_getaffinity(0)) - 1)
    loads = [_Load("2 tracepoints", TRACEPOINTS, senders, main=True)]
    if not quick:
        loads.append(_Load("4 tracepoints", MORE, senders))
    with wire() as net, tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        alone = [net.send(packets, senders=senders) for _ in range(rounds)]
        rates = [s.packets / s.seconds for s in alone]
        per_cpu = [s.packets / s.cpu_seconds for s in alone]
        yield Line(f"without fyke, {senders} sender(s)", median(rates), "packets/s", note=spread(rates))
        yield Line("without fyke, per CPU second of the sender", median(per_cpu), "packets",
                   note=spread(per_cpu))  # fmt: skip
        for load in loads:
            yield from _lines(*_lossless(net, Path(folder), packets, rounds, load), load)


def _lines(flows: list[_Flow], lossy: int, load: _Load) -> Iterator[Line]:
    rates, cpu = [f.rate for f in flows], [f.cpu_us for f in flows]
    per_cpu = [f.per_sender_cpu for f in flows]
    last = flows[-1].ended
    proof = f"{last.hits} hits = {last.events} written + {last.lost} lost"
    others = f"besides {lossy} flood(s) with loss" if lossy else ""
    note = "; ".join(filter(None, (spread(rates), proof, others)))
    if last.lost:
        note = f"lost at every rate down to {min(rates):.0f}: {last.causes}"
    yield Line(f"{load.what}: events without loss", 0 if last.lost else median(rates), "events/s",
               at_least=AIM_RATE if load.main else None, note=note)  # fmt: skip
    yield Line(f"{load.what}: the same per CPU second of the sender", median(per_cpu), "events",
               note=spread(per_cpu))  # fmt: skip
    yield Line(f"{load.what}: CPU of fyke, ring to file", median(cpu), "us/event",
               at_most=AIM_CPU_US if load.main else None, note=spread(cpu))  # fmt: skip
    peak = max(f.ended.peak_bytes for f in flows) / 1e6
    yield Line(f"{load.what}: peak memory beside the rings", peak, "MB",
               at_most=AIM_PEAK_MB if load.main else None,
               note=f"rings, mapped twice: {last.ring_bytes / 1e6:.0f} MB")  # fmt: skip


def _lossless(net: Wire, folder: Path, packets: int, rounds: int, load: _Load) -> tuple[list[_Flow], int]:
    """Return floods of the highest rate tried at which `rounds` lost nothing, and how many there did lose.

    A machine that others use lets fyke wait at times, so that some may. The last flood, with loss, when every
    rate has too many.
    """
    full = rate = 0.0
    for _ in range(_TRIES):
        good: list[_Flow] = []
        lossy = 0
        while len(good) < rounds and lossy <= rounds // 2:
            flow = _flow(net, folder, packets, rate, load)
            full = full or flow.sent.packets / flow.sent.seconds
            if flow.ended.lost:
                lossy += 1
            else:
                good.append(flow)
        if len(good) == rounds:
            return good, lossy
        rate = _LESS * (rate or full)
        packets = min(packets, int(rate * _SECONDS))
    return [flow], lossy


def _flow(net: Wire, folder: Path, packets: int, rate: float, load: _Load) -> _Flow:
    with collecting(folder, *OPTIONS, tracepoints=load.probes) as collection:
        sent = net.send(packets, rate=rate, senders=load.senders)
        ended = collection.stop()
    if not ended.adds_up:
        raise RuntimeError(f"{ended.hits} hits are not {ended.events} events and {ended.lost} lost")
    # Every packet is sent; a full backlog may keep some from being received (net.core.netdev_max_backlog).
    if ended.hits < sent.packets:
        raise RuntimeError(f"{sent.packets} packets gave only {ended.hits} hits")
    return _Flow(sent, ended)
