"""Pairs of expression and packet: what libpcap says, what the lowered code says, what the evaluation says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import cypcap
import numpy as np
from machine import Machine
from pcap_expressions import classic, expression
from pcap_packets import Packet, packet

from fyke.errors import UsageError
from fyke.filters.asm import Assembler
from fyke.filters.pcap import MATCH, NO_LINK_LAYER, UNREADABLE
from fyke.filters.pcap.classic import ClassicInsn, Program
from fyke.filters.pcap.compile import PacketFilter, compile_packet_filter
from fyke.filters.pcap.evaluate import verdicts
from fyke.filters.pcap.loads import PacketView
from fyke.filters.pcap.lower import lower, lower_filter

VIEW = PacketView()

# libpcap 1.10 doesn't clear a program's memory, which expressions with `geneve` may read unset; here it is 0.
CLEAR = [(0x00, 0, 0, 0), *((0x02, 0, 0, word) for word in range(16))]


@dataclass
class Tally:
    """What was compared, and what differed."""

    verdicts: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        return sum(self.verdicts.values())


def compare_expressions(random: Random, expressions: int, packets: Sequence[Packet], tally: Tally) -> None:
    """Compare for random expressions, each on all packets, with and without link-layer header in turn."""
    for number in range(expressions):
        text = expression(random)
        try:
            packet_filter = compile_packet_filter(text)
        except UsageError:
            tally.refused += 1
            continue
        compare_filter(packet_filter, packets, tally, variable_stack_reads=number % 2 == 0)


def compare_filter(
    packet_filter: PacketFilter, packets: Sequence[Packet], tally: Tally, *, variable_stack_reads: bool
) -> None:
    """Compare for one expression. Every third packet is without link-layer header."""
    code = lower_filter(packet_filter, VIEW, variable_stack_reads=variable_stack_reads)
    view = PacketView(head_bytes=code.head_bytes)
    machine = Machine(code.insns, view, variable_stack_reads=variable_stack_reads)
    without = [one.from_network() for one in packets[::3]]
    for kind, program, some in ((0, packet_filter.ethernet, packets), (1, packet_filter.raw, without)):
        if program is not None:
            _compare(packet_filter.text, program, machine, kind, some, tally)
        else:
            assert machine.run(some[0].data, len(some[0].whole), kind) == NO_LINK_LAYER


def compare_classic(random: Random, programs: int, packets: Sequence[Packet], tally: Tally) -> None:
    """Compare for random cBPF."""
    for number in range(programs):
        program = tuple(ClassicInsn(*insn) for insn in classic(random))
        view, variable_stack_reads = PacketView(head_bytes=random.choice((24, 64, 160))), number % 2 == 0
        code = Assembler()
        lower(program, view, code, variable_stack_reads=variable_stack_reads)
        machine = Machine(code.finish(), view, variable_stack_reads=variable_stack_reads)
        _compare(str(list(map(tuple, program))), program, machine, 0, packets, tally)


def _compare(
    name: str, program: Program, machine: Machine, kind: int, packets: Sequence[Packet], tally: Tally
) -> None:
    libpcap = cypcap.BpfProgram([*CLEAR, *map(tuple, program)])
    data, seen, wire = matrix(packets)
    evaluated = verdicts(program, data, seen, wire).tolist()
    for one, by_evaluation in zip(packets, evaluated, strict=True):
        verdict = machine.run(one.data, len(one.whole), kind)
        tally.verdicts[verdict] += 1
        wrong = list(_wrong(libpcap, one, verdict, by_evaluation))
        if wrong:
            tally.differences.append(f"{name}: {', '.join(wrong)}: {one}, network header first: {kind}")


def _wrong(libpcap: cypcap.BpfProgram, one: Packet, verdict: int, by_evaluation: int) -> Iterator[str]:
    wire = len(one.whole)
    by_libpcap = libpcap.offline_filter(cypcap.Pkthdr(0.0, one.seen, wire), one.data)
    if (verdict == MATCH) != by_libpcap:
        yield f"the code says {verdict}, libpcap {by_libpcap}"
    if by_evaluation != verdict:
        yield f"the code says {verdict}, the evaluation {by_evaluation}"
    if one.seen == wire:
        if verdict == UNREADABLE:
            yield "unreadable, though all can be read"
    elif verdict != UNREADABLE:
        by_libpcap = libpcap.offline_filter(cypcap.Pkthdr(0.0, wire, wire), one.whole)
        if (verdict == MATCH) != by_libpcap:
            yield f"the code says {verdict} to a part, libpcap {by_libpcap} to the whole"


def matrix(packets: Sequence[Packet]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return packets as the evaluation takes them; what can't be read is 0xa5."""
    width = max((one.seen for one in packets), default=0)
    data = np.frombuffer(b"".join(one.data.ljust(width, b"\xa5") for one in packets), np.uint8)
    seen = np.array([one.seen for one in packets], np.uint32)
    return data.reshape(len(packets), width), seen, np.array([len(one.whole) for one in packets], np.uint32)


def some_packets(random: Random, count: int) -> list[Packet]:
    return [packet(random) for _ in range(count)]
