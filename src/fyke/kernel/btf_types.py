"""Types in BTF: finding them by name, sizes, members, enumerators, variables of a BPF object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fyke.kernel.btf_raw import (
    ARRAY,
    CONST,
    DATASEC,
    ENUM,
    ENUM64,
    FLOAT,
    INT,
    KINDS,
    PTR,
    RESTRICT,
    STRUCT,
    TYPE_TAG,
    TYPEDEF,
    UNION,
    VAR,
    VOLATILE,
    RawBtf,
    vlen_of,
)

QUALIFIERS = frozenset((CONST, VOLATILE, RESTRICT, TYPE_TAG))
_ALIASES = QUALIFIERS | {TYPEDEF}
# No C type nests deeper; a corrupt BTF may refer to itself.
MAX_DEPTH = 64
_POINTER_SIZE = 8


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct or union.

    bit_offset counts from the start of the type that was asked; bit_size is 0 unless it is a bit field.
    """

    name: str
    type_id: int
    bit_offset: int
    bit_size: int = 0

    @property
    def offset(self) -> int:
        """Offset in bytes (rounded down for a bit field)."""
        return self.bit_offset // 8


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable in a data section of a BPF object: offset and size in bytes."""

    name: str
    type_id: int
    offset: int
    size: int


class BtfTypes(RawBtf):
    """The types of one BTF, and of its base."""

    # Finding types

    def find(self, kind: str, name: str) -> int | None:
        """Return the first type of a kind (`struct`, `func` ...) with a name; `enum` means enum64 too."""
        ids = self.find_all(kind, name)
        return ids[0] if ids else None

    def find_all(self, kind: str, name: str) -> list[int]:
        """Return the ids of all types of a kind with a name, those of the base first."""
        numbers = (ENUM, ENUM64) if kind == "enum" else (KINDS[kind],)
        ids = self.base.find_all(kind, name) if self.base else []
        for number in numbers:
            own = self.own_named(number).get(name)
            if own:
                ids = ids + own
        return ids

    def resolve(self, type_id: int) -> int:
        """Return the type behind typedefs and qualifiers."""
        return self._strip(type_id, _ALIASES)

    def unqualified(self, type_id: int) -> int:
        """Return the type behind const, volatile, restrict and type tags; typedefs stay."""
        return self._strip(type_id, QUALIFIERS)

    def target(self, type_id: int) -> int:
        """Return what a pointer, typedef, qualifier, function or variable refers to; an array's element."""
        words, pos = self.locate(type_id)
        return words[pos + 3] if words[pos + 1] >> 24 & 0x7F == ARRAY else words[pos + 2]

    def array_length(self, type_id: int) -> int:
        """Return the number of elements of an array type."""
        words, pos = self._of_kind(type_id, (ARRAY,), "array")
        return words[pos + 5]

    def is_signed(self, type_id: int) -> bool:
        """Say whether an integer or enum (behind typedefs) is signed."""
        words, pos = self._of_kind(self.resolve(type_id), (INT, ENUM, ENUM64), "integer")
        if words[pos + 1] >> 24 & 0x7F == INT:
            return bool(words[pos + 3] >> 24 & 1)
        return bool(words[pos + 1] >> 31)

    def int_encoding(self, type_id: int) -> int:
        """Return the encoding of an integer (behind typedefs): bits BTF_INT_SIGNED, _CHAR, _BOOL."""
        words, pos = self._of_kind(self.resolve(type_id), (INT,), "integer")
        return words[pos + 3] >> 24 & 0xF

    def size(self, type_id: int) -> int:
        """Return the size of a type in bytes. ValueError for types that have none (void, functions)."""
        count = 1
        for _ in range(MAX_DEPTH):
            type_id = self.resolve(type_id)
            kind = self.kind(type_id)
            if kind == ARRAY:
                count *= self.array_length(type_id)
                type_id = self.target(type_id)
            elif kind == PTR:
                return count * _POINTER_SIZE
            elif kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC):
                words, pos = self.locate(type_id)
                return count * words[pos + 2]
            elif kind == VAR:
                type_id = self.target(type_id)
            else:
                break
        raise ValueError(f"type {type_id} of BTF has no size")

    # Members and enumerators

    def members(self, type_id: int) -> list[Member]:
        """Return the members of a struct or union (behind typedefs) as declared, anonymous ones included."""
        words, pos = self._of_kind(self.resolve(type_id), (STRUCT, UNION), "struct or union")
        info = words[pos + 1]
        members = []
        for at in range(pos + 3, pos + 3 + 3 * vlen_of(info), 3):
            offset = words[at + 2]
            bits = offset >> 24 if info >> 31 else 0
            members.append(
                Member(
                    self.string(words[at]), words[at + 1], offset & 0xFFFFFF if info >> 31 else offset, bits
                )
            )
        return members

    def flat_members(self, type_id: int, bit_base: int = 0, path: tuple[int, ...] = ()) -> Iterator[Member]:
        """Yield all named members, those in anonymous structs and unions too; offsets from type_id."""
        if type_id in path:
            raise ValueError("corrupt BTF: a struct contains itself")
        for member in self.members(type_id):
            if member.name:
                yield Member(member.name, member.type_id, bit_base + member.bit_offset, member.bit_size)
            elif self.kind(self.resolve(member.type_id)) in (STRUCT, UNION):
                yield from self.flat_members(member.type_id, bit_base + member.bit_offset, (*path, type_id))

    def member(self, type_id: int, name: str) -> Member | None:
        """Find a member by name, also inside anonymous structs and unions; None when there is none."""
        return next((member for member in self.flat_members(type_id) if member.name == name), None)

    def enumerators(self, type_id: int) -> list[tuple[str, int]]:
        """Return (name, value) of an enum (behind typedefs) in declaration order."""
        words, pos = self._of_kind(self.resolve(type_id), (ENUM, ENUM64), "enum")
        info = words[pos + 1]
        signed, count = info >> 31, vlen_of(info)
        bits, step = (64, 3) if info >> 24 & 0x7F == ENUM64 else (32, 2)
        values = []
        for at in range(pos + 3, pos + 3 + step * count, step):
            value = words[at + 1] | (words[at + 2] << 32 if bits == 64 else 0)
            if signed and value >> (bits - 1):
                value -= 1 << bits
            values.append((self.string(words[at]), value))
        return values

    def enum(self, name: str) -> dict[int, str]:
        """Return value -> enumerator of an enum (the first that has the value); empty without the enum."""
        type_id = self.find("enum", name)
        result: dict[int, str] = {}
        if type_id is not None:
            for enumerator, value in self.enumerators(type_id):
                result.setdefault(value, enumerator)
        return result

    def variables(self, section: str) -> dict[str, Variable]:
        """Return the variables of a BPF object's data section (`.rodata`, `.bss`); empty without it."""
        type_id = self.find("datasec", section)
        if type_id is None:
            return {}
        words, pos = self.locate(type_id)
        result = {}
        for at in range(pos + 3, pos + 3 + 3 * vlen_of(words[pos + 1]), 3):
            name = self.name(words[at])
            result[name] = Variable(name, self.target(words[at]), words[at + 1], words[at + 2])
        return result

    def _strip(self, type_id: int, kinds: frozenset[int]) -> int:
        for _ in range(MAX_DEPTH):
            if type_id == 0:
                return 0
            words, pos = self.locate(type_id)
            if words[pos + 1] >> 24 & 0x7F not in kinds:
                return type_id
            type_id = words[pos + 2]
        raise ValueError("corrupt BTF: a type refers to itself")

    def _of_kind(self, type_id: int, kinds: tuple[int, ...], what: str) -> tuple[memoryview[int], int]:
        words, pos = self.locate(type_id)
        if words[pos + 1] >> 24 & 0x7F not in kinds:
            raise ValueError(f"type {type_id} of BTF is no {what}")
        return words, pos
