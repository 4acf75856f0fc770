"""What the kernel's BTF says of functions and tracepoints, and how a type is spelled in C.

Types are spelled without const, volatile and the like (`struct sk_buff *`, `enum skb_drop_reason`), which is
how collectors name what they can take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fyke.kernel.btf_raw import (
    ARRAY,
    ENUM,
    ENUM64,
    FUNC,
    FUNC_PROTO,
    FWD,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    vlen_of,
)
from fyke.kernel.btf_types import MAX_DEPTH, QUALIFIERS, BtfTypes, Member, Variable

__all__ = ["BTF_DIR", "Btf", "Member", "ModuleBtfs", "Param", "Prototype", "Variable"]

BTF_DIR = Path("/sys/kernel/btf")
_TRACEPOINT = "btf_trace_"
# The function that calls what is attached to a tracepoint.
# Linux kernel commit d25e37d89dd2 ("tracepoint: Optimize using static_call()") (in v5.10).
_CALLER = "__traceiter_"
# Kinds whose name needs a word in front, and those whose bare name is the type.
_TAGGED = {"struct": ("struct", "fwd"), "union": ("union", "fwd"), "enum": ("enum",)}
_PLAIN = ("int", "typedef", "float")


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: its name (often empty for a tracepoint's), its type as C spells it (`...` for varargs)."""

    name: str
    type_id: int
    type: str


@dataclass(frozen=True, slots=True)
class Prototype:
    """What a function takes and returns."""

    params: tuple[Param, ...]
    returns: str


