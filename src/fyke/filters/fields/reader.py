"""Reading a field and comparing it, in eBPF: the parts that the code of a filter is put together from."""

from __future__ import annotations

from fyke.filters.asm import PROBE_READ_KERNEL, Assembler, Label, Reg
from fyke.filters.fields import resolved as r
from fyke.filters.fields.view import FieldView

# Helper function by number (enum bpf_func_id, include/uapi/linux/bpf.h), Linux 5.5.
PROBE_READ_KERNEL_STR = 115
# Addresses from -4095 up are error values (MAX_ERRNO, include/linux/err.h).
_FIRST_ERROR = -4095
_INVERSE = {"eq": "ne", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
_INVERSE |= {"slt": "sge", "sle": "sgt", "sgt": "sle", "sge": "slt"}
_INVERSE |= {inverse: condition for condition, inverse in _INVERSE.items()}
_CONDITIONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
VIEW, ADDRESS, HIGH, LOW = Reg.R6, Reg.R7, Reg.R8, Reg.R9
"""Registers that calls keep: the view, the structure at hand, the halves of 128 bits."""


class Reader:
    """Emits code that reads from the structure at ADDRESS, and code that goes to a label or another.

    Where a method takes `yes`, `no` and `after`: control goes to one of the first two, and `after`, one of
    them, is what will be placed next.
    """

    def __init__(self, view: FieldView, code: Assembler) -> None:
        self.view = view
        self.code = code

    def read(self, offset: int, size: int, failed: Label, helper: int = PROBE_READ_KERNEL) -> None:
        """Read from the structure at ADDRESS into the view."""
        code = self.code
        code.branch("sge", ADDRESS, 0, failed)
        code.branch("ge", ADDRESS, _FIRST_ERROR, failed)
        code.mov(Reg.R1, VIEW)
        code.alu("add", Reg.R1, self.view.loaded)
        code.mov(Reg.R2, size)
        code.mov(Reg.R3, ADDRESS)
        if offset:
            code.alu("add", Reg.R3, offset)
        code.call(helper)
        if helper == PROBE_READ_KERNEL:
            code.branch("ne", Reg.R0, 0, failed)
        else:  # the length is returned
            code.branch("slt", Reg.R0, 0, failed)

    # Values

    def number(self, reading: r.NumberAt) -> None:
        """Leave the number in R0, extended to 64 bits."""
        code = self.code
        code.load(Reg.R0, VIEW, self.view.loaded, reading.size)
        if reading.swapped and reading.size > 1:
            code.from_big_endian(Reg.R0, 8 * reading.size)
        above = 64 - reading.shift - reading.bits
        cut = reading.shift + reading.bits < 8 * reading.size
        if reading.signed and reading.bits < 64:
            code.alu("lsh", Reg.R0, above)
            code.alu("arsh", Reg.R0, 64 - reading.bits)
        elif cut:
            code.alu("lsh", Reg.R0, above)
            code.alu("rsh", Reg.R0, 64 - reading.bits)
        elif reading.shift:
            code.alu("rsh", Reg.R0, reading.shift)
        if reading.mask is not None:
            self.mask(Reg.R0, reading.mask)

    def mac(self) -> None:
        """Leave six bytes in R0 as a number."""
        code, loaded = self.code, self.view.loaded
        code.load(Reg.R0, VIEW, loaded, 4)
        code.from_big_endian(Reg.R0, 32)
        code.alu("lsh", Reg.R0, 16)
        code.load(Reg.R1, VIEW, loaded + 4, 2)
        code.from_big_endian(Reg.R1, 16)
        code.alu("or", Reg.R0, Reg.R1)

    def mask(self, register: Reg, mask: int) -> None:
        """Keep the bits of a mask of 64."""
        if _is_immediate(mask):
            self.code.alu("and", register, _signed64(mask))
        else:
            self.code.constant64(Reg.R1, mask)
            self.code.alu("and", register, Reg.R1)

    def test(self, condition: str, register: Reg, value: int, to: Label) -> None:
        """Jump when a register compares so with a 64-bit constant."""
        if _is_immediate(value):
            self.code.branch(condition, register, _signed64(value), to)
        else:
            self.code.constant64(Reg.R1, value)
            self.code.branch(condition, register, Reg.R1, to)

    # Comparisons

    def numbers(
        self, term: r.FieldTerm, register: Reg, signed: bool, yes: Label, no: Label, after: Label
    ) -> None:
        """Compare a number in a register as a term says."""
        sign = "s" if signed else ""
        if term.operator in _CONDITIONS:
            condition = sign + _CONDITIONS[term.operator]
            self.last(condition, register, term.intervals[0].low, yes, no, after)
            return
        if term.operator == "not in":
            yes, no = no, yes
        for interval in term.intervals[:-1]:
            beyond = self.code.label()
            self.within(interval, register, sign, yes, beyond, beyond)
            self.code.place(beyond)
        self.within(term.intervals[-1], register, sign, yes, no, after)

    def within(
        self, interval: r.Interval, register: Reg, sign: str, yes: Label, no: Label, after: Label
    ) -> None:
        """Say whether a register is in an interval."""
        if interval.low == interval.high:
            self.last("eq", register, interval.low, yes, no, after)
            return
        self.test(sign + "lt", register, interval.low, no)
        self.last(sign + "le", register, interval.high, yes, no, after)

    def last(self, condition: str, register: Reg, value: int, yes: Label, no: Label, after: Label) -> None:
        """Go to yes or no, with as few jumps as possible."""
        if after is yes:
            self.test(_INVERSE[condition], register, value, no)
            return
        self.test(condition, register, value, yes)
        if after is not no:
            self.code.jump(no)

    def ipv6(self, term: r.FieldTerm, yes: Label, no: Label, after: Label) -> None:
        """Compare the 16 bytes that were read with addresses and prefixes."""
        code, loaded = self.code, self.view.loaded
        for register, at in ((HIGH, loaded), (LOW, loaded + 8)):
            code.load(register, VIEW, at, 8)
            code.from_big_endian(register, 64)
        if term.operator == "not in":
            yes, no = no, yes
        for number, interval in enumerate(term.intervals, 1):
            is_last = number == len(term.intervals)
            beyond = no if is_last else code.label()
            bits = 128 - (interval.low ^ interval.high).bit_length()
            self.prefix(HIGH, interval.low >> 64, min(bits, 64), beyond)
            self.prefix(LOW, interval.low & (1 << 64) - 1, max(bits - 64, 0), beyond)
            if not is_last:
                code.jump(yes)
                code.place(beyond)
        self.go(yes, after)

    def prefix(self, register: Reg, value: int, bits: int, other: Label) -> None:
        """Go to other unless the first bits of a register are those of a value."""
        if bits == 64:
            self.test("ne", register, value, other)
        elif bits:
            self.code.mov(Reg.R0, register)
            self.code.alu("rsh", Reg.R0, 64 - bits)
            self.test("ne", Reg.R0, value >> 64 - bits, other)

    def strings(self, term: r.FieldTerm, reading: r.StringAt, yes: Label, no: Label, after: Label) -> None:
        """Read a string and compare it."""
        longest = max(map(len, term.strings))
        if reading.size:
            self.read(reading.offset, min(longest + 1, reading.size), no)
        else:
            # One byte more than the NUL needs: the helper puts a NUL of its own at the end of what it reads.
            self.read(reading.offset, longest + 2, no, PROBE_READ_KERNEL_STR)
        if term.operator == "not in":
            yes, no = no, yes
        for number, string in enumerate(term.strings, 1):
            is_last = number == len(term.strings)
            beyond = no if is_last else self.code.label()
            room = reading.size or len(string) + 1
            self.equal((string + b"\0")[:room], beyond)
            if not is_last:
                self.code.jump(yes)
                self.code.place(beyond)
        self.go(yes, after)

    def equal(self, expected: bytes, other: Label) -> None:
        """Go to other unless the bytes read begin so; in as large pieces as alignment allows."""
        at = 0
        while at < len(expected):
            size = next(size for size in (8, 4, 2, 1) if at + size <= len(expected))
            self.code.load(Reg.R0, VIEW, self.view.loaded + at, size)
            self.test("ne", Reg.R0, int.from_bytes(expected[at : at + size], "little"), other)
            at += size

    def go(self, to: Label, after: Label) -> None:
        """Go to a label, which may be next anyway."""
        if to is not after:
            self.code.jump(to)


def _signed64(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _is_immediate(value: int) -> bool:
    """Whether an instruction's 32 bits, extended by their sign, are the value."""
    return -(1 << 31) <= _signed64(value) < 1 << 31
