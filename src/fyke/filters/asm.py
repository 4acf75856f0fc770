"""An assembler for eBPF: instructions, labels, and what the verifier wants of code (RFC 9669).

>>> code = Assembler()
>>> no = code.label()
>>> code.branch("ne", Reg.R1, 7, no)
>>> code.mov(Reg.R0, 1)
>>> code.exit()
>>> code.place(no)
>>> code.mov(Reg.R0, 0)
>>> code.exit()
>>> len(code.finish())
5
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from fyke.errors import FykeError


class Reg(enum.IntEnum):
    """A register. R0: result; R1 to R5: arguments, lost in calls; R6 to R9: kept; R10: the frame."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


# Classes, sources, modes (RFC 9669, section 3; include/uapi/linux/bpf_common.h).
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
IMMEDIATE, REGISTER = 0x00, 0x08
MEM, IMM64 = 0x60, 0x18
SIZES = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
OPERATIONS = {
    "add": 0x00,
    "sub": 0x10,
    "mul": 0x20,
    "div": 0x30,
    "or": 0x40,
    "and": 0x50,
    "lsh": 0x60,
    "rsh": 0x70,
    "neg": 0x80,
    "mod": 0x90,
    "xor": 0xA0,
    "mov": 0xB0,
    "arsh": 0xC0,
    "swap": 0xD0,
}
CONDITIONS = {
    "always": 0x00,
    "eq": 0x10,
    "gt": 0x20,
    "ge": 0x30,
    "set": 0x40,
    "ne": 0x50,
    "sgt": 0x60,
    "sge": 0x70,
    "lt": 0xA0,
    "le": 0xB0,
    "slt": 0xC0,
    "sle": 0xD0,
}
CALL, EXIT = 0x85, 0x95
MAX_JUMP = 32767

# Helper functions by number (enum bpf_func_id, include/uapi/linux/bpf.h).
GET_CURRENT_PID_TGID = 14
GET_CURRENT_TASK = 35
PROBE_READ_KERNEL = 113


@dataclass(frozen=True, slots=True)
class Insn:
    """One instruction of 8 bytes. Of a 64-bit constant the second half is one with op 0."""

    op: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0


class Label:
    """A place to jump to."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: int | None = None


class TooFar(FykeError):
    """A jump reaches further than an instruction can say."""


class Assembler:
    """Code in the making. Jumps go to labels; `finish()` resolves them and drops what is never reached."""

    def __init__(self) -> None:
        self._code: list[tuple[Insn, Label | None]] = []
        self._labels: list[Label] = []

    def label(self) -> Label:
        """Return a new label, placed later."""
        label = Label()
        self._labels.append(label)
        return label

    def place(self, label: Label) -> None:
        """Put a label in front of the next instruction."""
        assert label.at is None, "a label is in one place"
        label.at = len(self._code)

    def mov(self, dst: Reg, src: Reg | int, *, wide: bool = True) -> None:
        """Copy a register or a constant (32 bits, sign-extended when wide); narrow clears the upper half."""
        self.alu("mov", dst, src, wide=wide)

    def alu(self, operation: str, dst: Reg, src: Reg | int, *, wide: bool = True) -> None:
        """Compute `dst = dst OPERATION src`, in 64 or (upper half cleared) 32 bits."""
        kind = (ALU64 if wide else ALU) | OPERATIONS[operation]
        if isinstance(src, Reg):
            self._add(Insn(kind | REGISTER, dst, src))
        else:
            self._add(Insn(kind | IMMEDIATE, dst, imm=signed32(src)))

    def from_big_endian(self, dst: Reg, bits: int) -> None:
        """Turn 16, 32 or 64 bits of network order into the machine's, zero-extended."""
        self._add(Insn(ALU | OPERATIONS["swap"] | REGISTER, dst, imm=bits))

    def load(self, dst: Reg, base: Reg, off: int, size: int) -> None:
        """Load `size` bytes, zero-extended."""
        self._add(Insn(LDX | MEM | SIZES[size], dst, base, off))

    def store(self, base: Reg, off: int, src: Reg | int, size: int) -> None:
        """Store a register or a constant."""
        if isinstance(src, Reg):
            self._add(Insn(STX | MEM | SIZES[size], base, src, off))
        else:
            self._add(Insn(ST | MEM | SIZES[size], base, 0, off, signed32(src)))

    def constant64(self, dst: Reg, value: int) -> None:
        """Set all 64 bits of a register."""
        low, high = struct.unpack("=ii", struct.pack("=Q", value & (1 << 64) - 1))
        self._add(Insn(LD | IMM64, dst, imm=low))
        self._add(Insn(0, imm=high))

    def branch(self, condition: str, dst: Reg, src: Reg | int, to: Label, *, wide: bool = True) -> None:
        """Jump to a label when `dst CONDITION src`; narrow compares the lower halves."""
        kind = (JMP if wide else JMP32) | CONDITIONS[condition]
        if isinstance(src, Reg):
            self._add(Insn(kind | REGISTER, dst, src), to)
        else:
            self._add(Insn(kind | IMMEDIATE, dst, imm=signed32(src)), to)

    def jump(self, to: Label) -> None:
        """Jump to a label."""
        self._add(Insn(JMP), to)

    def call(self, helper: int) -> None:
        """Call a helper of the kernel, by number."""
        self._add(Insn(CALL, imm=helper))

    def exit(self) -> None:
        """Return R0."""
        self._add(Insn(EXIT))

    def finish(self) -> list[Insn]:
        """Return the code: jumps resolved, and without what can't be reached, which the kernel refuses.

        Raises TooFar when a jump is longer than 32,767 instructions.
        """
        reached = self._reached()
        kept = [at for at in range(len(self._code)) if at in reached]
        place = {at: n for n, at in enumerate(kept)}
        return [self._resolved(at, place) for at in kept]

    def _add(self, insn: Insn, to: Label | None = None) -> None:
        self._code.append((insn, to))

    def _resolved(self, at: int, place: dict[int, int]) -> Insn:
        insn, to = self._code[at]
        if to is None:
            return insn
        assert to.at is not None, "a jump to a label that is nowhere"
        off = place[to.at] - place[at] - 1
        if abs(off) > MAX_JUMP:
            raise TooFar(f"a jump over {abs(off)} instructions is too long for eBPF ({MAX_JUMP})")
        return Insn(insn.op, insn.dst, insn.src, off, insn.imm)

    def _reached(self) -> set[int]:
        reached: set[int] = set()
        waiting = [0] if self._code else []
        while waiting:
            at = waiting.pop()
            if at in reached:
                continue
            assert at < len(self._code), "code runs off its end"
            reached.add(at)
            insn, to = self._code[at]
            if to is not None:
                assert to.at is not None, "a jump to a label that is nowhere"
                waiting.append(to.at)
            if insn.op not in (EXIT, JMP):
                waiting.append(at + 1)
        return reached


def signed32(value: int) -> int:
    """Return the 32 bits of a constant as the instruction's signed field has them."""
    assert -(1 << 31) <= value < 1 << 32, "a constant of more than 32 bits"
    return value - (1 << 32) if value >= 1 << 31 else value


def encode(code: Iterable[Insn]) -> bytes:
    """Return the bytes of code, for this (little-endian) machine."""
    return b"".join(struct.pack("<BBhi", i.op, i.src << 4 | i.dst, i.off, i.imm) for i in code)


def decode(code: bytes) -> list[Insn]:
    """Return the instructions in bytes; the inverse of `encode`."""
    return [
        Insn(op, regs & 15, regs >> 4, off, imm) for op, regs, off, imm in struct.iter_unpack("<BBhi", code)
    ]
