"""One cBPF program over many packets at once: an instruction is carried out for all packets that come to it.

Jumps go forward, so one pass over the instructions in order is enough. Verdicts are those of the lowered
code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fyke.filters.pcap import MATCH, REJECT, UNREADABLE
from fyke.filters.pcap.classic import (
    ABS,
    ALU,
    ALWAYS,
    CONDITIONS,
    IMM,
    IND,
    JMP,
    LD,
    LDX,
    LEN,
    MISC,
    MSH,
    OPERATIONS,
    RET,
    RET_A,
    ST,
    STX,
    TXA,
    ClassicInsn,
    Program,
)

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp] | slice  # numbers of packets, or all

_ALL = slice(None)


def verdicts(
    program: Program, data: Bytes, lengths: npt.NDArray[np.integer], wire_lengths: npt.NDArray[np.integer]
) -> Bytes:
    """Return the verdict on each packet: REJECT, MATCH or UNREADABLE.

    data: shape (n, width), a packet a row, from the header the program is for. lengths: how many bytes of
    each row are the packet's. wire_lengths: how long each packet is.
    """
    run = _Run(data, lengths, wire_lengths)
    for at, insn in enumerate(program):
        run.step(at, insn)
    return run.verdicts


class _Run:
    """The state of all packets: registers, memory, and at which instruction they wait."""

    def __init__(
        self, data: Bytes, lengths: npt.NDArray[np.integer], wire_lengths: npt.NDArray[np.integer]
    ) -> None:
        count, width = data.shape
        self.verdicts = np.full(count, REJECT, np.uint8)
        self._data = data
        self._lengths: Numbers = np.minimum(lengths, width).astype(np.int64)
        self._wire_lengths: Numbers = wire_lengths.astype(np.int64)
        self._a: Words = np.zeros(count, np.uint32)
        self._x: Words = np.zeros(count, np.uint32)
        self._memory: dict[int, Words] = {}
        self._waiting: dict[int, list[Rows]] = {0: [_ALL]}

    def step(self, at: int, insn: ClassicInsn) -> None:
        """Carry out an instruction for the packets that wait at it."""
        rows = _joined(self._waiting.pop(at, []))
        if not isinstance(rows, slice) and not len(rows):
            return
        if insn.kind == RET:
            self._return(insn, rows)
        elif insn.kind == JMP:
            self._jump(at, insn, rows)
        else:
            self._wait(at + 1, self._compute(insn, rows))

    def _wait(self, at: int, rows: Rows) -> None:
        self._waiting.setdefault(at, []).append(rows)

    def _return(self, insn: ClassicInsn, rows: Rows) -> None:
        if insn.code & RET_A:
            self.verdicts[rows] = np.where(self._a[rows] != 0, MATCH, REJECT)
        else:
            self.verdicts[rows] = MATCH if insn.k else REJECT

    def _jump(self, at: int, insn: ClassicInsn, rows: Rows) -> None:
        if insn.operation == ALWAYS:
            self._wait(at + 1 + insn.k, rows)
            return
        yes = _compared(CONDITIONS[insn.operation], self._a[rows], self._operand(insn, rows))
        self._wait(at + 1 + insn.jt, _picked(rows, yes))
        self._wait(at + 1 + insn.jf, _picked(rows, ~yes))

    def _compute(self, insn: ClassicInsn, rows: Rows) -> Rows:
        """Carry out what is neither a jump nor a return; return the packets that go on."""
        if insn.kind in (LD, LDX):
            return self._load(insn, rows)
        if insn.kind in (ST, STX):
            word = self._word(insn.k)
            word[rows] = (self._a if insn.kind == ST else self._x)[rows]
        elif insn.kind == MISC and insn.operation & 0x80 == TXA:
            self._a[rows] = self._x[rows]
        elif insn.kind == MISC:
            self._x[rows] = self._a[rows]
        elif insn.kind == ALU:
            return self._alu(OPERATIONS[insn.operation], insn, rows)
        return rows

    def _alu(self, operation: str, insn: ClassicInsn, rows: Rows) -> Rows:
        if operation in ("div", "mod"):
            zero = np.broadcast_to(self._operand(insn, rows) == 0, self._a[rows].shape)
            rows = _picked(rows, ~zero)  # the others stay rejected
        self._a[rows] = _result(operation, self._a[rows], self._operand(insn, rows))
        return rows

    def _load(self, insn: ClassicInsn, rows: Rows) -> Rows:
        target = self._a if insn.kind == LD else self._x
        if insn.mode == IMM:
            target[rows] = insn.k
        elif insn.mode == LEN:
            target[rows] = self._wire_lengths[rows]
        elif insn.mode == MSH:
            rows = self._readable(rows, insn.k + 1)
            target[rows] = (self._fixed(rows, insn.k, 1) & 0xF) << 2
        elif insn.mode == ABS:
            rows = self._readable(rows, insn.k + insn.size)
            target[rows] = self._fixed(rows, insn.k, insn.size)
        elif insn.mode == IND:
            rows = self._readable(rows, self._x[rows].astype(np.int64) + insn.k + insn.size)
            target[rows] = self._past_x(rows, insn.k, insn.size)
        else:
            target[rows] = self._word(insn.k)[rows]
        return rows

    def _readable(self, rows: Rows, ends: int | Numbers) -> Rows:
        """Return the packets that have the bytes up to `ends`; decide on the others."""
        there = ends <= self._lengths[rows]
        if not there.all():
            out_of_reach = ~there
            missing = _picked(rows, out_of_reach)
            wanted = ends if isinstance(ends, int) else ends[out_of_reach]
            self.verdicts[missing] = np.where(wanted <= self._wire_lengths[missing], UNREADABLE, REJECT)
        return _picked(rows, there)

    def _fixed(self, rows: Rows, offset: int, size: int) -> Words:
        if offset + size > self._data.shape[1]:
            return np.zeros(0, np.uint32)  # nobody is left
        return _big_endian([self._data[rows, offset + n] for n in range(size)])

    def _past_x(self, rows: Rows, offset: int, size: int) -> Words:
        numbers = np.arange(len(self._data)) if isinstance(rows, slice) else rows
        offsets = self._x[rows].astype(np.int64) + offset
        return _big_endian([self._data[numbers, offsets + n] for n in range(size)])

    def _operand(self, insn: ClassicInsn, rows: Rows) -> Words | np.uint32:
        return self._x[rows] if insn.uses_x else np.uint32(insn.k)

    def _word(self, number: int) -> Words:
        if number not in self._memory:
            self._memory[number] = np.zeros(len(self._data), np.uint32)
        return self._memory[number]


def _result(operation: str, a: Words, b: Words | np.uint32) -> Words:
    """Compute in 32 bits. Shifts by more than 31 bits leave nothing."""
    if operation == "lsh":
        return np.where(b < 32, a << (b & 31), 0).astype(np.uint32)
    if operation == "rsh":
        return np.where(b < 32, a >> (b & 31), 0).astype(np.uint32)
    if operation == "neg":
        return np.uint32(0) - a
    function = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.floor_divide,
        "mod": np.remainder,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }[operation]
    result: Words = function(a, b)
    return result


def _compared(condition: str, a: Words, b: Words | np.uint32) -> Mask:
    if condition == "set":
        a, condition, b = a & b, "gt", np.uint32(0)
    result: Mask = {"eq": np.equal, "gt": np.greater, "ge": np.greater_equal}[condition](a, b)
    return result


def _big_endian(columns: list[Bytes]) -> Words:
    value = columns[0].astype(np.uint32)
    for column in columns[1:]:
        value <<= 8
        value |= column
    return value


def _joined(parts: list[Rows]) -> Rows:
    arrays = [part for part in parts if not isinstance(part, slice)]
    if len(arrays) < len(parts):
        return _ALL  # then the others are empty
    return np.concatenate(arrays) if arrays else np.zeros(0, np.intp)


def _picked(rows: Rows, mask: Mask) -> Rows:
    """Return the packets for which a mask as long as `rows` is true."""
    if mask.all():
        return rows
    return np.flatnonzero(mask) if isinstance(rows, slice) else rows[mask]
