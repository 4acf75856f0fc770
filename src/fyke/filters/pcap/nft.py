"""cBPF to rules of nftables: which packets pass a filter, said as each way through its program.

A way is a rule: all its conditions must hold. Both read the same bytes, so that rules pass what the filter
passes, and what they can't say is left out of them: then they pass more, never less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    MEM,
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
    next_of,
)

MAX_RULES = 256
_MAX_STEPS = 50_000
_MAX_OFFSET = 255  # nft_payload_init() takes one byte
_ALL = 0xFFFFFFFF
_NOT = {"==": "!=", "!=": "==", ">": "<=", "<=": ">", ">=": "<", "<": ">="}


@dataclass(frozen=True, slots=True)
class Load:
    """Bytes of the packet, masked. base: nh or th, the network or the transport header."""

    base: str
    offset: int
    size: int
    mask: int

    @property
    def whole(self) -> int:
        """The mask that leaves all of it."""
        return (1 << 8 * self.size) - 1

    @property
    def is_sayable(self) -> bool:
        """Whether nftables can read so far into the header."""
        return self.offset <= _MAX_OFFSET

    def __str__(self) -> str:
        """As nft reads it: bits."""
        text = f"@{self.base},{8 * self.offset},{8 * self.size}"
        return text if self.mask == self.whole else f"{text} & {self.mask:#x}"


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of bytes. operator: one of nft's."""

    load: Load
    operator: str
    value: int

    def __str__(self) -> str:
        """As nft reads it."""
        load = str(self.load)
        if self.operator == "!=" and self.load.mask == self.load.whole:
            # nft merges what is said of adjacent bytes, and makes "not (a == 1 and b == 2)" of
            # `a != 1 b != 2`; it leaves alone what has a mask.
            load += f" & {self.load.mask:#x}"
        return f"{load} {self.operator} {self.value:#x}"

    def holds(self, value: int) -> bool:
        """Say whether a value of these bytes, masked, does it."""
        if self.operator in ("==", "!="):
            return (value == self.value) == (self.operator == "==")
        if self.operator in (">", "<="):
            return (value > self.value) == (self.operator == ">")
        return (value >= self.value) == (self.operator == ">=")

    @property
    def opposite(self) -> Condition:
        """What holds otherwise."""
        return replace(self, operator=_NOT[self.operator])


_VERSION_4 = Condition(Load("nh", 0, 1, 0xF0), "==", 0x40)
_FIRST_FRAGMENT = Condition(Load("nh", 6, 2, 0x1FFF), "==", 0)
_HEADER_LENGTH = "4 * (nh[0] & 0xf)"  # of IPv4, and so where the transport header is

_Value = Load | int | str | None  # None: not known
Rule = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class _Way:
    """A way through a program, as far as it was followed."""

    at: int = 0
    a: _Value = None
    x: _Value = None
    memory: tuple[_Value, ...] = (None,) * 16
    conditions: Rule = ()


def rules(program: Program) -> list[Rule] | None:
    """Return rules that pass what a program for packets without a link-layer header passes, or more.

    No rule: nothing passes. A rule without conditions: everything may. None: they would be too many.
    """
    found: dict[Rule, None] = {}
    ways = [_Way()]
    for _ in range(_MAX_STEPS):
        if not ways:
            return list(found)
        way = ways.pop()
        insn = program[way.at]
        if insn.kind != RET:
            ways.extend(_after(program, way))
        elif insn.code & RET_A or insn.k:
            rule = _short(way.conditions)
            if not rule:
                return [()]
            found[rule] = None
            if len(found) > MAX_RULES:
                return None
    return None


def _after(program: Program, way: _Way) -> Iterator[_Way]:
    """Yield where a way goes on, the last first."""
    insn = program[way.at]
    places = next_of(program, way.at)
    if insn.kind != JMP:
        yield replace(_computed(way, insn), at=places[0])
    elif insn.operation == ALWAYS:
        yield replace(way, at=places[0])
    else:
        yes, no = places
        condition = _condition(way, insn)
        known = None if condition is None else _known(way.conditions, condition)
        if known is not None:
            yield replace(way, at=yes if known else no)
        elif condition is None:  # can't be said: both may be
            yield replace(way, at=no)
            yield replace(way, at=yes)
        else:
            yield replace(way, at=no, conditions=(*way.conditions, condition.opposite))
            yield replace(way, at=yes, conditions=(*way.conditions, condition))


def _computed(way: _Way, insn: ClassicInsn) -> _Way:
    """Return what is known once an instruction was carried out."""
    if insn.kind == LD:
        return replace(way, a=_loaded(way, insn))
    if insn.kind == LDX:
        return replace(way, x=_loaded(way, insn))
    if insn.kind in (ST, STX):
        memory = list(way.memory)
        memory[insn.k] = way.a if insn.kind == ST else way.x
        return replace(way, memory=tuple(memory))
    if insn.kind == MISC:
        return replace(way, a=way.x) if insn.operation & 0x80 == TXA else replace(way, x=way.a)
    assert insn.kind == ALU
    if OPERATIONS[insn.operation] == "and" and not insn.uses_x and isinstance(way.a, Load):
        return replace(way, a=replace(way.a, mask=way.a.mask & insn.k))
    return replace(way, a=None)


def _loaded(way: _Way, insn: ClassicInsn) -> _Value:
    whole = (1 << 8 * insn.size) - 1
    if insn.mode == IMM:
        return insn.k
    if insn.mode == MEM:
        return way.memory[insn.k]
    if insn.mode == ABS:
        return Load("nh", insn.k, insn.size, whole)
    if insn.mode == MSH and insn.k == 0:
        return _HEADER_LENGTH
    # nftables has no transport header in later fragments, and finds that of IPv6 behind extensions.
    if insn.mode == IND and way.x == _HEADER_LENGTH and {_VERSION_4, _FIRST_FRAGMENT} <= {*way.conditions}:
        return Load("th", insn.k, insn.size, whole)
    return None


def _condition(way: _Way, insn: ClassicInsn) -> Condition | None:
    """Return the condition of a jump; None when it can't be said."""
    load = way.a
    if insn.uses_x or not isinstance(load, Load) or not load.is_sayable:
        return None
    if CONDITIONS[insn.operation] == "set":
        return Condition(replace(load, mask=load.mask & insn.k), "!=", 0)
    return Condition(load, {"eq": "==", "gt": ">", "ge": ">="}[CONDITIONS[insn.operation]], insn.k)


def _known(before: Rule, condition: Condition) -> bool | None:
    """Say whether a condition holds after others; None when that isn't known."""
    load = condition.load
    values = [c.value for c in before if c.operator == "==" and c.load == load]
    if values:
        return condition.holds(values[0])
    if condition in before:
        return True
    if condition.opposite in before:
        return False
    # What nft would refuse: bits that aren't there.
    if condition.operator == "==" and condition.value & ~load.mask:
        return False
    if condition.operator == "!=" and not load.mask:
        return False
    low, high = condition.holds(0), condition.holds(load.mask)
    return low if condition.operator in (">", ">=") and low == high else None


def _short(conditions: Rule) -> Rule:
    """Leave out what follows from the others: that bytes aren't something, when they are something else."""
    equal = {c.load for c in conditions if c.operator == "=="}
    return tuple(c for c in conditions if c.operator == "==" or c.load not in equal)
