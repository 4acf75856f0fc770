"""A field filter whose fields were found: what is read where, and how it is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fyke.filters.fields.tree import Expr

RESULT = "retval"
"""The root that is the probed function's return value."""
CURRENT = "current"
"""The root that is the task on this CPU (struct task_struct), whatever the function's arguments are."""
MAX_ADDRESS_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Follow:
    """Read 8 bytes at an offset of the structure at hand, mask them, and go on at the address they are."""

    offset: int
    mask: int = MAX_ADDRESS_MASK


@dataclass(frozen=True, slots=True)
class Source:
    """Where a root comes from when no argument has it: another root, and pointers to follow from there."""

    root: str
    follows: tuple[Follow, ...]


@dataclass(frozen=True, slots=True)
class Root:
    """A structure to begin at. `slot` is its index in the view's roots; None: the current task, always."""

    name: str
    struct: str
    slot: int | None
    sources: tuple[Source, ...] = ()
    is_task: bool = False

    @property
    def type(self) -> str:
        """The type of the argument that has it, as BTF spells it."""
        return f"struct {self.struct} *"


@dataclass(frozen=True, slots=True)
class NumberAt:
    """A number of `size` bytes: swapped to the machine's order, shifted right, cut to `bits`, masked."""

    offset: int
    size: int
    bits: int
    shift: int = 0
    signed: bool = False
    swapped: bool = False
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class MacAt:
    """Six bytes, as a number in network order."""

    offset: int


@dataclass(frozen=True, slots=True)
class Ipv6At:
    """Sixteen bytes in network order."""

    offset: int


@dataclass(frozen=True, slots=True)
class StringAt:
    """Bytes up to a NUL, in an array of `size` bytes; 0 where nothing but the NUL ends them."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Itself:
    """The root's own value: an address, or the return value."""

    signed: bool = False


Reading: TypeAlias = NumberAt | MacAt | Ipv6At | StringAt | Itself


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers (for IPv6: addresses as numbers) from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """A term: root, pointers followed, the last reading, and the values compared with.

    `operator` is one of `in`, `not in`, `<`, `<=`, `>`, `>=`; `==` is a set of one. Orderings have one number
    in `intervals`; `strings` are for StringAt. `text` is the term as it was written,
    `type` says what the field is.
    """

    text: str
    type: str
    root: str
    follows: tuple[Follow, ...]
    reading: Reading
    operator: str
    intervals: tuple[Interval, ...] = ()
    strings: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of these."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """Not this."""

    of: Node


Node: TypeAlias = AllOf | AnyOf | NoneOf | FieldTerm


@dataclass(frozen=True, slots=True)
class Resolved:
    """A filter that was found in the kernel's types."""

    expr: Expr
    node: Node
    known_roots: tuple[Root, ...]
    uses_result: bool

    @property
    def text(self) -> str:
        """The filter in its language."""
        return str(self.expr)

    @property
    def roots(self) -> tuple[str, ...]:
        """Names of the structs to take from the probe's arguments, by slot."""
        return tuple(root.name for root in self.known_roots if root.slot is not None)

    def root(self, name: str) -> Root:
        """Return a root by name."""
        return next(root for root in self.known_roots if root.name == name)


def terms(node: Node) -> tuple[FieldTerm, ...]:
    """Return all terms, as they stand."""
    match node:
        case FieldTerm():
            return (node,)
        case NoneOf(of):
            return terms(of)
        case AllOf(of) | AnyOf(of):
            return tuple(term for part in of for term in terms(part))
