"""What the verifier asks of eBPF, as far as packet filters go, on all ways through the code.

Registers hold a scalar, an address in the view, or either; loads and stores go to the view, aligned, only
single bytes at variable offsets; all code is reached, and every jump goes forward.
"""

from __future__ import annotations

from dataclasses import dataclass

from fyke.filters import asm
from fyke.filters.asm import Insn
from fyke.filters.pcap.loads import PacketView

MASK, HALF = (1 << 64) - 1, (1 << 32) - 1
SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
OPERATIONS = {code: name for name, code in asm.OPERATIONS.items()}
CONDITIONS = {code: name for name, code in asm.CONDITIONS.items()}


class Refused(AssertionError):
    """The verifier would refuse the code, or the code does what it must not."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a register holds: a scalar (known: its value), an address in the view (its offset), or either."""

    is_pointer: bool | None = False
    known: int | None = None


SCALAR = Held()
State = dict[int, Held]


def checked(code: list[Insn], view: PacketView, *, variable_stack_reads: bool) -> None:
    """Raise Refused for what the verifier wouldn't have, on any way through the code."""
    before: dict[int, State] = {0: {1: Held(True, 0), 2: SCALAR}}
    reached = {0}
    for at, insn in enumerate(code):
        _reserved_fields(at, insn)
        if at not in reached:
            raise Refused(f"{at}: unreachable")
        if not all(at < to < len(code) for to in _next(at, insn)):
            raise Refused(f"{at}: jumps back or out")
        reached.update(_next(at, insn))
        if at not in before:
            continue  # a branch whose outcome is known doesn't come here
        state = dict(before[at])
        _Step(at, insn, state, view, variable_stack_reads).check()
        for to in _next_known(at, insn, before[at]):
            before[to] = _joined(before[to], state) if to in before else state


def _next(at: int, insn: Insn) -> tuple[int, ...]:
    if insn.op == asm.EXIT:
        return ()
    if insn.op == asm.JMP:
        return (at + 1 + insn.off,)
    if insn.op & 7 in (asm.JMP, asm.JMP32) and insn.op != asm.CALL:
        return (at + 1, at + 1 + insn.off)
    return (at + 1,)


def _next_known(at: int, insn: Insn, state: State) -> tuple[int, ...]:
    """Return where the code may go on, given what registers hold."""
    places = _next(at, insn)
    if len(places) < 2:
        return places
    mask = HALF if insn.op & 7 == asm.JMP32 else MASK
    one = state[insn.dst].known
    other = state[insn.src].known if insn.op & asm.REGISTER else insn.imm
    if one is None or other is None:
        return places
    return places[1:] if holds(CONDITIONS[insn.op & 0xF0], one & mask, other & mask) else places[:1]


def _joined(one: State, other: State) -> State:
    """Keep the registers that are set on both ways."""
    joined = {}
    for reg in one.keys() & other.keys():
        a, b = one[reg], other[reg]
        joined[reg] = a if a == b else Held(a.is_pointer if a.is_pointer == b.is_pointer else None)
    return joined


def _reserved_fields(at: int, insn: Insn) -> None:
    kind, by_register = insn.op & 7, bool(insn.op & asm.REGISTER)
    swap = kind == asm.ALU and insn.op & 0xF0 == asm.OPERATIONS["swap"]
    if insn.op in (asm.EXIT, asm.JMP, asm.CALL):
        wrong = (
            insn.dst or insn.src or (insn.op != asm.JMP and insn.off) or (insn.op != asm.CALL and insn.imm)
        )
    elif kind in (asm.ALU, asm.ALU64):
        wrong = insn.off or (insn.src if not by_register or swap else insn.imm)
    elif kind in (asm.JMP, asm.JMP32):
        wrong = insn.imm if by_register else insn.src
    else:
        wrong = insn.src if kind == asm.ST else insn.imm
    if wrong or max(insn.dst, insn.src) > 9:
        raise Refused(f"{at}: uses a reserved field or the frame: {insn}")


