"""cBPF, which libpcap compiles to: instructions of 8 bytes (bpf(4); include/uapi/linux/bpf_common.h)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
X = 0x08  # the operand is the index register
RET_A = 0x10
TAX, TXA = 0x00, 0x80
OPERATIONS = {
    0x00: "add",
    0x10: "sub",
    0x20: "mul",
    0x30: "div",
    0x40: "or",
    0x50: "and",
    0x60: "lsh",
    0x70: "rsh",
    0x80: "neg",
    0x90: "mod",
    0xA0: "xor",
}
CONDITIONS = {0x10: "eq", 0x20: "gt", 0x30: "ge", 0x40: "set"}
ALWAYS = 0x00
MEMORY_WORDS = 16

# Loads from here on ask Linux about the skb instead of reading the packet (SKF_AD_OFF in linux/filter.h).
EXTENSIONS = range(0xFFFFF000, 0xFFFFF000 + 64)


class ClassicInsn(NamedTuple):
    """One instruction; jumps count from the next one. As a tuple it is what libpcap.py has."""

    code: int
    jt: int
    jf: int
    k: int

    @property
    def kind(self) -> int:
        """The class: LD to MISC."""
        return self.code & 7

    @property
    def mode(self) -> int:
        """Where a load gets its value: IMM, ABS, IND, MEM, LEN, MSH."""
        return self.code & 0xE0

    @property
    def size(self) -> int:
        """How many bytes a load takes."""
        return SIZES[self.code & 0x18]

    @property
    def operation(self) -> int:
        """What an ALU, JMP or MISC instruction does."""
        return self.code & 0xF0

    @property
    def uses_x(self) -> bool:
        """Whether the operand of an ALU or JMP instruction is the index register."""
        return bool(self.code & X)

    @property
    def reads_packet(self) -> bool:
        """Whether bytes of the packet are loaded."""
        return self.kind in (LD, LDX) and self.mode in (ABS, IND, MSH)


Program = tuple[ClassicInsn, ...]


def next_of(program: Program, at: int) -> tuple[int, ...]:
    """Return the places where the program may go on after an instruction; none after a return."""
    insn = program[at]
    if insn.kind == RET:
        return ()
    if insn.kind != JMP:
        return (at + 1,)
    if insn.operation == ALWAYS:
        return (at + 1 + signed(insn.k),)
    return (at + 1 + insn.jt, at + 1 + insn.jf)


def reached(program: Program) -> Iterator[int]:
    """Yield the places of instructions that can be reached, in order. Jumps must go forward."""
    seen = {0}
    for at in range(len(program)):
        if at in seen:
            seen.update(next_of(program, at))
            yield at


def goes_back(program: Program) -> bool:
    """Return whether there is a jump backward, which libpcap uses for `protochain`."""
    return any(to <= at for at in range(len(program)) for to in next_of(program, at))


def signed(k: int) -> int:
    """Return a constant of 32 bits as a signed number."""
    return k - (1 << 32) if k >= 1 << 31 else k
