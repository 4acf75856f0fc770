"""Where the arguments of a USDT probe are: assembler operands -> registers, memory and constants."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h, arch/arm64/include/uapi/asm/ptrace.h).
_X86_ORDER = ("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di")
_X86 = {name: 8 * place for place, name in enumerate(_X86_ORDER)} | {"ip": 128, "sp": 152}
_ARM = {f"x{n}": 8 * n for n in range(31)} | {"sp": 248, "pc": 256}
_PC = {"x86_64": _X86["ip"], "aarch64": _ARM["pc"]}


@dataclass(frozen=True, slots=True)
class Operand:
    """Where a value is: at a register plus an index plus a number, or that sum itself.

    base, index: offsets in struct pt_regs, None for none. shift: of the index, to the left.
    memory: the sum is an address; else it is the value. size: in bytes, 1 to 8.
    """

    size: int
    signed: bool
    memory: bool = False
    base: int | None = None
    index: int | None = None
    shift: int = 0
    add: int = 0


# Where the first parameters of a function are when it begins (psABI of x86-64, AAPCS64), offsets as above.
PARAMETERS = {
    "x86_64": tuple(_X86[name] for name in ("di", "si", "dx", "cx", "r8", "r9")),
    "aarch64": tuple(_ARM[f"x{n}"] for n in range(8)),
}

# name of a variable -> its distance from the probe's instruction; None when it isn't known
Distance = Callable[[str], int | None]

_WHOLE = re.compile(r"(?:(?P<sign>-)?(?P<size>[1248])(?P<float>f)?@)?(?P<operand>.+)")
_CONSTANT = re.compile(r"[$#]?(-?(?:0x[0-9a-fA-F]+|\d+))")
_X86_MEMORY = re.compile(
    r"(?:(?P<first>-?\d+)\+)?(?P<symbol>[A-Za-z_.][\w.$@]*)?(?P<add>[-+]?(?:0x[0-9a-fA-F]+|\d+))?"
    r"\((?P<base>%\w+)?(?:,(?P<index>%\w+)(?:,(?P<scale>[1248]))?)?\)"
)
_ARM_MEMORY = re.compile(
    r"\[(?P<base>x\d+|sp)(?:,\s*#?(?P<add>-?\d+)|,\s*(?P<index>x\d+)(?:,\s*lsl #?(?P<shift>\d))?)?\]"
)


def parse_operands(text: str, machine: str, distance: Distance) -> tuple[Operand | None, ...]:
    """Return where each argument is; None: it can't be read (floating point, a form that isn't known).

    machine: as uname has it.
    """
    return tuple(_operand(part, machine, distance) for part in _split(text))


def _split(text: str) -> list[str]:
    """Split at the blanks that don't stand inside brackets: `8@[sp, 8] 4@x0`."""
    return re.findall(r"(?:\[[^\]]*\]|[^\s\[])+", text)


def _operand(text: str, machine: str, distance: Distance) -> Operand | None:
    found = _WHOLE.fullmatch(text)
    if found is None or found["float"]:
        return None
    size = int(found["size"] or 8)
    signed = bool(found["sign"])
    operand = found["operand"]
    if constant := _CONSTANT.fullmatch(operand):
        return Operand(size, signed, add=int(constant[1], 0))
    read = _on_x86 if machine == "x86_64" else _on_arm
    return read(operand, size, signed, distance)


def _on_x86(operand: str, size: int, signed: bool, distance: Distance) -> Operand | None:
    if operand.startswith("%"):
        register = _x86_register(operand)
        return None if register is None else Operand(size, signed, base=register)
    found = _X86_MEMORY.fullmatch(operand)
    if found is None:
        return None
    add = int(found["add"] or "0", 0) + int(found["first"] or "0")
    shift = int(found["scale"] or 1).bit_length() - 1
    registers = [_x86_register(name) for name in (found["base"], found["index"]) if name and name != "%rip"]
    if None in registers:
        return None
    if not found["symbol"] and found["base"] != "%rip":
        base = registers.pop(0) if found["base"] else None
        return Operand(size, signed, True, base, registers[0] if registers else None, shift, add)
    # A variable: from the probe it is as far as in the file, wherever both were loaded.
    away = distance(found["symbol"]) if found["symbol"] else None
    if away is None or len(registers) > 1:
        return None
    index = registers[0] if registers else None
    return Operand(size, signed, True, _PC["x86_64"], index, shift if found["index"] else 0, away + add)


def _x86_register(name: str) -> int | None:
    """Return where a register is; parts of one (eax, ax, al, r8d) are at its beginning."""
    name = name.removeprefix("%")
    if numbered := re.fullmatch(r"(r(?:[89]|1[0-5]))[dwb]?", name):
        return _X86[numbered[1]]
    if len(name) == 3 and name[0] in "re":
        name = name[1:]
    elif name.endswith("l"):
        name = name[:-1] + ("" if name[:-1] in ("si", "di", "sp", "bp") else "x")
    return _X86.get(name)


def _on_arm(operand: str, size: int, signed: bool, _distance: Distance) -> Operand | None:
    if register := re.fullmatch(r"[xw](\d+)|w?sp", operand):
        at = _ARM.get(f"x{register[1]}" if register[1] else "sp")
        return None if at is None else Operand(size, signed, base=at)
    found = _ARM_MEMORY.fullmatch(operand)
    if found is None or found["base"] not in _ARM or (found["index"] or "sp") not in _ARM:
        return None
    index = _ARM[found["index"]] if found["index"] else None
    return Operand(
        size, signed, True, _ARM[found["base"]], index, int(found["shift"] or 0), int(found["add"] or 0)
    )
