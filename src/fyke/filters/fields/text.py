"""What a field filter reads, in words: `--dump fields`."""

from __future__ import annotations

import ipaddress

from fyke.filters.fields import resolved as r
from fyke.filters.fields.tree import Text


def text(resolved: r.Resolved) -> str:
    """Return a line for each term, below `any of`, `all of` and `not`, and one for each root that is used.

    A term's line: the term, what its field is, the way there, what is read, how it is compared. `+16 ->` is a
    pointer at 16 bytes from the start of the structure before, followed.
    """
    lines = _lines(resolved, resolved.node, 0)
    lines += [_root(root) for root in resolved.known_roots]
    return "\n".join(lines) + "\n"


def _lines(resolved: r.Resolved, node: r.Node, depth: int) -> list[str]:
    indent = "  " * depth
    match node:
        case r.FieldTerm():
            return [indent + _term(node)]
        case r.NoneOf(of):
            return [indent + "not", *_lines(resolved, of, depth + 1)]
        case r.AllOf(parts):
            word = "all of"
        case r.AnyOf(parts):
            word = "any of"
    return [indent + word, *(line for part in parts for line in _lines(resolved, part, depth + 1))]


def _term(term: r.FieldTerm) -> str:
    way = term.root + "".join(_follow(follow) for follow in term.follows)
    return f"{term.text}: {term.type}; {way}{_reading(term.reading)}; {_comparison(term)}"


def _follow(follow: r.Follow) -> str:
    mask = "" if follow.mask == r.MAX_ADDRESS_MASK else f" & {follow.mask:#x}"
    return f" +{follow.offset}{mask} ->"


def _reading(reading: r.Reading) -> str:
    match reading:
        case r.Itself():
            return ""
        case r.NumberAt():
            text = f" +{reading.offset}, {_bytes(reading.size)}"
            if reading.swapped:
                text += " in network order"
            if reading.bits < 8 * reading.size:
                text += f", bits {reading.shift} to {reading.shift + reading.bits - 1}"
            return text if reading.mask is None else f"{text}, & {reading.mask:#x}"
        case r.MacAt(offset):
            return f" +{offset}, 6 bytes in network order"
        case r.Ipv6At(offset):
            return f" +{offset}, 16 bytes in network order"
        case r.StringAt(offset, size):
            return f" +{offset}, {f'at most {_bytes(size)}' if size else 'bytes'} up to a NUL"


def _bytes(count: int) -> str:
    return f"{count} byte{'s' if count != 1 else ''}"


def _comparison(term: r.FieldTerm) -> str:
    values = [str(Text(string)) for string in term.strings]
    values += [_interval(term.reading, interval) for interval in term.intervals]
    if len(values) > 1:
        return f"{term.operator} {{{', '.join(values)}}}"
    operator = {"in": "==", "not in": "!="}.get(term.operator, term.operator)
    is_range = term.intervals and term.intervals[0].low != term.intervals[0].high
    return f"{term.operator} {{{values[0]}}}" if is_range else f"{operator} {values[0]}"


def _interval(reading: r.Reading, interval: r.Interval) -> str:
    if isinstance(reading, r.Ipv6At):
        bits = 128 - (interval.low ^ interval.high).bit_length()
        return f"{ipaddress.IPv6Address(interval.low)}/{bits}"
    low, high = (_number(reading, value) for value in (interval.low, interval.high))
    return low if low == high else f"{low}-{high}"


def _number(reading: r.Reading, value: int) -> str:
    if isinstance(reading, r.MacAt):
        return value.to_bytes(6, "big").hex(":")
    return str(value) if abs(value) < 10 else f"{value} ({value:#x})"


def _root(root: r.Root) -> str:
    ways = [f"the argument of type {root.type}"] if root.slot is not None else []
    ways += [source.root + "".join(map(_follow, source.follows)) for source in root.sources]
    ways += ["the current task"] * root.is_task
    return f"{root.name}: {', else '.join(ways)}"
