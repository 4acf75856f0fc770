"""What a function returns, as BTF tells it: enough to read the register it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import ENUM, ENUM64, INT, PTR

_BOOL = 4  # BTF_INT_BOOL


@dataclass(frozen=True, slots=True)
class ReturnType:
    """A type of up to 8 bytes.

    text: as C spells it. kind: `number`, `enum`, `bool` or `pointer`. names: value -> enumerator of an enum.
    """

    text: str
    kind: str
    size: int
    signed: bool = False
    names: Mapping[int, str] = field(default_factory=dict, hash=False)


def return_type(btf: Btf, function: str) -> ReturnType | None:
    """Return what a function returns, None for nothing, or what isn't in one register.

    ValueError when BTF lacks the function.
    """
    spelled = btf.return_type_id(function)
    resolved = btf.resolve(spelled)
    if resolved == 0:
        return None
    kind, text = btf.kind(resolved), btf.spell(spelled)
    if kind == PTR:
        return ReturnType(text, "pointer", 8)
    if kind in (ENUM, ENUM64):
        names: dict[int, str] = {}
        for name, value in btf.enumerators(resolved):
            names.setdefault(value, name)
        return ReturnType(text, "enum", btf.size(resolved), btf.is_signed(resolved), names)
    if kind != INT or btf.size(resolved) > 8:
        return None
    if btf.int_encoding(resolved) & _BOOL:
        return ReturnType(text, "bool", 1)
    return ReturnType(text, "number", btf.size(resolved), btf.is_signed(resolved))
