"""The tree of a field filter. `str()` of any part is its text, which parses to the same tree."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

# Operators of terms; "" stands for `!= 0`.
ORDERINGS = ("<", "<=", ">", ">=")
OPERATORS = ("==", "!=", *ORDERINGS)
SETS = ("in", "not in")
# How a byte of a string is written when not as itself.
ESCAPES = {0x07: "a", 0x08: "b", 0x09: "t", 0x0A: "n", 0x0D: "r", 0x22: '"', 0x5C: "\\"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number, of any size."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Text:
    """A string: its bytes, without a NUL."""

    value: bytes

    def __str__(self) -> str:
        return '"' + "".join(_escaped(byte) for byte in self.value) + '"'


@dataclass(frozen=True, slots=True)
class Name:
    """An enumerator or a well-known constant."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 (4 bytes), MAC (6) or IPv6 (16) address in network order, and how many of its bits count."""

    value: bytes
    bits: int

    @property
    def is_whole(self) -> bool:
        """Whether all bits count."""
        return self.bits == 8 * len(self.value)

    def __str__(self) -> str:
        if len(self.value) == 6:
            return self.value.hex(":")
        text = str(ipaddress.ip_address(self.value))
        return text if self.is_whole else f"{text}/{self.bits}"


Literal: TypeAlias = Number | Text | Name | Address


@dataclass(frozen=True, slots=True)
class Range:
    """Values from `low` to `high`, both included; only in a set."""

    low: Literal
    high: Literal

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Mask:
    """Bits to keep, or (inverted) to drop."""

    value: int
    inverted: bool = False

    def __str__(self) -> str:
        return f"{'~' if self.inverted else ''}{self.value:#x}"


@dataclass(frozen=True, slots=True)
class Step:
    """One member on a path, its array indexes, and what is done with it: masked, taken for a `cast *`."""

    name: str
    indexes: tuple[int, ...] = ()
    mask: Mask | None = None
    cast: str = ""

    def __str__(self) -> str:
        indexes = "".join(f"[{index}]" for index in self.indexes)
        mask = "" if self.mask is None else f":{self.mask}"
        return f"{self.name}{indexes}{mask}{':' if self.cast else ''}{self.cast}"


@dataclass(frozen=True, slots=True)
class Path:
    """A root (a struct's name, `retval` or `current`) and the members from there."""

    root: str
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.root, *map(str, self.steps)))


@dataclass(frozen=True, slots=True)
class Term:
    """A comparison. Without an operator: not 0. `in` and `not in` have one value or more, others one."""

    path: Path
    operator: str = ""
    values: tuple[Literal | Range, ...] = ()

    def __str__(self) -> str:
        if not self.operator:
            return str(self.path)
        values = ", ".join(map(str, self.values))
        return f"{self.path} {self.operator} {f'{{{values}}}' if self.operator in SETS else values}"


@dataclass(frozen=True, slots=True)
class Not:
    """True when the other is false."""

    of: Expr

    def __str__(self) -> str:
        return f"not {_inside(self.of, (And, Or))}"


@dataclass(frozen=True, slots=True)
class And:
    """True when all of two or more are."""

    of: tuple[Expr, ...]

    def __str__(self) -> str:
        return " and ".join(_inside(expr, (And, Or)) for expr in self.of)


@dataclass(frozen=True, slots=True)
class Or:
    """True when one of two or more is."""

    of: tuple[Expr, ...]

    def __str__(self) -> str:
        return " or ".join(_inside(expr, (Or,)) for expr in self.of)


Expr: TypeAlias = Or | And | Not | Term


def _inside(expr: Expr, bracketed: tuple[type, ...]) -> str:
    return f"({expr})" if isinstance(expr, bracketed) else str(expr)


def _escaped(byte: int) -> str:
    if byte in ESCAPES:
        return "\\" + ESCAPES[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
