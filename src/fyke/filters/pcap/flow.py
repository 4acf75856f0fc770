"""What is known before each instruction of a cBPF program: jumps go forward, so one pass in order tells.

Where ways join, what holds on all of them is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fyke.filters.pcap.classic import (
    ABS,
    ALU,
    ALWAYS,
    IND,
    JMP,
    LD,
    LDX,
    MEM,
    MISC,
    MSH,
    RET,
    RET_A,
    ST,
    STX,
    TXA,
    ClassicInsn,
    Program,
    next_of,
    reached,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known.

    length: the packet has at least so many bytes. past_x: it has so many past the offset in X. a, x, memory
    (a bit a word): what the program has set.
    """

    length: int = 0
    past_x: int = 0
    a: bool = False
    x: bool = False
    memory: int = 0

    def joined(self, other: Known) -> Known:
        """Return what holds in both cases."""
        return Known(
            min(self.length, other.length),
            min(self.past_x, other.past_x),
            self.a and other.a,
            self.x and other.x,
            self.memory & other.memory,
        )

    def after(self, insn: ClassicInsn) -> Known:
        """Return what is known once an instruction was carried out."""
        if insn.kind == ST or insn.kind == STX:
            return replace(self, memory=self.memory | 1 << insn.k)
        if insn.kind == LDX:
            length = max(self.length, insn.k + 1) if insn.mode == MSH else self.length
            return replace(self, length=length, past_x=0, x=True)
        if insn.kind == LD and insn.mode in (ABS, IND):
            end = insn.k + insn.size
            past_x = max(self.past_x, end) if insn.mode == IND else self.past_x
            return replace(self, length=max(self.length, end), past_x=past_x, a=True)
        if insn.kind == MISC and insn.operation & 0x80 != TXA:
            return replace(self, past_x=0, x=True)
        if insn.kind in (LD, ALU, MISC):
            return replace(self, a=True)
        return self


@dataclass(frozen=True, slots=True)
class Flow:
    """before: what is known before each instruction that can be reached.

    zero_a, zero_x, zero_memory: what is read somewhere without having been set, so that it must begin as 0.
    """

    before: dict[int, Known]
    zero_a: bool
    zero_x: bool
    zero_memory: tuple[int, ...]


def flow_of(program: Program) -> Flow:
    """Follow a program, whose jumps go forward."""
    before = {0: Known()}
    zero_a = zero_x = False
    zero_memory: set[int] = set()
    for at in reached(program):
        insn, known = program[at], before[at]
        zero_a |= reads_a(insn) and not known.a
        zero_x |= reads_x(insn) and not known.x
        if insn.kind in (LD, LDX) and insn.mode == MEM and not known.memory >> insn.k & 1:
            zero_memory.add(insn.k)
        after = known.after(insn)
        for to in next_of(program, at):
            before[to] = before[to].joined(after) if to in before else after
    return Flow(before, zero_a, zero_x, tuple(sorted(zero_memory)))


def reads_a(insn: ClassicInsn) -> bool:
    """Return whether an instruction uses the accumulator."""
    if insn.kind == JMP:
        return insn.operation != ALWAYS
    if insn.kind == RET:
        return bool(insn.code & RET_A)
    return insn.kind in (ALU, ST) or (insn.kind == MISC and insn.operation & 0x80 != TXA)


def reads_x(insn: ClassicInsn) -> bool:
    """Return whether an instruction uses the index register."""
    if insn.kind == LD:
        return insn.mode == IND
    if insn.kind == ALU:
        return insn.uses_x and insn.operation != 0x80
    if insn.kind == JMP:
        return insn.uses_x and insn.operation != ALWAYS
    return insn.kind == STX or (insn.kind == MISC and insn.operation & 0x80 == TXA)
