"""Random memory images of the made structures, and random expressions about them."""

from __future__ import annotations

import random

from made_structs import STRUCTS, Arr, Bits, Enum, Int, Ptr, Ref, Type
from oracle import WORDS, Image, checked, number, pointer, root, walk

from fyke.filters.fields.tree import (
    ORDERINGS,
    SETS,
    Address,
    And,
    Expr,
    Literal,
    Mask,
    Name,
    Not,
    Number,
    Or,
    Path,
    Range,
    Step,
    Term,
    Text,
)

BASE = 0xFFFF_8880_0000_0000
PAGE = 0x1000
ARGUMENTS = ("sk_buff", "net_device", "sock", "nf_conn", "net", "task_struct", "queue")
STRINGS = (
    b"",
    b"a",
    b"eth0",
    b"eth1",
    b"veth0123",
    b"exactly16letters",
    b"longer than any of the arrays..",
    b"\xff\x01",
)
NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    0x80,
    0xFF,
    0x800,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x0A000001,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)


class Samples:
    """Memory from `base` on, with nothing at `nowhere`. Not any_task: the current task is never looked at."""

    def __init__(
        self, seed: int, base: int = BASE, nowhere: int = BASE - PAGE, any_task: bool = True
    ) -> None:
        self.random = random.Random(seed)
        self.base, self.nowhere, self.any_task = base, nowhere, any_task
        self.image = Image()
        self.objects: dict[str, list[int]] = {}
        self._fill()

    # Memory

    def _fill(self) -> None:
        r, at = self.random, self.base
        for name in STRUCTS:
            self.objects[name] = [at + n * PAGE for n in range(2)]
            at += 2 * PAGE
        self.bytes_at = []
        for string in STRINGS:
            for tail in (b"\0", b"", b"\0junk"):  # the second ends where memory ends
                self.bytes_at.append(at)
                self.image.regions[at] = string + tail or b"\0"
                at += PAGE
        self.task_pointers = at
        self.image.regions[at] = r.choice(self.objects["task_struct"]).to_bytes(8, "little")
        for name, struct in STRUCTS.items():
            for address in self.objects[name]:
                content = bytearray(struct.size)
                self._struct(content, 0, name)
                # The element behind an array's pointer is there too.
                self.image.regions[address] = bytes(content) + (bytes(content) if name == "queue" else b"")
        for name in ARGUMENTS:
            if r.random() < 0.6:
                self.image.roots[name] = self._address(self.objects[name])
        if not self.any_task:
            self.image.roots["task_struct"] = r.choice(self.objects["task_struct"])
        self.image.current = r.choice(self.objects["task_struct"])
        self.image.result = r.choice((None, 0, 1, -1, -12, 1 << 62, -(1 << 63)))

    def _address(self, good: list[int]) -> int:
        if self.random.random() < 0.07:
            return 0
        bad = (
            0,
            8,
            0x5555_0000_1000,
            (1 << 64) - 12,
            (1 << 64) - 4095,
            (1 << 64) - 4096,
            self.nowhere,
            1 << 63,
        )
        return self.random.choice(good if self.random.random() < 0.85 else bad)

    def _struct(self, content: bytearray, start: int, name: str) -> None:
        for at, kind in STRUCTS[name].members.values():
            self._member(content, start + at // 8, at % 8, kind)

    def _member(self, content: bytearray, at: int, shift: int, kind: Type) -> None:
        r = self.random
        match kind:
            case Ref(name):
                self._struct(content, at, name)
            case Arr(Int("char"), length):
                content[at : at + length] = r.choice(STRINGS)[:length].ljust(length, r.choice((b"\0", b"x")))
            case Arr(of, length):
                for n in range(length):
                    self._member(content, at + n * (len_of(of)), 0, of)
            case Ptr(to):
                content[at : at + 8] = self._pointer(to).to_bytes(8, "little")
            case Bits(_, count):
                word = int.from_bytes(content[at : at + 4], "little")
                word |= r.getrandbits(count) << shift
                content[at : at + 4] = word.to_bytes(4, "little")
            case Enum(_, values):
                content[at : at + 4] = (r.choice(values)[1] & 0xFFFFFFFF).to_bytes(4, "little")
            case Int(_, 8) if at == 24:  # _nfct
                tagged = self._address(self.objects["nf_conn"]) | r.randrange(8)
                content[at : at + 8] = tagged.to_bytes(8, "little")
            case Int("_Bool"):
                content[at] = r.randrange(2)
            case Int(_, size, _, typedef):
                value = r.choice(NUMBERS) if r.random() < 0.7 else r.getrandbits(8 * size)
                value &= (1 << 8 * size) - 1
                content[at : at + size] = value.to_bytes(size, "big" if typedef else "little")

    def _pointer(self, to: Type | None) -> int:
        match to:
            case Ref(name):
                return self._address(self.objects[name])
            case Int():
                return self._address(self.bytes_at)
            case Ptr():
                return self._address([self.task_pointers])
        return self._address(self.objects["nf_conn"])

    # Expressions

    def expr(self, depth: int = 3) -> Expr:
        r = self.random
        if depth and r.random() < 0.5:
            if r.random() < 0.3:
                return Not(self.expr(depth - 1))
            parts = tuple(self.expr(depth - 1) for _ in range(r.randint(2, 3)))
            return And(parts) if r.random() < 0.5 else Or(parts)
        return self.term()

    def term(self) -> Term:
        r = self.random
        start = r.choice((*ARGUMENTS, "retval", *(("current",) if self.any_task else ())))
        if start == "retval":
            return self._numbers(Path(start), self.image.result or 0, Int("long", 8, True), "")
        if r.random() < 0.1:
            return self._numbers(Path(start), root(start, self.image), Ptr(None), "")
        steps: list[Step] = []
        kind: Type = Ref("task_struct" if start == "current" else start)
        while isinstance(kind, Ref):
            kind = self._step(kind, steps)
        return self._term(Path(start, tuple(steps)), kind)

    def _step(self, kind: Ref, steps: list[Step]) -> Type:
        """Go one member further; pointers are followed half of the time."""
        r = self.random
        name = r.choice(list(STRUCTS[kind.struct].members))
        found = STRUCTS[kind.struct].members[name][1]
        go_on = len(steps) < 4 and r.random() < 0.7
        if name in ("_nfct", "private") and go_on:
            mask = Mask(7, True) if name == "_nfct" else Mask(0, True)
            steps.append(Step(name, (), mask, "nf_conn"))
            return Ref("nf_conn")
        if isinstance(found, Arr) and isinstance(found.of, Ref):
            steps.append(Step(name, (r.randrange(found.length),)))
            return found.of
        if isinstance(found, Ptr) and found.to == Ref("queue") and go_on:
            steps.append(Step(name, (r.randrange(2),)))
            return found.to
        if (
            isinstance(found, Arr)
            and isinstance(found.of, Int)
            and found.of.name != "char"
            and r.random() < 0.3
        ):
            steps.append(Step(name, (r.randrange(found.length),)))
            return found.of
        mask = Mask((1 << 64) - 4, False) if isinstance(found, Ptr) and go_on and r.random() < 0.1 else None
        steps.append(Step(name, (), mask))
        if go_on and isinstance(found, Ptr) and isinstance(found.to, Ref | Ptr):
            return found.to if isinstance(found.to, Ref) else Ref("task_struct")
        if isinstance(found, Ref) and found.struct in ("in_addr", "in6_addr") and r.random() < 0.7:
            return Arr(Int("unsigned char", 1), 4 if found.struct == "in_addr" else 16)
        return found

    def _term(self, path: Path, kind: Type) -> Term:
        r = self.random
        match kind:
            case Arr(Int("char"), length):
                return self._bytes(path, lambda: Text(r.choice(STRINGS)[:length]))
            case Ptr(Int("char")) if r.random() < 0.8:
                return self._bytes(path, lambda: Text(r.choice(STRINGS)))
            case Ptr(Int("unsigned char")) if r.random() < 0.7:
                return self._bytes(path, lambda: Address(self._there(path, 6), 48))
            case Arr(Int(_, 1), 8):
                return self._bytes(path, lambda: Address(self._there(path, 6), 48), ranges=True)
            case Arr(Int(_, 1), 4):
                return self._bytes(path, lambda: self._prefix(self._there(path, 4)))
            case Arr(Int(_, 1 | 4), 16 | 4):
                return self._bytes(path, lambda: self._prefix(self._there(path, 16)))
            case Arr(of, length):
                index = r.randrange(length)
                last = path.steps[-1]
                path = Path(path.root, (*path.steps[:-1], Step(last.name, (index,))))
                return self._term(path, of)
            case Int(_, 4, _, "__be32") if r.random() < 0.6:
                return self._bytes(path, lambda: self._prefix(self._there(path, 4)))
        return self._numbers(path, self._now(path), kind, path.steps[-1].name)

    def _there(self, path: Path, size: int) -> bytes:
        """Bytes that are there half of the time, so that comparisons are true now and then."""
        r = self.random
        try:
            struct = "task_struct" if path.root == "current" else path.root
            bits, kind, _ = walk(path, 8 * checked(root(path.root, self.image)), Ref(struct), self.image)
            at = pointer(self.image, bits // 8) if isinstance(kind, Ptr) else bits // 8
            found = bytearray(self.image.read(at, size))
        except LookupError:
            return r.randbytes(size)
        if r.random() < 0.4:
            found[r.randrange(size)] ^= 1 << r.randrange(8)
        return bytes(found)

    def _now(self, path: Path) -> int:
        """What is there, so that comparisons are true now and then."""
        try:
            struct = "task_struct" if path.root == "current" else path.root
            bits, kind, _ = walk(path, 8 * checked(root(path.root, self.image)), Ref(struct), self.image)
            return number(self.image, bits, kind)
        except LookupError:
            return 1

    def _numbers(self, path: Path, now: int, kind: Type, name: str) -> Term:
        r = self.random
        width = kind.count if isinstance(kind, Bits) else 8 * len_of(kind)
        signed = kind.of.signed if isinstance(kind, Bits) else isinstance(kind, Int | Enum) and kind.signed
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        if isinstance(kind, Int) and kind.name == "_Bool":
            high = 1
        if path.steps and not signed and high > 3 and r.random() < 0.2 and path.steps[-1].mask is None:
            last = path.steps[-1]
            mask = Mask(r.choice((1, 3, high >> 1)), r.random() < 0.5)
            now &= ~mask.value if mask.inverted else mask.value
            path = Path(path.root, (*path.steps[:-1], Step(last.name, last.indexes, mask)))

        def value() -> Literal:
            words = dict(kind.values) if isinstance(kind, Enum) else WORDS.get(name, {})
            if words and r.random() < 0.4:
                return Name(r.choice(list(words)))
            wanted = now if r.random() < 0.5 else r.choice((*NUMBERS, low, high, now + 1, now - 1, -1))
            return Number(min(max(wanted, low), high))

        operator = r.choice(("", "==", "!=", *ORDERINGS, *SETS))
        if operator in SETS:
            items = [
                self._range(value(), high) if r.random() < 0.3 else value() for _ in range(r.randint(1, 4))
            ]
            return Term(path, operator, tuple(items))
        return Term(path, operator, (value(),) if operator else ())

    def _range(self, literal: Literal, high: int) -> Literal | Range:
        """A range that begins or ends at a number, or near it."""
        if not isinstance(literal, Number) or not 2 < literal.value < high - 2:
            return literal
        below, above = self.random.choice(((0, 1), (1, 0), (0, 0), (2, 2)))
        return Range(Number(literal.value - below), Number(literal.value + above))

    def _bytes(self, path, value, ranges: bool = False) -> Term:  # type: ignore[no-untyped-def]
        operator = self.random.choice(("==", "!=", *SETS))
        count = self.random.randint(1, 3) if operator in SETS else 1
        values = tuple(value() for _ in range(count))
        if ranges and operator in SETS and count == 2:
            low, high = sorted(values, key=lambda address: address.value)
            values = (Range(low, high),)
        return Term(path, operator, values)

    def _prefix(self, value: bytes) -> Address:
        width = 8 * len(value)
        bits = self.random.choice((width, width, width // 2, width // 2 + 3, 9, 1, 0))
        kept = int.from_bytes(value, "big") >> width - bits << width - bits
        return Address(kept.to_bytes(len(value), "big"), bits)


def len_of(kind: Type) -> int:
    match kind:
        case Int(_, size):
            return size
        case Enum():
            return 4
        case Ptr():
            return 8
        case Arr(of, length):
            return length * len_of(of)
        case Ref(name):
            return STRUCTS[name].size
        case Bits(of):
            return of.size
