"""A machine for the eBPF that packet filters become, as strict as the verifier where it can be.

`checked` follows the code on all ways, before it runs: what registers hold, where loads and stores go, what
is never reached. `Machine.run` carries it out on a packet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fyke.filters import asm
from fyke.filters.asm import Insn
from fyke.filters.pcap.loads import PacketView

VIEW_AT = 0x1000_0000_0000  # where the machine has the view; the packet is elsewhere
PACKET_AT = 0xFFFF_8880_0000_0000
MASK, HALF = (1 << 64) - 1, (1 << 32) - 1
EFAULT = -14 & MASK

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_OPERATIONS = {code: name for name, code in asm.OPERATIONS.items()}
_CONDITIONS = {code: name for name, code in asm.CONDITIONS.items()}


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
    return places[1:] if _holds(_CONDITIONS[insn.op & 0xF0], one & mask, other & mask) else places[:1]


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
            self.alu(_OPERATIONS[insn.op & 0xF0], wide=kind == asm.ALU64)
        elif kind in (asm.JMP, asm.JMP32):
            if insn.op != asm.JMP:
                self.scalar(insn.dst)
                self.operand()
        elif kind == asm.LDX:
            self.access(insn.src, _SIZES[insn.op & 0x18], load=True)
            self.state[insn.dst] = SCALAR
        elif kind in (asm.ST, asm.STX):
            if kind == asm.STX:
                self.scalar(insn.src)
            self.access(insn.dst, _SIZES[insn.op & 0x18], load=False)
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


Reader = Callable[[int, int], "bytes | None"]


class Machine:
    """Checked code, ready to run. Registers are numbers; addresses in the view are VIEW_AT and on."""

    def __init__(self, code: list[Insn], view: PacketView, *, variable_stack_reads: bool) -> None:
        checked(code, view, variable_stack_reads=variable_stack_reads)
        self.view = view
        self._code = [_decoded(insn) for insn in code]

    def run(
        self,
        packet: bytes,
        wire_len: int,
        kind: int = 0,
        *,
        read: Reader | None = None,
        head: bytes | None = None,
    ) -> int:
        """Return R0. packet: the bytes that can be read.

        read: what the kernel has at an offset into the packet, None: it can't be read. head: the bytes in the
        view's head if they aren't the packet's own.
        """
        view = self.view
        memory = bytearray(view_bytes(view))
        unset = bytearray(b"\1" * view.head) + bytes(160)  # 1: not written yet
        for off, size, value in (
            (view.at, 8, PACKET_AT),
            (view.len, 4, len(packet)),
            (view.wire_len, 4, wire_len),
        ):
            memory[off : off + size] = value.to_bytes(size, "little")
            unset[off : off + size] = bytes(size)
        filled = (packet if head is None else head)[: view.head_bytes]
        memory[view.head : view.head + 160] = filled.ljust(160, b"\xa5")
        return _run(self._code, memory, unset, kind, read or _reader(packet), view.head + view.head_bytes)


def _reader(packet: bytes) -> Reader:
    def read(offset: int, size: int) -> bytes:
        if not 0 <= offset <= len(packet) - size:
            raise Refused(f"reads {size} bytes at {offset} of a packet of {len(packet)}")
        return packet[offset : offset + size]

    return read


Decoded = tuple[int, str, int, int, int, int, int]
LOAD, STORE, CALL, EXIT, JUMP, BRANCH, COMPUTE = range(7)


def _decoded(insn: Insn) -> Decoded:
    """Return what to do: its kind, name, dst, src (-1: the constant), offset, constant, and mask or size."""
    kind = insn.op & 7
    src = insn.src if insn.op & asm.REGISTER else -1
    mask = HALF if kind in (asm.ALU, asm.JMP32) else MASK
    if insn.op == asm.EXIT:
        return (EXIT, "", 0, 0, 0, 0, 0)
    if insn.op == asm.CALL:
        return (CALL, "", 0, 0, 0, 0, 0)
    if insn.op == asm.JMP:
        return (JUMP, "", 0, 0, insn.off, 0, 0)
    if kind in (asm.JMP, asm.JMP32):
        return (BRANCH, _CONDITIONS[insn.op & 0xF0], insn.dst, src, insn.off, insn.imm & mask, mask)
    if kind in (asm.ALU, asm.ALU64):
        name = _OPERATIONS[insn.op & 0xF0]
        src = -1 if name == "swap" else src  # there the bit means big-endian
        return (COMPUTE, name, insn.dst, src, 0, insn.imm & mask, mask)
    size = _SIZES[insn.op & 0x18]
    if kind == asm.LDX:
        return (LOAD, "", insn.dst, insn.src, insn.off, 0, size)
    return (STORE, "", insn.dst, insn.src if kind == asm.STX else -1, insn.off, insn.imm & MASK, size)


def _run(
    code: list[Decoded], memory: bytearray, unset: bytearray, second: int, read: Reader, readable: int
) -> int:
    regs = [0, VIEW_AT, second, 0, 0, 0, 0, 0, 0, 0]
    at = 0
    while True:
        kind, name, dst, src, off, imm, mask = code[at]
        at += 1
        if kind == LOAD:
            begin = regs[src] + off - VIEW_AT
            if begin < 0 or begin + mask > readable or unset.find(1, begin, begin + mask) >= 0:
                raise Refused(f"{at - 1}: loads {mask} bytes at {begin} of the view")
            regs[dst] = int.from_bytes(memory[begin : begin + mask], "little")
        elif kind == BRANCH:
            if _holds(name, regs[dst] & mask, imm if src < 0 else regs[src] & mask):
                at += off
        elif kind == COMPUTE:
            regs[dst] = _computed(name, regs[dst] & mask, imm if src < 0 else regs[src] & mask, mask)
        elif kind == JUMP:
            at += off
        elif kind == EXIT:
            return regs[0]
        elif kind == STORE:
            begin = regs[dst] + off - VIEW_AT
            memory[begin : begin + mask] = (imm if src < 0 else regs[src]).to_bytes(8, "little")[:mask]
            unset[begin : begin + mask] = bytes(mask)
        else:
            _probe_read(regs, memory, unset, read, readable)


def _probe_read(regs: list[int], memory: bytearray, unset: bytearray, read: Reader, readable: int) -> None:
    target, size, source = regs[1] - VIEW_AT, regs[2], regs[3]
    if source >= PACKET_AT:
        data = read(source - PACKET_AT, size)
    elif source >= VIEW_AT and source + size <= VIEW_AT + readable:
        begin = source - VIEW_AT
        data = bytes(memory[begin : begin + size])
    else:
        raise Refused(f"reads from {source:#x}")
    memory[target : target + size] = bytes(size) if data is None else data
    unset[target : target + size] = bytes(size)
    regs[0] = EFAULT if data is None else 0


def _holds(name: str, a: int, b: int) -> bool:
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


def _computed(name: str, a: int, b: int, mask: int) -> int:
    """Compute in 64 or 32 bits, as RFC 9669 has it: shifts modulo the width, x / 0 is 0, x % 0 is x."""
    if name == "mov":
        return b
    if name == "add":
        return a + b & mask
    if name == "and":
        return a & b
    if name == "lsh":
        return a << (b & (31 if mask == HALF else 63)) & mask
    if name == "or":
        return a | b
    if name == "swap":
        return int.from_bytes((a & (1 << b) - 1).to_bytes(b // 8, "little"), "big")
    return _computed_rarely(name, a, b, mask)


def _computed_rarely(name: str, a: int, b: int, mask: int) -> int:
    results = {
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "div": lambda: a // b if b else 0,
        "mod": lambda: a % b if b else a,
        "rsh": lambda: a >> (b & (31 if mask == HALF else 63)),
        "xor": lambda: a ^ b,
        "neg": lambda: -a,
    }
    return int(results[name]()) & mask
