"""What a field is compared with: how its type is read, and values of the language as numbers and bytes."""

from __future__ import annotations

from fyke.errors import UsageError
from fyke.filters.fields import resolved as r
from fyke.filters.fields.constants import CONSTANTS
from fyke.filters.fields.paths import End, follow_last
from fyke.filters.fields.tree import ORDERINGS, Address, Literal, Name, Number, Range, Term, Text
from fyke.filters.fields.types import FieldType, near_names

_ADDRESSES = {4: "IPv4 address", 6: "MAC address", 16: "IPv6 address"}
_MAC_BYTES = 6
# A reading and the pointers to follow before it, by kind of value that it can be compared with.
_Forms = dict[str, tuple[r.Reading, tuple[r.Follow, ...]]]


def comparison(term: Term, end: End | None) -> r.FieldTerm:
    """Say how a term reads and compares its field; end is None for a root alone. UsageError for a misfit."""
    forms = _root_forms(term) if end is None else _forms(end)
    words = _root_words(term) if end is None else end.type.words()
    operator, values = term.operator, term.values
    if not operator:
        operator, values = "!=", (Number(0),)
        if "number" not in forms:
            raise UsageError(f"{term.path} is {words}, which is not true or false", _example(term, forms))
    kinds = [kind for value in values for kind in _kinds(value)]
    for kind in kinds:
        if kind not in forms:
            raise UsageError(f"{term.path} is {words}, not a{'n' * kind.startswith('I')} {kind}")
    reading, follows = forms[kinds[0]]
    if any(forms[kind][0] != reading for kind in kinds):
        raise UsageError(f"{term.path}: a set can't have both {kinds[0]} and other values")
    if operator in ORDERINGS and not isinstance(reading, r.NumberAt | r.Itself):
        raise UsageError(f"{term.path} is {words}: it can't be compared with {operator}", "use == or !=")
    is_number = isinstance(reading, r.NumberAt)
    if end is not None and end.mask is not None and not (is_number or end.type.is_pointer):
        raise UsageError(f"{term.path}: only a number can be masked, this is {words}")
    strings: tuple[bytes, ...] = ()
    intervals: tuple[r.Interval, ...] = ()
    if isinstance(reading, r.StringAt):
        strings = tuple(_string(term, value, reading, words) for value in values)
    else:
        intervals = tuple(_interval(term, end, value, words) for value in values)
    if operator in ORDERINGS and intervals[0].low != intervals[0].high:
        raise UsageError(f"{term.path}: a prefix can't be compared with {operator}", "use == or !=")
    operator = {"==": "in", "!=": "not in"}.get(operator, operator)
    return r.FieldTerm(str(term), words, term.path.root, follows, reading, operator, intervals, strings)


def _root_words(term: Term) -> str:
    if term.path.root == r.RESULT:
        return "the return value (s64)"
    return f"a pointer (struct {'task_struct' if term.path.root == r.CURRENT else term.path.root} *)"


def _root_forms(term: Term) -> _Forms:
    return {"number": (r.Itself(signed=term.path.root == r.RESULT), ())}


def _forms(end: End) -> _Forms:
    """Return the ways to read a member, by kind of value."""
    field, offset, follows = end.type, end.offset, end.follows
    forms: _Forms = {}
    if field.is_integer or field.is_enum or field.is_pointer:
        forms["number"] = (_number(end), follows)
        if field.is_network_order and field.size == 4:
            forms["IPv4 address"] = forms["number"]
        if field.is_pointer and field.target.is_char:
            forms["string"] = (r.StringAt(0, 0), follow_last(end))
        if field.is_pointer and field.target.is_byte and not field.target.is_char:
            forms["MAC address"] = (r.MacAt(0), follow_last(end))
    elif field.is_array:
        _array_forms(forms, field, offset, follows)
    elif field.is_struct and field.base_name == "in_addr":
        forms["number"] = forms["IPv4 address"] = (r.NumberAt(offset, 4, 32, swapped=True), follows)
    elif field.is_struct and field.base_name == "in6_addr":
        forms["IPv6 address"] = (r.Ipv6At(offset), follows)
    return forms


