"""nft and ct: what a verdict costs in the kernel, verdicts a second, and the start beside a large ruleset."""

from __future__ import annotations

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.collecting import Ended, collecting
from bench.kernel_cost import empty_ns, statistics_on
from bench.report import Line, median, spread
from bench.wire import Wire, run, wire
from fyke.kernel.view import LiveKernel

# The packet's journey over one rule that traces it, one that asks for its connection, and the chain's policy.
TRACED = """
table ip bench {
  chain c { type filter hook output priority 0; meta nftrace set 1; ct state new counter; }
}
"""
VERDICTS_PER_PACKET = 3
COLLECTIONS = {"nft": "nft", "skb+tracking+dev+ns+nft": "skb,skb-tracking,dev,ns,nft"}
ALL = "skb+tracking+dev+ns+nft+ct"
COLLECTIONS[ALL] = f"{COLLECTIONS['skb+tracking+dev+ns+nft']},ct"
RULES = 10_000
AIM_START_SECONDS = 1.0  # what a ruleset may add


def measure(*, quick: bool) -> Iterator[Line]:
    """Flood one CPU's output with traced packets; each round of a collection is beside the empty program."""
    if not LiveKernel().features.has("kprobe"):
        yield Line("not measured: this kernel has no kprobes", 0, "verdicts")
        return
    rounds, packets = (1, 1_000) if quick else (5, 10_000)
    with wire() as net, tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        with ruled(net, TRACED):
            yield from _costs(net, Path(folder), rounds, packets)
        yield from _starts(net, Path(folder), rounds)


@contextmanager
def ruled(net: Wire, rules: str) -> Iterator[None]:
    """Have rules in the sender's namespace."""
    inside = ("ip", "netns", "exec", net.a, "nft")
    subprocess.run((*inside, "-f", "-"), input=rules, text=True, check=True, timeout=120)
    try:
        yield
    finally:
        run(*inside, "flush", "ruleset")


def _costs(net: Wire, folder: Path, rounds: int, packets: int) -> Iterator[Line]:
    per_event, ratios = defaultdict(list), defaultdict(list)
    rates: list[float] = []
    ends: list[Ended] = []
    for _ in range(rounds):
        for name, collectors in COLLECTIONS.items():
            with statistics_on():
                empty = empty_ns(net, packets)
                ns, ended, _ = _round(net, folder, collectors, packets)
            per_event[name].append(ns / ended.events)
            ratios[name].append(ns / ended.events / empty)
        _, ended, seconds = _round(net, folder, COLLECTIONS[ALL], packets)
        ends.append(ended)
        rates.append(ended.events / seconds)
    for name, found in per_event.items():
        yield Line(f"{name}, per verdict", median(found), "ns", note=spread(found))
        yield Line(f"{name}, per verdict", median(ratios[name]), "x empty")
    lost = sum(ended.lost for ended in ends)
    yield Line(f"{ALL}: verdicts to the file", median(rates), "events/s", note=f"{lost} lost")


def _round(net: Wire, folder: Path, collectors: str, packets: int) -> tuple[int, Ended, float]:
    options = ("-c", collectors, "--nft-verdicts", "all")
    with collecting(folder, *options, tracepoints=()) as collection:
        sent = net.send(packets)
        ns, _ = collection.program_time()
        ended = collection.stop()
    if ended.events + ended.lost < packets * VERDICTS_PER_PACKET:
        raise RuntimeError(f"{packets} packets gave only {ended.events} verdicts, {ended.lost} lost")
    return ns, ended, sent.seconds


def _starts(net: Wire, folder: Path, rounds: int) -> Iterator[Line]:
    """Time the start in the namespace's own rules: few, and many."""
    many = "\n".join(f"add rule ip big c udp dport {1 + n % 65_535} counter" for n in range(RULES))
    more: list[float] = []
    for _ in range(rounds):
        with ruled(net, TRACED):
            few_seconds = _start(net, folder)
        with ruled(net, f"add table ip big; add chain ip big c\n{many}"):
            more.append(_start(net, folder) - few_seconds)
    yield Line(f"start beside {RULES:,} rules: more than beside few", median(more), "s",
               at_most=AIM_START_SECONDS, note=spread(more))  # fmt: skip


def _start(net: Wire, folder: Path) -> float:
    with collecting(folder, "-c", "nft,ns", "--netns", net.a, tracepoints=()) as collection:
        collection.stop()
    return collection.ready_seconds
