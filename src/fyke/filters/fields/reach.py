"""At which probes a field filter can be true at all: not every probe has what it begins at."""

from __future__ import annotations

from collections.abc import Collection

from fyke.filters.fields import resolved as r


def can_match(resolved: r.Resolved, params: Collection[str], *, has_result: bool = False) -> bool:
    """Say whether a filter can be true at a probe.

    params are the types of its arguments as BTF spells them; has_result: it is at the function's return.
    """
    return _possible(resolved, resolved.node, params, has_result)[0]


def never_true(resolved: r.Resolved, params: Collection[str], *, has_result: bool = False) -> tuple[str, ...]:
    """Return the terms that can't be true at a probe with such arguments: their root is nowhere there."""
    return tuple(
        term.text for term in r.terms(resolved.node) if not _possible(resolved, term, params, has_result)[0]
    )


def has_root(resolved: r.Resolved, name: str, params: Collection[str]) -> bool:
    """Say whether a root is among a probe's arguments, or can be found from them."""
    root = resolved.root(name)
    return (
        root.is_task
        or root.type in params
        or any(has_root(resolved, source.root, params) for source in root.sources)
    )


def _possible(
    resolved: r.Resolved, node: r.Node, params: Collection[str], has_result: bool
) -> tuple[bool, bool]:
    """Return whether a part can be true, and whether it can be false."""
    match node:
        case r.NoneOf(of):
            true, false = _possible(resolved, of, params, has_result)
            return false, true
        case r.AllOf(parts):
            found = [_possible(resolved, part, params, has_result) for part in parts]
            return all(true for true, _ in found), any(false for _, false in found)
        case r.AnyOf(parts):
            found = [_possible(resolved, part, params, has_result) for part in parts]
            return any(true for true, _ in found), all(false for _, false in found)
        case r.FieldTerm(root=r.RESULT):
            return has_result, True
        case r.FieldTerm(root=name):
            if has_root(resolved, name, params):
                return True, True
            if isinstance(node.reading, r.Itself):  # compared as 0
                zero = _zero_matches(node)
                return zero, not zero
            return False, True


def _zero_matches(term: r.FieldTerm) -> bool:
    first = term.intervals[0].low
    match term.operator:
        case "in":
            return any(i.low <= 0 <= i.high for i in term.intervals)
        case "not in":
            return not any(i.low <= 0 <= i.high for i in term.intervals)
        case "<":
            return first > 0
        case "<=":
            return first >= 0
        case ">":
            return first < 0
        case _:
            return first <= 0
