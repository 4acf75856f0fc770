"""Loads of the packet's bytes: from its head, fetched once, or one by one with the kernel's help."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.filters.asm import PROBE_READ_KERNEL, Assembler, Label, Reg
from fyke.filters.pcap.flow import Known

# Registers that calls leave alone: the view, cBPF's two (upper halves 0), how many bytes can be read.
VIEW, A, X, LENGTH = Reg.R6, Reg.R7, Reg.R8, Reg.R9

MIN_HEAD, MAX_HEAD = 24, 160  # bytes; a tag that the kernel keeps beside the packet is put into the head


@dataclass(frozen=True, slots=True)
class PacketView:
    """Where the members of `struct packet_view` are, in bytes; it is on the caller's stack.

        struct packet_view { u64 at; u32 len; u32 wire_len; u64 loaded; u32 memory[16]; u8 head[160]; };

    at: the kernel's address of the packet's byte 0. len: bytes that can be read. wire_len: the packet's
    length. loaded: room for one load. memory: cBPF's. head: the first head_bytes bytes; all are set, those
    beyond len to anything. A load that begins within the head and ends past it is made from `at`: an inserted
    tag ends before MIN_HEAD - 3, so that its bytes are the same in both.
    """

    at: int = 0
    len: int = 8
    wire_len: int = 12
    loaded: int = 16
    memory: int = 24
    head: int = 88
    head_bytes: int = MAX_HEAD


class Loads:
    """Emits loads and their checks: beyond the packet is REJECT, what can't be read UNREADABLE."""

    def __init__(self, view: PacketView, code: Assembler, *, variable_stack_reads: bool) -> None:
        self.reject, self.unreadable = code.label(), code.label()
        self._view, self._code = view, code
        self._variable_stack_reads = variable_stack_reads
        self._short: dict[int, Label] = {}
        self._short_past_x = code.label()

    def constant(self, dst: Reg, offset: int, size: int, known: Known) -> None:
        """Load from a fixed offset, zero-extended, in the machine's order."""
        end = offset + size
        if end >= 1 << 32:
            self._code.jump(self.reject)  # no packet is so long
            return
        if known.length < end:
            self._code.branch("lt", LENGTH, end, self._short_of(end), wide=False)
        if end <= self._view.head_bytes:
            self._from_head(dst, offset, size)
        else:
            self._code.load(Reg.R3, VIEW, self._view.at, 8)
            self._add(Reg.R3, offset)
            self._fetch(dst, size)

    def past_x(self, offset: int, size: int, known: Known) -> None:
        """Load into A from X + offset, which doesn't wrap around."""
        code, head_bytes = self._code, self._view.head_bytes
        code.mov(Reg.R1, X)
        self._add(Reg.R1, offset)
        if known.past_x < offset + size:
            code.mov(Reg.R2, Reg.R1)
            code.alu("add", Reg.R2, size)
            code.branch("gt", Reg.R2, LENGTH, self._short_past_x)
        past, fetch, done = code.label(), code.label(), code.label()
        if offset + size <= head_bytes:
            code.branch("gt", Reg.R1, head_bytes - size, past)
            if self._variable_stack_reads:
                code.alu("add", Reg.R1, VIEW)
                self._bytes(A, Reg.R1, self._view.head, size)
                code.jump(done)
            else:
                code.mov(Reg.R3, VIEW)
                code.alu("add", Reg.R3, Reg.R1)
                code.alu("add", Reg.R3, self._view.head)
                code.jump(fetch)
        code.place(past)
        code.load(Reg.R3, VIEW, self._view.at, 8)
        code.alu("add", Reg.R3, Reg.R1)
        code.place(fetch)
        self._fetch(A, size)
        code.place(done)

    def finish(self) -> None:
        """Emit where the checks lead to; it ends at `reject`, and `unreadable` is the caller's to place."""
        code = self._code
        for end, label in self._short.items():
            code.place(label)
            code.load(Reg.R0, VIEW, self._view.wire_len, 4)
            code.branch("ge", Reg.R0, end, self.unreadable, wide=False)
            code.jump(self.reject)
        code.place(self._short_past_x)
        code.load(Reg.R0, VIEW, self._view.wire_len, 4)
        code.branch("le", Reg.R2, Reg.R0, self.unreadable)
        code.place(self.reject)

    def _short_of(self, end: int) -> Label:
        if end not in self._short:
            self._short[end] = self._code.label()
        return self._short[end]

    def _add(self, dst: Reg, offset: int) -> None:
        if offset >= 1 << 31:  # a constant of 64-bit arithmetic is sign-extended
            self._code.mov(Reg.R0, offset, wide=False)
            self._code.alu("add", dst, Reg.R0)
        elif offset:
            self._code.alu("add", dst, offset)

    def _from_head(self, dst: Reg, offset: int, size: int) -> None:
        """Load from the head. The verifier wants loads from a stack to be aligned."""
        at, code = self._view.head + offset, self._code
        if at % size == 0:
            code.load(dst, VIEW, at, size)
            if size > 1:
                code.from_big_endian(dst, size * 8)
        elif at % 2 == 0:
            code.load(dst, VIEW, at, 2)
            code.load(Reg.R0, VIEW, at + 2, 2)
            code.alu("lsh", Reg.R0, 16, wide=False)
            code.alu("or", dst, Reg.R0, wide=False)
            code.from_big_endian(dst, 32)
        else:
            self._bytes(dst, VIEW, at, size)

    def _bytes(self, dst: Reg, base: Reg, off: int, size: int) -> None:
        """Put a value together from bytes, which are always aligned."""
        self._code.load(dst, base, off, 1)
        for n in range(1, size):
            self._code.load(Reg.R0, base, off + n, 1)
            self._code.alu("lsh", dst, 8, wide=False)
            self._code.alu("or", dst, Reg.R0, wide=False)

    def _fetch(self, dst: Reg, size: int) -> None:
        """Load from the kernel's address in R3."""
        code = self._code
        code.mov(Reg.R1, VIEW)
        code.alu("add", Reg.R1, self._view.loaded)
        code.mov(Reg.R2, size)
        code.call(PROBE_READ_KERNEL)
        code.branch("ne", Reg.R0, 0, self.unreadable)
        code.load(dst, VIEW, self._view.loaded, size)
        if size > 1:
            code.from_big_endian(dst, size * 8)