@dataclass(frozen=True, slots=True)
class _Step:
    at: int
    insn: Insn
    state: State
    view: PacketView
    variable_stack_reads: bool

    def check(self) -> None:
        insn = self.insn
        kind = insn.op & 7
        if insn.op == asm.EXIT:
            self.scalar(0)
        elif insn.op == asm.CALL:
            self.call()
        elif kind in (asm.ALU, asm.ALU64):
            self.alu(OPERATIONS[insn.op & 0xF0], wide=kind == asm.ALU64)
        elif kind in (asm.JMP, asm.JMP32):
            if insn.op != asm.JMP:
                self.scalar(insn.dst)
                self.operand()
        elif kind == asm.LDX:
            self.access(insn.src, SIZES[insn.op & 0x18], load=True)
            self.state[insn.dst] = SCALAR
        elif kind in (asm.ST, asm.STX):
            if kind == asm.STX:
                self.scalar(insn.src)
            self.access(insn.dst, SIZES[insn.op & 0x18], load=False)
        else:
            self.refuse("unknown instruction")

    def held(self, reg: int) -> Held:
        if reg not in self.state:
            self.refuse(f"r{reg} isn't set on all ways")
        return self.state[reg]

    def scalar(self, reg: int) -> Held:
        held = self.held(reg)
        if held.is_pointer is not False:
            self.refuse(f"r{reg} may be an address")
        return held

    def operand(self) -> Held:
        insn = self.insn
        return self.scalar(insn.src) if insn.op & asm.REGISTER else Held(False, insn.imm)

    def alu(self, operation: str, *, wide: bool) -> None:
        insn, state = self.insn, self.state
        if operation == "mov":
            held = self.held(insn.src) if insn.op & asm.REGISTER else Held(False, insn.imm)
            if held.known is not None and not wide:
                held = Held(held.is_pointer, held.known & HALF)
            if held.is_pointer is not False and not wide:
                self.refuse("half of an address")
            state[insn.dst] = held
        elif operation == "add" and wide:
            self.add()
        else:
            self.scalar(insn.dst)
            if operation not in ("neg", "swap"):
                bits = 64 if wide else 32
                known = self.operand().known
                by_constant = not insn.op & asm.REGISTER
                if by_constant and operation in ("lsh", "rsh", "arsh") and not 0 <= known < bits:
                    self.refuse("shifts too far")
                if by_constant and operation in ("div", "mod") and known == 0:
                    self.refuse("divides by zero")
            state[insn.dst] = SCALAR

    def add(self) -> None:
        insn = self.insn
        one = self.held(insn.dst)
        other = self.held(insn.src) if insn.op & asm.REGISTER else Held(False, insn.imm)
        if None in (one.is_pointer, other.is_pointer) or (one.is_pointer and other.is_pointer):
            self.refuse("adds addresses")
        known = None if one.known is None or other.known is None else one.known + other.known
        self.state[insn.dst] = Held(one.is_pointer or other.is_pointer, known)

    def access(self, base: int, size: int, *, load: bool) -> None:
        held, off = self.held(base), self.insn.off
        if not held.is_pointer:
            self.refuse("an access that isn't to the view")
        if held.known is None:
            if not load or size != 1 or not self.variable_stack_reads:
                self.refuse("an access at a variable offset")
            return
        begin = held.known + off
        if begin % size or not 0 <= begin <= view_bytes(self.view) - size:
            self.refuse("an access that isn't aligned or in the view")

    def call(self) -> None:
        target, size = self.held(1), self.scalar(2)
        self.held(3)
        if self.insn.imm != asm.PROBE_READ_KERNEL:
            self.refuse("unknown helper")
        if target != Held(True, self.view.loaded) or size.known not in (1, 2, 4):
            self.refuse("a helper may write only to `loaded`")
        for reg in range(1, 6):
            self.state.pop(reg, None)
        self.state[0] = SCALAR

    def refuse(self, why: str) -> None:
        raise Refused(f"{self.at}: {why}: {self.insn}")


def view_bytes(view: PacketView) -> int:
    """Return the size of the whole view."""
    return view.head + 160


def holds(name: str, a: int, b: int) -> bool:
    """Return whether a comparison is true."""
    if name == "eq":
        return a == b
    if name == "ne":
        return a != b
    if name == "gt":
        return a > b
    if name == "ge":
        return a >= b
    if name == "lt":
        return a < b
    if name == "le":
        return a <= b
    assert name == "set", "signed comparisons aren't used"
    return a & b != 0
