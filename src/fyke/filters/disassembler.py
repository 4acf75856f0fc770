"""eBPF as text, in the notation of the kernel's verifier and of bpftool."""

from __future__ import annotations

from collections.abc import Sequence

from fyke.filters import asm
from fyke.filters.asm import Insn

_SIGNS = {
    "add": "+=",
    "sub": "-=",
    "mul": "*=",
    "div": "/=",
    "or": "|=",
    "and": "&=",
    "lsh": "<<=",
    "rsh": ">>=",
    "mod": "%=",
    "xor": "^=",
    "mov": "=",
    "arsh": "s>>=",
}
_COMPARISONS = {
    "eq": "==",
    "gt": ">",
    "ge": ">=",
    "set": "&",
    "ne": "!=",
    "sgt": "s>",
    "sge": "s>=",
    "lt": "<",
    "le": "<=",
    "slt": "s<",
    "sle": "s<=",
}
_TYPES = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_OPERATIONS = {code: name for name, code in asm.OPERATIONS.items()}
_CONDITIONS = {code: name for name, code in asm.CONDITIONS.items()}
_HELPERS = {
    asm.GET_CURRENT_PID_TGID: "bpf_get_current_pid_tgid",
    asm.GET_CURRENT_TASK: "bpf_get_current_task",
    asm.PROBE_READ_KERNEL: "bpf_probe_read_kernel",
}


def text(insns: Sequence[Insn]) -> str:
    """Return a line for each instruction; a constant of 64 bits takes the numbers of two."""
    lines = []
    for at, insn in enumerate(insns):
        if insn.op == asm.LD | asm.IMM64:
            value = insns[at + 1].imm << 32 | insn.imm & 0xFFFFFFFF
            lines.append(f"{at:4}: (18) r{insn.dst} = {value & (1 << 64) - 1:#x}")
        elif insn.op:
            lines.append(f"{at:4}: ({insn.op:02x}) {_insn(insn)}")
    return "\n".join(lines)


def _insn(insn: Insn) -> str:
    kind = insn.op & 7
    if insn.op == asm.EXIT:
        return "exit"
    if insn.op == asm.CALL and insn.src:
        return f"call pc{insn.imm:+d}"  # another function of the program
    if insn.op == asm.CALL:
        return f"call {_HELPERS.get(insn.imm, 'helper')}#{insn.imm}"
    if kind in (asm.ALU, asm.ALU64):
        return _alu(insn)
    if kind in (asm.JMP, asm.JMP32):
        return _jump(insn)
    place = f"{_TYPES[insn.op & 0x18]} *)(r{{}} {insn.off:+d})"
    if kind == asm.LDX:
        return f"r{insn.dst} = *({place.format(insn.src)}"
    value = f"r{insn.src}" if kind == asm.STX else str(insn.imm)
    return f"*({place.format(insn.dst)} = {value}"


def _alu(insn: Insn) -> str:
    operation = _OPERATIONS[insn.op & 0xF0]
    half = "r" if insn.op & 7 == asm.ALU64 else "w"
    dst = f"{half}{insn.dst}"
    if operation == "swap":
        order = "be" if insn.op & asm.REGISTER else "le"
        return f"r{insn.dst} = {order}{insn.imm} r{insn.dst}"
    if operation == "neg":
        return f"{dst} = -{dst}"
    return f"{dst} {_SIGNS[operation]} {_operand(insn, half, str(insn.imm))}"


def _jump(insn: Insn) -> str:
    condition = _CONDITIONS[insn.op & 0xF0]
    if condition == "always":
        return f"goto pc{insn.off:+d}"
    half = "r" if insn.op & 7 == asm.JMP else "w"
    operand = _operand(insn, half, f"{insn.imm & 0xFFFFFFFF:#x}")
    return f"if {half}{insn.dst} {_COMPARISONS[condition]} {operand} goto pc{insn.off:+d}"


def _operand(insn: Insn, half: str, constant: str) -> str:
    return f"{half}{insn.src}" if insn.op & asm.REGISTER else constant
