"""Find the fields of a filter in the kernel's types: what to read where, and what to compare it with."""

from __future__ import annotations

from fyke.errors import Unsupported, UsageError
from fyke.filters.fields import resolved as r
from fyke.filters.fields.compare import comparison
from fyke.filters.fields.grammar import parse
from fyke.filters.fields.paths import follow_last, walk
from fyke.filters.fields.resolved import Resolved
from fyke.filters.fields.tree import And, Expr, Not, Or, Path, Term
from fyke.filters.fields.types import Types, find_struct
from fyke.filters.fields.view import MAX_ROOTS

__all__ = ["Resolved", "Types", "resolve"]

# Where a root comes from when the probed function has no argument of its type, best first.
FALLBACKS = {
    "net_device": ("sk_buff.dev", "xdp_buff.rxq.dev"),
    "sock": ("sk_buff.sk",),
    "nf_conn": ("sk_buff._nfct:~0x7:nf_conn",),
    "net": ("net_device.nd_net.net", "sock.__sk_common.skc_net.net"),
}
# What people call these structs.
_MEANT = {
    "skb": "sk_buff",
    "dev": "net_device",
    "netdev": "net_device",
    "sk": "sock",
    "ct": "nf_conn",
    "task": "task_struct",
    "netns": "net",
}


def resolve(expr: Expr, types: Types) -> Resolved:
    """Find all fields of an expression.

    Raises UsageError for an unknown struct or member, a value that doesn't fit its field, and more structures
    to begin at than MAX_ROOTS; Unsupported for types that are corrupt.
    """
    roots = _Roots(types)
    try:
        node = _node(expr, types, roots)
    except ValueError as error:
        raise Unsupported(f"the kernel's types (BTF) can't be used: {error}") from None
    uses_result = any(term.root == r.RESULT for term in r.terms(node))
    found = Resolved(expr, node, tuple(roots.found.values()), uses_result)
    if len(found.roots) > MAX_ROOTS:
        raise UsageError(
            f"the field filter begins at {len(found.roots)} structures, {MAX_ROOTS} are possible: "
            f"{', '.join(found.roots)}",
            "begin at fewer: sk_buff.dev in place of net_device, sk_buff.sk in place of sock",
        )
    return found


def _node(expr: Expr, types: Types, roots: _Roots) -> r.Node:
    match expr:
        case Term():
            return _term(expr, types, roots)
        case Not(of):
            return r.NoneOf(_node(of, types, roots))
        case And(parts):
            return r.AllOf(tuple(_node(part, types, roots) for part in parts))
        case Or(parts):
            return r.AnyOf(tuple(_node(part, types, roots) for part in parts))


def _term(term: Term, types: Types, roots: _Roots) -> r.FieldTerm:
    path = term.path
    if path.root == r.RESULT:
        if path.steps:
            raise UsageError(
                f"{path}: {r.RESULT} is a number, it has no members", f"compare it: {r.RESULT} < 0"
            )
        return comparison(term, None)
    root = roots.add(path.root)
    if not path.steps:
        return comparison(term, None)
    return comparison(term, walk(types, find_struct(types, root.struct, str(path)), path))


class _Roots:
    """The roots in use, each with its slot; what they fall back to included."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._slots = 0
        self.found: dict[str, r.Root] = {}

    def add(self, name: str) -> r.Root:
        if name in self.found:
            return self.found[name]
        if name == r.CURRENT:
            root = r.Root(name, "task_struct", None, is_task=True)
        else:
            self._known(name)
            root = r.Root(name, name, self._slots, is_task=name == "task_struct")
            self._slots += 1
        self.found[name] = root  # so that its slot comes first
        sources = tuple(filter(None, (self._source(text) for text in FALLBACKS.get(name, ()))))
        root = r.Root(name, root.struct, root.slot, sources, root.is_task)
        self.found[name] = root
        return root

    def _known(self, name: str) -> None:
        try:
            find_struct(self._types, name, name)
        except UsageError as error:
            meant = _MEANT.get(name)
            raise UsageError(error.message, f"write {meant}" if meant else error.hint) from None

    def _source(self, text: str) -> r.Source | None:
        """Return the way from another root, None where this kernel lacks a member on it (no conntrack)."""
        path = _path(text)
        try:
            start = find_struct(self._types, path.root, text)
            follows = follow_last(walk(self._types, start, path))
        except UsageError:
            return None
        self.add(path.root)
        return r.Source(path.root, follows)


def _path(text: str) -> Path:
    term = parse(text)
    assert isinstance(term, Term)
    return term.path
