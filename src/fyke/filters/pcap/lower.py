"""From cBPF to eBPF that runs in the slot of the probe programs, on kernels from 5.10.

The code has no stack of its own, jumps only forward and is all reached: the verifier asks for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fyke.errors import UsageError
from fyke.filters.asm import Assembler, Insn, Label, Reg
from fyke.filters.pcap import MATCH, NO_LINK_LAYER, REJECT, UNREADABLE
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
    reached,
)
from fyke.filters.pcap.compile import SHORTER, PacketFilter
from fyke.filters.pcap.flow import Flow, Known, flow_of
from fyke.filters.pcap.loads import LENGTH, MIN_HEAD, VIEW, A, Loads, X
from fyke.filters.pcap.loads import PacketView as PacketView

MAX_INSNS = 8_190

# How far into a packet an offset in X usually points: an IPv4 header with some options, or an IPv6 header.
USUAL_X = 40

_OPPOSITE = {"eq": "ne", "gt": "le", "ge": "lt"}


@dataclass(frozen=True, slots=True)
class PacketCode:
    """A function: R1 = the view, R2 = 0: Ethernet, 1: the network header comes first; R0 = the verdict.

    head_bytes: how much of the packet must be in the view's head.
    """

    insns: list[Insn]
    head_bytes: int


def lower_filter(packet_filter: PacketFilter, view: PacketView, *, variable_stack_reads: bool) -> PacketCode:
    """Lower both programs of a filter to one function.

    view.head_bytes is the room in the view; how much of it is used is in the result. variable_stack_reads:
    whether the kernel takes loads from a stack at an offset in a register (since 5.12).
    Raises UsageError when the code is too long.
    """
    ethernet, raw = packet_filter.ethernet, packet_filter.raw
    programs = [program for program in (ethernet, raw) if program is not None]
    head_bytes = max(head_needed(program, view.head_bytes) for program in programs)
    view = replace(view, head_bytes=head_bytes)
    code = Assembler()
    network_first = code.label()
    if raw != ethernet:
        code.branch("ne", Reg.R2, 0, network_first)
    lower(ethernet, view, code, variable_stack_reads=variable_stack_reads)
    code.place(network_first)
    if raw is None:
        code.mov(Reg.R0, NO_LINK_LAYER)
        code.exit()
    elif raw != ethernet:
        lower(raw, view, code, variable_stack_reads=variable_stack_reads)
    insns = code.finish()
    if len(insns) > MAX_INSNS:
        sizes = f"{len(ethernet) + len(raw or ()):,} cBPF instructions become {len(insns):,} of eBPF"
        message = f"the packet filter is too large: {sizes}; at most {MAX_INSNS:,} fit"
        raise UsageError(message, SHORTER)
    return PacketCode(insns, head_bytes)


def head_needed(program: Program, room: int) -> int:
    """Return how many bytes of the packet's head are worth fetching once for a program; a multiple of 8."""
    ends = [MIN_HEAD]
    for at in reached(program):
        insn = program[at]
        if insn.reads_packet:
            size = 1 if insn.mode == MSH else insn.size
            ends.append(insn.k + size + (USUAL_X if insn.mode == IND else 0))
    return max((end + 7) // 8 * 8 for end in ends if end <= room)


def lower(program: Program, view: PacketView, code: Assembler, *, variable_stack_reads: bool) -> None:
    """Emit one program: it begins with R1 = the view, and returns R0 = REJECT, MATCH or UNREADABLE."""
    _Lowering(program, view, code, variable_stack_reads=variable_stack_reads).run()


class _Lowering:
    def __init__(
        self, program: Program, view: PacketView, code: Assembler, *, variable_stack_reads: bool
    ) -> None:
        self._program, self._view, self._code = program, view, code
        self._flow: Flow = flow_of(program)
        self._places = {at: code.label() for at in self._flow.before}
        self._loads = Loads(view, code, variable_stack_reads=variable_stack_reads)
        self._match = code.label()

    def run(self) -> None:
        self._begin()
        for at, known in sorted(self._flow.before.items()):
            self._code.place(self._places[at])
            self._insn(at, self._program[at], known)
        self._loads.finish()
        self._return(REJECT)
        self._code.place(self._match)
        self._return(MATCH)
        self._code.place(self._loads.unreadable)
        self._return(UNREADABLE)

    def _begin(self) -> None:
        code, flow = self._code, self._flow
        reached_insns = [self._program[at] for at in flow.before]
        code.mov(VIEW, Reg.R1)
        if any(insn.reads_packet for insn in reached_insns):
            code.load(LENGTH, VIEW, self._view.len, 4)
        if flow.zero_a:
            code.mov(A, 0)
        if flow.zero_x:
            code.mov(X, 0)
        for word in flow.zero_memory:
            code.store(VIEW, self._view.memory + 4 * word, 0, 4)

    def _insn(self, at: int, insn: ClassicInsn, known: Known) -> None:
        code = self._code
        if insn.kind == LD or insn.kind == LDX:
            self._load(A if insn.kind == LD else X, insn, known)
        elif insn.kind == ST or insn.kind == STX:
            code.store(VIEW, self._view.memory + 4 * insn.k, A if insn.kind == ST else X, 4)
        elif insn.kind == ALU:
            self._alu(OPERATIONS[insn.operation], insn)
        elif insn.kind == JMP:
            self._jump(at, insn)
        elif insn.kind == MISC:
            to_a = insn.operation & 0x80 == TXA
            code.mov(A if to_a else X, X if to_a else A, wide=False)
        elif insn.kind == RET and insn.code & RET_A:
            code.branch("ne", A, 0, self._match, wide=False)
            code.jump(self._loads.reject)
        else:
            self._return(MATCH if insn.k else REJECT)

    def _return(self, verdict: int) -> None:
        self._code.mov(Reg.R0, verdict)
        self._code.exit()

    def _load(self, dst: Reg, insn: ClassicInsn, known: Known) -> None:
        code = self._code
        if insn.mode == ABS:
            self._loads.constant(dst, insn.k, insn.size, known)
        elif insn.mode == IND:
            self._loads.past_x(insn.k, insn.size, known)
        elif insn.mode == MSH:
            self._loads.constant(dst, insn.k, 1, known)
            code.alu("and", dst, 0xF, wide=False)
            code.alu("lsh", dst, 2, wide=False)
        elif insn.mode == IMM:
            code.mov(dst, insn.k, wide=False)
        elif insn.mode == LEN:
            code.load(dst, VIEW, self._view.wire_len, 4)
        else:
            code.load(dst, VIEW, self._view.memory + 4 * insn.k, 4)

    def _alu(self, operation: str, insn: ClassicInsn) -> None:
        code = self._code
        if operation == "neg":
            code.alu("neg", A, 0, wide=False)
        elif operation in ("lsh", "rsh"):
            self._shift(operation, insn)
        elif operation in ("div", "mod") and insn.uses_x:
            code.branch("eq", X, 0, self._loads.reject, wide=False)
            code.alu(operation, A, X, wide=False)
        elif operation in ("div", "mod") and insn.k == 0:
            code.jump(self._loads.reject)
        else:
            code.alu(operation, A, X if insn.uses_x else insn.k, wide=False)

    def _shift(self, operation: str, insn: ClassicInsn) -> None:
        """Shift; by 32 bits and more nothing is left, while eBPF takes the number modulo 32."""
        code = self._code
        if not insn.uses_x:
            if insn.k < 32:
                code.alu(operation, A, insn.k, wide=False)
            else:
                code.mov(A, 0)
            return
        small, done = code.label(), code.label()
        code.branch("lt", X, 32, small, wide=False)
        code.mov(A, 0)
        code.jump(done)
        code.place(small)
        code.alu(operation, A, X, wide=False)
        code.place(done)

    def _jump(self, at: int, insn: ClassicInsn) -> None:
        code = self._code
        if insn.operation == ALWAYS:
            self._go(at, at + 1 + insn.k)
            return
        condition, operand = CONDITIONS[insn.operation], X if insn.uses_x else insn.k
        yes, no = at + 1 + insn.jt, at + 1 + insn.jf
        if yes == no:
            self._go(at, yes)
        elif yes == at + 1 and condition in _OPPOSITE:
            code.branch(_OPPOSITE[condition], A, operand, self._to(no), wide=False)
        else:
            code.branch(condition, A, operand, self._to(yes), wide=False)
            self._go(at, no)

    def _go(self, at: int, to: int) -> None:
        if to != at + 1:
            self._code.jump(self._to(to))

    def _to(self, at: int) -> Label:
        return self._places[at]
