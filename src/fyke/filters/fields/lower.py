"""Field filters to eBPF.

The code takes R1, a `struct field_view` on its caller's stack, and returns 1 or 0. It has no stack of its
own. A term reads one pointer after the other with bpf_probe_read_kernel; wherever that fails, or an address
is none of the kernel's, the term is false. What isn't needed for the answer isn't read.
"""

from __future__ import annotations

from fyke.errors import UsageError
from fyke.filters.asm import GET_CURRENT_TASK, PROBE_READ_KERNEL, Assembler, Insn, Label, Reg, TooFar
from fyke.filters.fields import resolved as r
from fyke.filters.fields.view import FieldView

__all__ = ["MAX_INSNS", "FieldView", "lower", "lower_fields"]

MAX_INSNS = 4094
"""Instructions that fit into the slot of the programs."""

# Helper function by number (enum bpf_func_id, include/uapi/linux/bpf.h), Linux 5.5.
PROBE_READ_KERNEL_STR = 115
# Addresses from -4095 up are error values (MAX_ERRNO, include/linux/err.h).
_FIRST_ERROR = -4095
_INVERSE = {"eq": "ne", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
_INVERSE |= {"slt": "sge", "sle": "sgt", "sgt": "sle", "sge": "slt"}
_INVERSE |= {inverse: condition for condition, inverse in _INVERSE.items()}
_CONDITIONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_VIEW, _ADDRESS, _HIGH, _LOW = Reg.R6, Reg.R7, Reg.R8, Reg.R9


def lower_fields(resolved: r.Resolved, view: FieldView) -> list[Insn]:
    """Return the code of a whole function. UsageError, with its size, when it's more than MAX_INSNS."""
    code = Assembler()
    lower(resolved, view, code)
    try:
        insns = code.finish()
    except TooFar:
        insns = None
    if insns is None or len(insns) > MAX_INSNS:
        size = "more than 32767" if insns is None else str(len(insns))
        count = len(r.terms(resolved.node))
        raise UsageError(
            f"the field filter is too long: {count} terms make {size} instructions, {MAX_INSNS} fit",
            "use ranges, masks or prefixes in place of many values",
        )
    return insns


def lower(resolved: r.Resolved, view: FieldView, code: Assembler) -> None:
    """Append the code: it starts with R1 = view and exits with R0 = 1 (match) or 0."""
    assert view.loaded % 8 == 0, "the kernel wants aligned accesses to its stack"
    _Lowering(resolved, view, code).whole()


class _Lowering:
    def __init__(self, resolved: r.Resolved, view: FieldView, code: Assembler) -> None:
        self.resolved = resolved
        self.view = view
        self.code = code

    def whole(self) -> None:
        code, yes, no = self.code, self.code.label(), self.code.label()
        code.mov(_VIEW, Reg.R1)
        self.node(self.resolved.node, yes, no, yes)
        code.place(yes)
        code.mov(Reg.R0, 1)
        code.exit()
        code.place(no)
        code.mov(Reg.R0, 0)
        code.exit()

    # Conditions. Control goes to `yes` or `no`; `after`, one of them, is what will be placed next.

    def node(self, node: r.Node, yes: Label, no: Label, after: Label) -> None:
        match node:
            case r.FieldTerm():
                self.term(node, yes, no, after)
            case r.NoneOf(of):
                self.node(of, no, yes, after)
            case r.AllOf(parts):
                for part in parts[:-1]:
                    go_on = self.code.label()
                    self.node(part, go_on, no, go_on)
                    self.code.place(go_on)
                self.node(parts[-1], yes, no, after)
            case r.AnyOf(parts):
                for part in parts[:-1]:
                    go_on = self.code.label()
                    self.node(part, yes, go_on, go_on)
                    self.code.place(go_on)
                self.node(parts[-1], yes, no, after)

    def term(self, term: r.FieldTerm, yes: Label, no: Label, after: Label) -> None:
        if term.root == r.RESULT:
            self.code.load(_ADDRESS, _VIEW, self.view.result, 8)
        else:
            self.root(self.resolved.root(term.root))
        for follow in term.follows:
            self.follow(follow, no)
        reading = term.reading
        match reading:
            case r.Itself():
                self.numbers(term, _ADDRESS, reading.signed, yes, no, after)
            case r.NumberAt():
                self.read(reading.offset, reading.size, no)
                self.number(reading)
                self.numbers(term, Reg.R0, reading.signed, yes, no, after)
            case r.MacAt():
                self.read(reading.offset, 6, no)
                self.mac()
                self.numbers(term, Reg.R0, False, yes, no, after)
            case r.Ipv6At():
                self.read(reading.offset, 16, no)
                self.ipv6(term, yes, no, after)
            case r.StringAt():
                self.strings(term, reading, yes, no, after)

    # Getting at memory

    def root(self, root: r.Root) -> None:
        """Leave a root's address in _ADDRESS; 0 or no address of the kernel when there is none."""
        code, known = self.code, self.code.label()
        if root.slot is not None:
            at = self.view.roots + 8 * root.slot
            code.load(_ADDRESS, _VIEW, at, 8)
            if root.sources or root.is_task:
                code.branch("ne", _ADDRESS, 0, known)
            for source in root.sources:
                missing = code.label()
                self.root(self.resolved.root(source.root))
                for follow in source.follows:
                    self.follow(follow, missing)
                code.branch("eq", _ADDRESS, 0, missing)
                code.store(_VIEW, at, _ADDRESS, 8)  # for the terms that come
                code.jump(known)
                code.place(missing)
            if root.sources:
                code.mov(_ADDRESS, 0)
        if root.is_task:
            code.call(GET_CURRENT_TASK)
            code.mov(_ADDRESS, Reg.R0)
        code.place(known)

    def follow(self, follow: r.Follow, failed: Label) -> None:
        self.read(follow.offset, 8, failed)
        self.code.load(_ADDRESS, _VIEW, self.view.loaded, 8)
        if follow.mask != r.MAX_ADDRESS_MASK:
            self.mask(_ADDRESS, follow.mask)

    def read(self, offset: int, size: int, failed: Label, helper: int = PROBE_READ_KERNEL) -> None:
        """Read from the structure at _ADDRESS into the view."""
        code = self.code
        code.branch("sge", _ADDRESS, 0, failed)
        code.branch("ge", _ADDRESS, _FIRST_ERROR, failed)
        code.mov(Reg.R1, _VIEW)
        code.alu("add", Reg.R1, self.view.loaded)
        code.mov(Reg.R2, size)
        code.mov(Reg.R3, _ADDRESS)
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
        code.load(Reg.R0, _VIEW, self.view.loaded, reading.size)
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
        code, loaded = self.code, self.view.loaded
        code.load(Reg.R0, _VIEW, loaded, 4)
        code.from_big_endian(Reg.R0, 32)
        code.alu("lsh", Reg.R0, 16)
        code.load(Reg.R1, _VIEW, loaded + 4, 2)
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
        code, loaded = self.code, self.view.loaded
        for register, at in ((_HIGH, loaded), (_LOW, loaded + 8)):
            code.load(register, _VIEW, at, 8)
            code.from_big_endian(register, 64)
        if term.operator == "not in":
            yes, no = no, yes
        for interval in term.intervals:
            beyond = code.label()
            bits = 128 - (interval.low ^ interval.high).bit_length()
            self.prefix(_HIGH, interval.low >> 64, min(bits, 64), beyond)
            self.prefix(_LOW, interval.low & (1 << 64) - 1, max(bits - 64, 0), beyond)
            code.jump(yes)
            code.place(beyond)
        self.go(no, after)

    def prefix(self, register: Reg, value: int, bits: int, other: Label) -> None:
        """Go to other unless the first bits of a register are those of a value."""
        if bits == 64:
            self.test("ne", register, value, other)
        elif bits:
            self.code.mov(Reg.R0, register)
            self.code.alu("rsh", Reg.R0, 64 - bits)
            self.test("ne", Reg.R0, value >> 64 - bits, other)

    def strings(self, term: r.FieldTerm, reading: r.StringAt, yes: Label, no: Label, after: Label) -> None:
        longest = max(map(len, term.strings))
        if reading.size:
            self.read(reading.offset, min(longest + 1, reading.size), no)
        else:
            # One byte more than the NUL needs: the helper puts a NUL of its own at the end of what it reads.
            self.read(reading.offset, longest + 2, no, PROBE_READ_KERNEL_STR)
        if term.operator == "not in":
            yes, no = no, yes
        for string in term.strings:
            beyond = self.code.label()
            room = reading.size or len(string) + 1
            self.equal((string + b"\0")[:room], beyond)
            self.code.jump(yes)
            self.code.place(beyond)
        self.go(no, after)

    def equal(self, expected: bytes, other: Label) -> None:
        """Go to other unless the bytes read begin so; in as large pieces as alignment allows."""
        at = 0
        while at < len(expected):
            size = next(size for size in (8, 4, 2, 1) if at + size <= len(expected))
            self.code.load(Reg.R0, _VIEW, self.view.loaded + at, size)
            self.test("ne", Reg.R0, int.from_bytes(expected[at : at + size], "little"), other)
            at += size

    def go(self, to: Label, after: Label) -> None:
        if to is not after:
            self.code.jump(to)


def _signed64(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _is_immediate(value: int) -> bool:
    """Whether an instruction's 32 bits, extended by their sign, are the value."""
    return -(1 << 31) <= _signed64(value) < 1 << 31
