"""Runs the eBPF of field filters in Python, and fails on what the kernel's verifier would refuse in it."""

from __future__ import annotations

from collections.abc import Callable

from fyke.filters.asm import CALL, CONDITIONS, EXIT, JMP, JMP32, OPERATIONS, SIZES, Insn
from fyke.filters.fields.view import MAX_ROOTS, FieldView

VIEW = 0x7F00_0000_0000  # where R1 points; no address of the kernel
LAYOUT = FieldView()
VIEW_BYTES = LAYOUT.loaded + 64
ALL = (1 << 64) - 1
_OPERATION = {code: name for name, code in OPERATIONS.items()}
_CONDITION = {code: name for name, code in CONDITIONS.items()}
_SIZE = {code: size for size, code in SIZES.items()}


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_TEST: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "sgt": lambda a, b: signed(a) > signed(b),
    "sge": lambda a, b: signed(a) >= signed(b),
    "slt": lambda a, b: signed(a) < signed(b),
    "sle": lambda a, b: signed(a) <= signed(b),
}


class Machine:
    """One run. `read(address, size)` gives the kernel's bytes, or raises LookupError."""

    def __init__(self, read: Callable[[int, int], bytes], current: int) -> None:
        self.read = read
        self.current = current
        self.reads: list[tuple[int, int]] = []
        self.bytes: list[int | None] = [None] * VIEW_BYTES

    def run(self, code: list[Insn], roots: list[int], result: int | None) -> int:
        for slot in range(MAX_ROOTS):
            address = roots[slot] if slot < len(roots) else 0
            self.put(LAYOUT.roots + 8 * slot, address.to_bytes(8, "little"))
        self.put(LAYOUT.result, ((result or 0) & ALL).to_bytes(8, "little"))
        self.put(LAYOUT.result + 8, int(result is not None).to_bytes(8, "little"))
        self.regs: list[int | None] = [None] * 11
        self.regs[1] = VIEW
        at = 0
        for _ in range(len(code)):  # nothing runs twice: there are no loops
            insn = code[at]
            at += 1
            kind = insn.op & 7
            if insn.op == EXIT:
                return self.value(0)
            if insn.op == CALL:
                self.call(insn.imm)
            elif insn.op == 0x18:
                self.regs[insn.dst] = insn.imm & 0xFFFFFFFF | (code[at].imm & 0xFFFFFFFF) << 32
                at += 1
            elif kind in (JMP, JMP32):
                assert insn.off >= 0, "a loop"
                if self.jumps(insn):
                    at += insn.off
            elif kind in (4, 7):
                self.compute(insn)
            else:
                self.access(insn)
        raise AssertionError("the code doesn't end")

    def value(self, register: int) -> int:
        value = self.regs[register]
        assert value is not None, f"r{register} was never written"
        return value

    def operand(self, insn: Insn) -> int:
        return self.value(insn.src) if insn.op & 8 else insn.imm & ALL

    def jumps(self, insn: Insn) -> bool:
        condition = _CONDITION[insn.op & 0xF0]
        assert insn.op & 7 == JMP
        return condition == "always" or _TEST[condition](self.value(insn.dst), self.operand(insn))

    def compute(self, insn: Insn) -> None:
        name = _OPERATION[insn.op & 0xF0]
        assert insn.dst != 10
        if name == "mov":
            self.regs[insn.dst] = self.operand(insn)
            return
        value = self.value(insn.dst)
        if name == "swap":
            assert insn.op & 7 == 4
            assert insn.imm in (16, 32, 64)
            size = insn.imm // 8
            low = value & (1 << insn.imm) - 1
            self.regs[insn.dst] = int.from_bytes(low.to_bytes(size, "little"), "big")
            return
        assert insn.op & 7 == 7
        operand = self.operand(insn)
        if name in ("lsh", "rsh", "arsh"):
            assert operand < 64
        results = {
            "add": lambda: value + operand,
            "and": lambda: value & operand,
            "or": lambda: value | operand,
            "lsh": lambda: value << operand,
            "rsh": lambda: value >> operand,
            "arsh": lambda: signed(value) >> operand,
        }
        self.regs[insn.dst] = results[name]() & ALL

    def access(self, insn: Insn) -> None:
        size = _SIZE[insn.op & 0x18]
        if insn.op & 7 == 1:
            self.regs[insn.dst] = int.from_bytes(
                self.get(self.place(self.value(insn.src) + insn.off, size), size), "little"
            )
            return
        value = self.value(insn.src) if insn.op & 7 == 3 else insn.imm & ALL
        at = self.place(self.value(insn.dst) + insn.off, size)
        assert at < LAYOUT.result, "only roots are written"
        self.put(at, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def place(self, address: int, size: int) -> int:
        at = address - VIEW
        assert 0 <= at <= VIEW_BYTES - size, "an access outside of the view"
        assert at % size == 0, "an access that isn't aligned"
        return at

    def get(self, at: int, size: int) -> bytes:
        found = self.bytes[at : at + size]
        assert None not in found, "a load of bytes that were never written"
        return bytes(byte for byte in found if byte is not None)

    def put(self, at: int, value: bytes) -> None:
        self.bytes[at : at + len(value)] = value

    def call(self, helper: int) -> None:
        get_current_task = helper == 35
        result = self.current if get_current_task else self.probe_read(helper)
        self.regs[:6] = [result & ALL] + [None] * 5

    def probe_read(self, helper: int) -> int:
        """bpf_probe_read_kernel (113) and bpf_probe_read_kernel_str (115)."""
        to, size, address = (self.value(register) for register in (1, 2, 3))
        at = to - VIEW
        assert LAYOUT.loaded <= at <= VIEW_BYTES - size
        assert size > 0
        self.reads.append((address, size))
        if helper == 113:
            try:
                self.put(at, self.read(address, size))
                return 0
            except LookupError:
                self.put(at, bytes(size))
                return -14
        assert helper == 115
        text = b""
        while len(text) < size - 1:
            try:
                byte = self.read(address + len(text), 1)
            except LookupError:
                self.put(at, bytes(size))
                return -14
            text += byte
            if byte == b"\0":
                break
        else:
            text += b"\0"
        # What is behind the string is anything.
        self.put(at, text + b"\xa5" * (size - len(text)))
        return len(text)


def unreachable(code: list[Insn]) -> list[int]:
    """Return the places that control never comes to; the kernel refuses such code."""
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        insn = code[at]
        if insn.op == EXIT:
            continue
        if insn.op == 0x18:
            seen.add(at + 1)
            waiting.append(at + 2)
        elif insn.op & 7 in (JMP, JMP32) and insn.op != CALL:
            waiting.append(at + 1 + insn.off)
            if insn.op & 0xF0:
                waiting.append(at + 1)
        else:
            waiting.append(at + 1)
    return sorted(set(range(len(code))) - seen)
