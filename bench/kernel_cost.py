"""What a hit costs in the kernel: nanoseconds of BPF by its own statistics, against an empty program's."""

from __future__ import annotations

import os
import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bench.collecting import TRACEPOINTS, collecting
from bench.report import Line, median, spread
from bench.wire import Wire, conntrack, wire
from fyke.kernel import syscall_bpf
from fyke.kernel.syscalls import number_of, syscall

# what is measured -> options of `fyke collect`
ISSUE = "skb+tracking+dev+ns"
_ALL = ("-c", "skb,skb-tracking,dev,ns")
COLLECTIONS = {
    "dev": ("-c", "dev"),
    "dev+ns": ("-c", "dev,ns"),
    "skb": ("-c", "skb"),
    "skb-tracking": ("-c", "skb-tracking"),
    ISSUE: _ALL,
    "all sections": (*_ALL, "--skb-sections", "all"),
    "all sections, stack": (*_ALL, "--skb-sections", "all", "--stack"),
}
# The flood is UDP to port 9, so that both filters look at everything they can look at.
REJECTED = "-f, rejected"
FILTERED = {
    REJECTED: (*_ALL, "-f", "udp dst port 10"),
    "-f, accepted, then followed": (*_ALL, "-f", "udp dst port 9"),
    "-f, accepted, not tracked": ("-c", "skb,dev,ns", "-f", "udp dst port 9"),
    "-m, rejected": (*_ALL, "-m", "sk_buff.mark == 7"),
}
# Conntrack on in the sender's namespace: at one of the two tracepoints packets have a connection.
TRACKED = {f"{ISSUE}, conntrack on": _ALL, f"{ISSUE}+ct": ("-c", "skb,skb-tracking,dev,ns,ct")}
AIMS = {ISSUE: 12, REJECTED: 4}  # times an empty program
_BPF_ENABLE_STATS = 32


@contextmanager
def statistics_on() -> Iterator[None]:
    """Have the kernel measure programs, as sysctl kernel.bpf_stats_enabled does, for as long as a descriptor
    is open: whatever ends this process ends that too (BPF_ENABLE_STATS in linux/bpf.h, Linux 5.8).
    """
    fd = syscall(number_of("bpf"), _BPF_ENABLE_STATS, struct.pack("=I", 0), 4)
    try:
        yield
    finally:
        os.close(fd)


def measure(*, quick: bool) -> Iterator[Line]:
    """Measure each collection several times, each time beside the empty program: noise hits both."""
    rounds, packets = (1, 3_000) if quick else (7, 60_000)
    costs: dict[str, list[_Cost]] = defaultdict(list)
    empty: list[float] = []
    with statistics_on(), wire() as net, tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        for _ in range(rounds):
            for name, options in (COLLECTIONS | FILTERED | TRACKED).items():
                if quick and name not in AIMS:
                    continue
                before = empty_ns(net, packets)
                empty.append(before)
                with conntrack(net.a) if name in TRACKED else nullcontext():
                    costs[name].append(_cost(net, packets, Path(folder), options, before))
    yield Line("empty program, per run", median(empty), "ns", note=spread(empty))
    for name, found in costs.items():
        per_run, per_event = ([getattr(c, key) for c in found] for key in ("per_run", "per_event"))
        lost = sum(c.lost for c in found)
        note = f"{spread(per_run)}{f', {lost} events lost' if lost else ''}"
        yield Line(f"{name}, per run", median(per_run), "ns", note=note)
        ratio = median([c.run_ratio for c in found])
        yield Line(f"{name}, per run", ratio, "x empty", at_most=AIMS.get(name))
        if not any(per_event):  # all rejected
            continue
        runs = f"{median([c.runs_per_event for c in found]):.2f} runs an event"
        yield Line(f"{name}, per event", median(per_event), "ns", note=runs)
        yield Line(f"{name}, per event", median([c.event_ratio for c in found]), "x empty")


class _Cost:
    """One round of one collection. Tracking's own probes run too: they are in both figures."""

    def __init__(self, ns: int, runs: int, events: int, lost: int, empty: float) -> None:
        self.lost = lost
        self.per_run = ns / runs
        self.per_event = ns / events if events else 0.0
        self.runs_per_event = runs / events if events else 0.0
        self.run_ratio = self.per_run / empty
        self.event_ratio = self.per_event / empty


def _cost(net: Wire, packets: int, folder: Path, options: tuple[str, ...], empty: float) -> _Cost:
    with collecting(folder, *options) as collection:
        net.send(packets)
        ns, runs = collection.program_time()
        ended = collection.stop()
    if not ended.adds_up:
        raise RuntimeError(
            f"{ended.hits} hits: {ended.events} events, {ended.filtered} filtered, {ended.lost} lost"
        )
    return _Cost(ns, runs, ended.events, ended.lost, empty)


def empty_ns(net: Wire, packets: int) -> float:
    """Return nanoseconds per run of a program that does nothing, at the same tracepoints, in such a flood."""
    program = syscall_bpf.prog_load(syscall_bpf.PROG_TYPE_RAW_TRACEPOINT, syscall_bpf.RETURN_0)
    links: list[int] = []
    try:
        for name in TRACEPOINTS:
            links.append(syscall_bpf.raw_tracepoint_open(program, name.partition(":")[2]))
        net.send(packets)
        info = syscall_bpf.prog_info(program)
    finally:
        for fd in (*links, program):
            os.close(fd)
    return info.run_time_ns / info.run_cnt