def _array_forms(forms: _Forms, array: FieldType, offset: int, follows: tuple[r.Follow, ...]) -> None:
    element, length = array.target, array.length
    if element.is_char:
        forms["string"] = (r.StringAt(offset, length), follows)  # length 0: as many as there are
    elif element.is_byte:
        if length >= _MAC_BYTES or length == 0:
            forms["MAC address"] = (r.MacAt(offset), follows)
        if length == 4:
            forms["IPv4 address"] = (r.NumberAt(offset, 4, 32, swapped=True), follows)
        if length == 16:
            forms["IPv6 address"] = (r.Ipv6At(offset), follows)
    elif element.is_network_order and element.size == 4 and length == 4:
        forms["IPv6 address"] = (r.Ipv6At(offset), follows)


def _number(end: End) -> r.NumberAt:
    field = end.type
    if not field.bits:
        if field.size not in (1, 2, 4, 8):
            raise UsageError(f"{end.path} is {field.words()} of {field.size} bytes, which can't be compared")
        swapped, signed = field.is_network_order, field.is_signed
        return r.NumberAt(end.offset, field.size, field.width, 0, signed, swapped, end.mask)
    # The smallest aligned word that has all its bits; a packed one may be in none, but in an unaligned one.
    for start_of in (lambda size: end.offset // size * size, lambda _size: end.offset):
        for size in (1, 2, 4, 8):
            shift = end.bit_offset - 8 * start_of(size)
            if shift + field.bits <= 8 * size:
                return r.NumberAt(start_of(size), size, field.bits, shift, field.is_signed, False, end.mask)
    raise UsageError(f"{end.path} is {field.words()} across 9 bytes, which can't be read")


def _kinds(value: Literal | Range) -> tuple[str, ...]:
    match value:
        case Range(low, high):
            return (*_kinds(low), *_kinds(high))
        case Text():
            return ("string",)
        case Address(packed):
            return (_ADDRESSES[len(packed)],)
        case _:
            return ("number",)


def _interval(term: Term, end: End | None, value: Literal | Range, words: str) -> r.Interval:
    match value:
        case Range(low, high):
            first = _interval(term, end, low, words).low
            last = _interval(term, end, high, words).high
            if isinstance(low, Address) and len(low.value) == 16:
                raise UsageError(f"{term.path}: IPv6 addresses have no ranges here", "use a prefix")
            if first > last:
                raise UsageError(f"{term.path}: the range {value} is empty")
            return r.Interval(first, last)
        case Address(packed):
            start = int.from_bytes(packed, "big")
            return r.Interval(start, start | (1 << 8 * len(packed) - value.bits) - 1)
        case Name(name):
            number = _named(term, end, name, words)
        case Number(number):
            pass
        case Text():
            raise AssertionError("strings are not compared as numbers")
    least, most = _limits(term, end)
    if not least <= number <= most:
        raise UsageError(f"{term.path} is {words}: {value} is not between {least} and {most}")
    return r.Interval(number, number)


def _limits(term: Term, end: End | None) -> tuple[int, int]:
    if end is None:
        signed = term.path.root == r.RESULT
        return (-(1 << 63), (1 << 63) - 1) if signed else (0, (1 << 64) - 1)
    return (0, (1 << 32) - 1) if end.type.is_struct else end.type.limits


def _named(term: Term, end: End | None, name: str, words: str) -> int:
    """Return the value of a name for this field."""
    known: dict[str, int] = {}
    if end is not None:
        if end.type.is_enum:
            known = dict(end.type.btf.enumerators(end.type.id))
        elif end.type.is_bool:
            known = {"false": 0, "true": 1}
        else:
            known = CONSTANTS.get(end.path.steps[-1].name, {})
    elif term.path.root == r.RESULT:
        known = CONSTANTS[r.RESULT]
    if name not in known:
        near = near_names(name, known) or sorted(known)[:5]
        hint = f"names: {', '.join(near)}" if near else f'a string has quotes: "{name}"'
        raise UsageError(f"{term.path} is {words}, it has no value {name}", hint)
    return known[name]


def _string(term: Term, value: Literal | Range, reading: r.StringAt, words: str) -> bytes:
    assert isinstance(value, Text)
    if reading.size and len(value.value) > reading.size:
        raise UsageError(f"{term.path} is {words}: {value} has {len(value.value)} bytes, more than fit in it")
    return value.value


def _example(term: Term, forms: _Forms) -> str:
    values = {
        "string": '"eth0"',
        "IPv4 address": "10.0.0.1",
        "MAC address": "00:00:5e:00:53:01",
        "IPv6 address": "2001:db8::1",
    }
    value = next((values[kind] for kind in forms), "")
    return f"compare it: {term.path} == {value}" if value else "name one of its members"
