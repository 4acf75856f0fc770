"""Packet filters against libpcap, on a million random pairs of expression and packet; speed of evaluation.

The generators and the machine that runs the eBPF are those of the unit tests.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from bench.report import Line, median
from fyke.filters.pcap import MATCH, UNREADABLE
from fyke.filters.pcap.compile import compile_packet_filter
from fyke.filters.pcap.evaluate import verdicts

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit/filters"))

from pcap_packets import Packet
from pcap_pairs import Tally, compare_classic, compare_expressions, matrix, some_packets

PAIRS, QUICK_PAIRS = 1_000_000, 20_000
PACKETS = 250  # for each batch of expressions
EVERYDAY = (
    "tcp port 80",
    "host 10.0.0.1 and not port 22",
    "tcp[tcpflags] & tcp-syn != 0",
    "geneve and tcp",
    "vlan 5",
)
AIM_EVALUATION_US = 1.0

Comparison = Callable[[Random, int, Sequence[Packet], Tally], None]


def measure(*, quick: bool) -> Iterator[Line]:
    """Compare, then measure. RuntimeError when a verdict differs."""
    pairs = QUICK_PAIRS if quick else PAIRS
    yield from _compared("random expressions", compare_expressions, pairs)
    yield from _compared("random cBPF programs", compare_classic, pairs // 5)
    yield from _evaluated(quick=quick)


def _compared(what: str, compare: Comparison, at_least: int) -> Iterator[Line]:
    tally, seed = Tally(), secrets.randbits(64)
    random = Random(seed)
    while tally.pairs < at_least and not tally.differences:
        compare(random, 20, some_packets(random, PACKETS), tally)
    if tally.differences:
        raise RuntimeError(f"{what}, seed {seed}: a verdict differs: {tally.differences[0]}")
    match, unreadable = (tally.verdicts[verdict] / tally.pairs for verdict in (MATCH, UNREADABLE))
    note = f"{match:.0%} match, {unreadable:.0%} unreadable"
    yield Line(f"{what}: same verdict as libpcap", tally.pairs, "pairs", at_least=at_least, note=note)


def _evaluated(*, quick: bool) -> Iterator[Line]:
    data, seen, wire = matrix(some_packets(Random(1), 1_000 if quick else 10_000))
    for text in EVERYDAY:
        program, times = compile_packet_filter(text).ethernet, []
        for _ in range(1 if quick else 9):
            started = time.perf_counter()
            verdicts(program, data, seen, wire)
            times.append((time.perf_counter() - started) / len(data) * 1e6)
        yield Line(f"evaluate `{text}`", median(times), "us/packet", at_most=AIM_EVALUATION_US)