class Btf(BtfTypes):
    """One BTF: the kernel's, a module's (which continues the kernel's) or a BPF object's."""

    def __init__(self, words: memoryview[int], strings: bytes, layout: bytes, base: Self | None) -> None:
        super().__init__(words, strings, layout, base)
        self._spelled: dict[int, str] = {}
        self._ids_spelled: dict[str, frozenset[int]] = {}
        self._referring_to: dict[tuple[int, ...], dict[int, list[int]]] = {}
        self._protos_taking: dict[tuple[str, ...], frozenset[int]] = {}

    @classmethod
    def vmlinux(cls, path: Path = BTF_DIR / "vmlinux") -> Self:
        """Read the running kernel's BTF. OSError when it can't be read, ValueError when it is corrupt."""
        return cls.parse(path.read_bytes())

    def modules(self, directory: Path = BTF_DIR) -> Mapping[str, Btf]:
        """Return the BTF of each loaded module by its name, read on first use; self is vmlinux'."""
        return ModuleBtfs(self, directory)

    def forget(self) -> None:
        """Let go of what was looked up."""
        super().forget()
        for found in (self._spelled, self._ids_spelled, self._referring_to, self._protos_taking):
            found.clear()

    # Functions and tracepoints

    def functions(self) -> list[str]:
        """Return the names of this BTF's own functions (not those of the base)."""
        return list(self.own_named(FUNC))

    def prototype(self, function: str) -> Prototype | None:
        """Return what a function takes and returns; None when BTF does not have it."""
        type_id = self.find("func", function)
        return None if type_id is None else self._prototype(self.target(type_id))

    def prototype_of(self, function_id: int) -> Prototype:
        """Return what a function, known by its type id, takes and returns. ValueError when it is none."""
        self._of_kind(function_id, (FUNC,), "function")
        return self._prototype(self.target(function_id))

    def return_type_id(self, function: str) -> int:
        """Return the type that a function returns, 0 for none. ValueError when BTF does not have it."""
        words, pos = self._proto_of(function)
        return words[pos + 2]

    def argument_slots(self, function: str) -> tuple[int, ...]:
        """Return where each parameter begins among the 8-byte words they are passed in, and their number.

        A structure passed by value takes as many as it has. ValueError when BTF does not have the function.
        """
        words, pos = self._proto_of(function)
        slots = [0]
        for at in range(pos + 4, pos + 4 + 2 * vlen_of(words[pos + 1]), 2):
            slots.append(slots[-1] + (max(1, -(-self.size(words[at]) // 8)) if words[at] else 1))
        return tuple(slots)

    def _proto_of(self, function: str) -> tuple[memoryview[int], int]:
        type_id = self.find("func", function)
        if type_id is None:
            raise ValueError(f"BTF has no function {function}")
        return self._of_kind(self.target(type_id), (FUNC_PROTO,), "function prototype")

    def tracepoints(self) -> list[str]:
        """Return the bare names of this BTF's own tracepoints (not those of the base)."""
        return [name[len(_TRACEPOINT) :] for name in self.own_named(TYPEDEF) if name.startswith(_TRACEPOINT)]

    def tracepoint_prototype(self, name: str) -> Prototype | None:
        """Return what a tracepoint passes, without the leading `void *__data`; None when unknown."""
        type_id = self.find("typedef", _TRACEPOINT + name)
        if type_id is None:
            return None
        pointer = self.resolve(type_id)
        if self.kind(pointer) != PTR:
            return None
        prototype = self._prototype(self.target(pointer))
        named = self.prototype(_CALLER + name)  # parameters of types in BTF have no names; a function's have
        if named and [p.type_id for p in named.params] == [p.type_id for p in prototype.params]:
            prototype = named
        return Prototype(prototype.params[1:], prototype.returns)

    def functions_taking(self, *types: str) -> list[str]:
        """Return the names of this BTF's own functions with a parameter of a type (`struct sk_buff *`)."""
        protos = self._protos(types)
        words, starts, first = self.words, self.starts, self.first_id
        return [
            name
            for name, ids in self.own_named(FUNC).items()
            if any(words[starts[type_id - first] + 2] in protos for type_id in ids)
        ]

    # Spelling

    def spell(self, type_id: int) -> str:
        """Spell a type in C, without qualifiers: `struct sk_buff *`, `u8[16]`, `int (*)(void *)`."""
        spelled = self._spelled.get(type_id)
        if spelled is None:
            spelled = self._spelled[type_id] = self._spell(type_id, 0)
        return spelled

    def _spell(self, type_id: int, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise ValueError("corrupt BTF: a type refers to itself")
        type_id = self.unqualified(type_id)
        kind = self.kind(type_id)
        if kind in (STRUCT, UNION, ENUM, ENUM64, FWD):
            return f"{self._tag(type_id, kind)} {self.name(type_id) or '(anonymous)'}"
        if kind == PTR:
            target = self.unqualified(self.target(type_id))
            inner = self._spell(target, depth + 1)
            if self.kind(target) == FUNC_PROTO:
                return inner.replace(" (", " (*)(", 1)
            return inner + "*" if inner.endswith("*") else inner + " *"
        if kind == ARRAY:
            return f"{self._spell(self.target(type_id), depth + 1)}[{self.array_length(type_id)}]"
        if kind == FUNC_PROTO:
            words, pos = self.locate(type_id)
            types = [words[at] for at in range(pos + 4, pos + 4 + 2 * vlen_of(words[pos + 1]), 2)]
            params = [self._spell(param, depth + 1) if param else "..." for param in types]
            return f"{self._spell(words[pos + 2], depth + 1)} ({', '.join(params) or 'void'})"
        return self.name(type_id)

    def _tag(self, type_id: int, kind: int) -> str:
        if kind == FWD:
            words, pos = self.locate(type_id)
            return "union" if words[pos + 1] >> 31 else "struct"
        return {STRUCT: "struct", UNION: "union"}.get(kind, "enum")

    def _prototype(self, type_id: int) -> Prototype:
        words, pos = self._of_kind(type_id, (FUNC_PROTO,), "function prototype")
        params = []
        for at in range(pos + 3, pos + 3 + 2 * vlen_of(words[pos + 1]), 2):
            param = words[at + 1]
            params.append(Param(self.string(words[at]), param, self.spell(param) if param else "..."))
        return Prototype(tuple(params), self.spell(words[pos + 2]))

    # Sets of types by spelling: the base's are taken over, so a module's BTF costs only its own types

    def _ids_of(self, spelled: str) -> frozenset[int]:
        """Return the ids of all types that are spelled so, qualified ones included."""
        known = self._ids_spelled.get(spelled)
        if known is None:
            inherited = self.base._ids_of(spelled) if self.base else frozenset[int]()
            if spelled.endswith("*"):
                own = self._referring(self._ids_of(spelled[:-1].rstrip()), (PTR,))
            else:
                own = set(self._own_named(spelled))
            known = self._ids_spelled[spelled] = self._with_qualified(inherited | own)
        return known

    def _own_named(self, spelled: str) -> list[int]:
        if spelled == "void":
            return [0]
        tag, _, name = spelled.rpartition(" ")
        kinds = _TAGGED.get(tag)
        if kinds is None:
            kinds, name = _PLAIN, spelled
        ids = [i for kind in kinds for i in self.find_all(kind, name) if i >= self.first_id]
        return [i for i in ids if self.kind(i) != FWD or self._tag(i, FWD) == tag]

    def _with_qualified(self, ids: frozenset[int]) -> frozenset[int]:
        """Add the const, volatile, restrict and tagged variants, in any order of nesting."""
        found, new = set(ids), set(ids)
        while new:
            new = self._referring(new, tuple(QUALIFIERS)) - found
            found |= new
        return frozenset(found)

    def _referring(self, ids: Iterable[int], kinds: tuple[int, ...]) -> set[int]:
        """Return the own types of some kinds that refer to one of these."""
        index = self._referring_to.get(kinds)
        if index is None:
            index = self._referring_to[kinds] = {}
            for kind in kinds:
                for type_id in self.own_ids(kind):
                    index.setdefault(self.target(type_id), []).append(type_id)
        return {found for type_id in ids for found in index.get(type_id, ())}

    def _protos(self, types: tuple[str, ...]) -> frozenset[int]:
        """Return the function prototypes with a parameter of one of these types."""
        known = self._protos_taking.get(types)
        if known is None:
            ids = frozenset[int]().union(*(self._ids_of(spelled) for spelled in types))
            words, starts, first = self.words, self.starts, self.first_id
            found = set(self.base._protos(types)) if self.base else set()
            for proto in self.own_ids(FUNC_PROTO):
                pos = starts[proto - first]
                if not ids.isdisjoint(words[pos + 4 : pos + 3 + 2 * (words[pos + 1] & 0xFFFFFF) : 2]):
                    found.add(proto)
            known = self._protos_taking[types] = frozenset(found)
        return known


class ModuleBtfs(Mapping[str, Btf]):
    """The BTF of the loaded modules by name, each read when first asked for; ValueError for a corrupt one."""

    def __init__(self, vmlinux: Btf, directory: Path) -> None:
        self._vmlinux = vmlinux
        self._directory = directory
        try:
            self._names = sorted(path.name for path in directory.iterdir() if path.name != "vmlinux")
        except OSError:
            self._names = []
        self._loaded: dict[str, Btf] = {}

    def __getitem__(self, name: str) -> Btf:
        if name not in self._loaded:
            if name not in self._names:
                raise KeyError(name)
            self._loaded[name] = Btf.parse((self._directory / name).read_bytes(), self._vmlinux)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
