"""Types as a field filter needs them: paths through structures, and what a field is in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fyke.errors import UsageError
from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import ARRAY, ENUM, ENUM64, FWD, INT, PTR, STRUCT, TYPEDEF, UNION

NETWORK_ORDER = ("__be16", "__be32", "__be64")


class Types(Protocol):
    """Where structs are found: a kernel and its modules."""

    def struct(self, name: str) -> tuple[Btf, int] | None:
        """Return a struct's types and its id in them; None when there is none of that name."""

    def near_structs(self, name: str) -> list[str]:
        """Return names of structs like this one, best first."""


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type in its BTF. `bits` is set for a bit field."""

    btf: Btf
    id: int
    bits: int = 0

    @property
    def kind(self) -> int:
        """Kind of the type behind typedefs and qualifiers."""
        return self.btf.kind(self.btf.resolve(self.id))

    @property
    def spelled(self) -> str:
        """The type in C."""
        return self.btf.spell(self.id)

    @property
    def base_name(self) -> str:
        """Name of the type behind typedefs and qualifiers."""
        return self.btf.name(self.btf.resolve(self.id))

    @property
    def size(self) -> int:
        """Bytes."""
        return self.btf.size(self.id)

    @property
    def width(self) -> int:
        """Bits of the value: of a bit field those it has, else those of its type."""
        return self.bits or 8 * self.size

    @property
    def target(self) -> FieldType:
        """What a pointer points to, or an array's element."""
        return FieldType(self.btf, self.btf.target(self.btf.resolve(self.id)))

    @property
    def length(self) -> int:
        """Elements of an array."""
        return self.btf.array_length(self.btf.resolve(self.id))

    @property
    def is_struct(self) -> bool:
        """Whether it has members."""
        return self.kind in (STRUCT, UNION)

    @property
    def is_pointer(self) -> bool:
        """Whether it is a pointer."""
        return self.kind == PTR

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return self.kind == ARRAY

    @property
    def is_enum(self) -> bool:
        """Whether it is an enum."""
        return self.kind in (ENUM, ENUM64)

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer, a bool included."""
        return self.kind == INT

    @property
    def is_bool(self) -> bool:
        """Whether it is a bool, or a flag of one bit."""
        return self.is_integer and (self.base_name == "_Bool" or self.bits == 1)

    @property
    def is_byte(self) -> bool:
        """Whether it is an integer of one byte."""
        return self.is_integer and self.size == 1 and not self.bits and self.base_name != "_Bool"

    @property
    def is_char(self) -> bool:
        """Whether it is a character."""
        return self.is_integer and self.base_name == "char"

    @property
    def is_signed(self) -> bool:
        """Whether it is a signed integer or enum."""
        return (self.is_integer or self.is_enum) and self.btf.is_signed(self.id)

    @property
    def is_network_order(self) -> bool:
        """Whether its typedefs say that it is stored in network order."""
        return not self.bits and any(name in NETWORK_ORDER for name in self._typedefs())

    def _typedefs(self) -> Iterable[str]:
        type_id = self.btf.unqualified(self.id)
        while self.btf.kind(type_id) == TYPEDEF:
            yield self.btf.name(type_id)
            type_id = self.btf.unqualified(self.btf.target(type_id))

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of an integer, enum or pointer."""
        if self.base_name == "_Bool" and self.is_integer:
            return 0, 1
        width = self.width
        return (-(1 << width - 1), (1 << width - 1) - 1) if self.is_signed else (0, (1 << width) - 1)

    def words(self) -> str:
        """Say what it is: `u32 (__u32)`, `a bit field of 3 bits`, `a pointer (struct sock *)`."""
        spelled = self.spelled
        if self.bits:
            return f"a bit field of {self.bits} bit{'s' if self.bits > 1 else ''}"
        if self.is_pointer:
            return f"a pointer ({spelled})"
        if self.is_array:
            return f"a string ({spelled})" if self.target.is_char else f"an array ({spelled})"
        if self.is_struct:
            return f"a structure ({spelled})"
        if self.is_integer and self.base_name != "_Bool":
            short = f"{'s' if self.is_signed else 'u'}{self.width}"
            order = " in network order" if self.is_network_order else ""
            return f"{short}{order}" + (f" ({spelled})" if spelled != short else "")
        return spelled.replace("_Bool", "bool")


def find_struct(types: Types, name: str, where: str) -> FieldType:
    """Find a struct by name; UsageError, with names that are near, when there is none."""
    found = types.struct(name)
    if found is None:
        near = types.near_structs(name)
        raise UsageError(
            f"{where}: neither the kernel nor a loaded module has a struct {name}",
            f"near: {', '.join(near)}" if near else "",
        )
    return FieldType(*found)


def find_member(owner: FieldType, name: str, where: str) -> tuple[FieldType, int]:
    """Find a member, also in anonymous structs: its type and offset in bits. UsageError names near ones."""
    member = owner.btf.member(owner.id, name)
    if member is None:
        known = {other.name for other in owner.btf.flat_members(owner.id)}
        near = near_names(name, known)
        raise UsageError(
            f"{where}: {owner.spelled} has no member {name}", f"near: {', '.join(near)}" if near else ""
        )
    return FieldType(owner.btf, member.type_id, member.bit_size), member.bit_offset


def defined(types: Types, found: FieldType, where: str) -> FieldType:
    """Return a struct that is only declared here from the BTF that defines it."""
    if found.kind != FWD:
        return found
    whole = types.struct(found.base_name)
    if whole is None:
        raise UsageError(
            f"{where}: {found.spelled} is only declared, its members are in no BTF",
            "load the module that has it",
        )
    return FieldType(*whole)


def near_names(name: str, known: Iterable[str], count: int = 5) -> list[str]:
    """Return names like one, best first: those that contain it, or are written alike."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, count, 0.55)
    containing = [other for other in known if len(name) > 2 and name in other and other not in close]
    return (close + containing)[:count]
