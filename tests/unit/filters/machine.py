"""A machine for the eBPF that packet filters become; the code is checked first, as by the verifier."""

from __future__ import annotations

from collections.abc import Callable

from machine_checks import CONDITIONS, HALF, MASK, OPERATIONS, SIZES, Refused, checked, holds, view_bytes

from fyke.filters import asm
from fyke.filters.asm import Insn
from fyke.filters.pcap.loads import PacketView

VIEW_AT = 0x1000_0000_0000  # where the machine has the view; the packet is elsewhere
PACKET_AT = 0xFFFF_8880_0000_0000
EFAULT = -14 & MASK

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
        return (BRANCH, CONDITIONS[insn.op & 0xF0], insn.dst, src, insn.off, insn.imm & mask, mask)
    if kind in (asm.ALU, asm.ALU64):
        name = OPERATIONS[insn.op & 0xF0]
        src = -1 if name == "swap" else src  # there the bit means big-endian
        return (COMPUTE, name, insn.dst, src, 0, insn.imm & mask, mask)
    size = SIZES[insn.op & 0x18]
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
            if holds(name, regs[dst] & mask, imm if src < 0 else regs[src] & mask):
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
