"""A second opinion on field filters: walks the tree over a memory image, by the declared layouts alone."""

from __future__ import annotations

import ipaddress
import operator
from dataclasses import dataclass, field

from made_structs import STRUCTS, Arr, Bits, Enum, Int, Ptr, Ref, Type

from fyke.filters.fields.tree import (
    Address,
    And,
    Expr,
    Literal,
    Name,
    Not,
    Number,
    Or,
    Path,
    Range,
    Term,
    Text,
)

ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
WORDS = {
    "pkt_type": {"PACKET_HOST": 0, "PACKET_OTHERHOST": 3, "PACKET_OUTGOING": 4},
    "ip_summed": {"CHECKSUM_NONE": 0, "CHECKSUM_PARTIAL": 3},
    "protocol": {"ETH_P_IP": 0x0800, "ETH_P_IPV6": 0x86DD},
}


class Unreadable(LookupError):
    """The term is false."""


@dataclass
class Image:
    """Memory: regions by their first address; the probe's arguments by struct; return value, current task."""

    regions: dict[int, bytes] = field(default_factory=dict)
    roots: dict[str, int] = field(default_factory=dict)
    result: int | None = None
    current: int = 0

    def read(self, address: int, size: int) -> bytes:
        for start, content in self.regions.items():
            if start <= address and address + size <= start + len(content):
                return content[address - start : address - start + size]
        raise Unreadable(hex(address))


def holds(expr: Expr, image: Image) -> bool:
    match expr:
        case And(parts):
            return all(holds(part, image) for part in parts)
        case Or(parts):
            return any(holds(part, image) for part in parts)
        case Not(of):
            return not holds(of, image)
        case _:
            try:
                return term(expr, image)
            except Unreadable:
                return False


def checked(address: int) -> int:
    if not 1 << 63 <= address < (1 << 64) - 4095:
        raise Unreadable(hex(address))
    return address


def pointer(image: Image, address: int) -> int:
    return int.from_bytes(image.read(checked(address), 8), "little")


def member_address(image: Image, struct: str, address: int, *names: str) -> tuple[int, Type]:
    """Address and type of a member of embedded structs."""
    found: Type = Ref(struct)
    for name in names:
        assert isinstance(found, Ref)
        at, found = STRUCTS[found.struct].members[name]
        address += at // 8
    return address, found


def root(name: str, image: Image) -> int:
    """The address of a root, 0 when it is nowhere."""
    given = image.roots.get(name, 0)
    if name == "current" or (name == "task_struct" and not given):
        return image.current
    if given:
        return given
    ways = {
        "net_device": [("sk_buff", ("dev",), -1)],
        "sock": [("sk_buff", ("sk",), -1)],
        "nf_conn": [("sk_buff", ("_nfct",), ~7)],
        "net": [("net_device", ("nd_net", "net"), -1), ("sock", ("__sk_common", "skc_net", "net"), -1)],
    }
    for other, names, mask in ways.get(name, []):
        try:
            start = checked(root(other, image))
            found = pointer(image, member_address(image, other, start, *names)[0]) & mask
        except Unreadable:
            continue
        if found:
            return found
    return 0


def term(one: Term, image: Image) -> bool:
    path = one.path
    if path.root == "retval":
        if image.result is None:
            raise Unreadable("there is none")
        return compare(one, image.result, "", Int("long", 8, True), image)
    start = root(path.root, image)
    if not path.steps:
        return compare(one, start, "", Ptr(None), image)
    struct = "task_struct" if path.root == "current" else path.root
    bits, kind, mask = walk(path, 8 * checked(start), Ref(struct), image)
    if isinstance(kind, Int | Bits | Enum | Ptr) and not other_kinds(one, kind):
        value = number(image, bits, kind)
        return compare(one, value & mask if mask is not None else value, path.steps[-1].name, kind, image)
    return compare_bytes(one, bits // 8, kind, mask, image)


def other_kinds(one: Term, kind: Type) -> bool:
    """Whether a pointer is compared by what it points to."""
    values = one.values
    return isinstance(kind, Ptr) and bool(values) and isinstance(values[0], Text | Address)


def walk(path: Path, bits: int, kind: Type, image: Image) -> tuple[int, Type, int | None]:
    """Bit address and type of a path's last member, and its mask."""
    mask = None
    for last, step in enumerate(path.steps, 1 - len(path.steps)):
        assert isinstance(kind, Ref)
        at, kind = STRUCTS[kind.struct].members[step.name]
        bits += at
        for index in step.indexes:
            if isinstance(kind, Ptr):
                bits = 8 * pointer(image, bits // 8)
                kind = kind.to  # type: ignore[assignment]
            else:
                assert isinstance(kind, Arr)
                kind = kind.of
            bits += 8 * size_of(kind) * index
        mask = None
        if step.mask is not None:
            full = (1 << (kind.count if isinstance(kind, Bits) else 8 * size_of(kind))) - 1
            mask = full & (~step.mask.value if step.mask.inverted else step.mask.value)
        if last == 0:
            break
        if step.cast:
            bits = 8 * checked(pointer(image, bits // 8) & (mask or 0))
            kind = Ref(step.cast)
        while isinstance(kind, Ptr):
            target = pointer(image, bits // 8)
            bits = 8 * checked(target if mask is None else target & mask)
            mask, kind = None, kind.to  # type: ignore[assignment]
    return bits, kind, mask


def size_of(kind: Type) -> int:
    match kind:
        case Int(_, size):
            return size
        case Enum():
            return 4
        case Ptr():
            return 8
        case Arr(of, length):
            return length * size_of(of)
        case Ref(struct):
            return STRUCTS[struct].size
    raise AssertionError(kind)


def number(image: Image, bits: int, kind: Type) -> int:
    if isinstance(kind, Bits):
        start, shift = divmod(bits, 8)
        content = image.read(checked(start), (shift + kind.count + 7) // 8)
        value = int.from_bytes(content, "little") >> shift & (1 << kind.count) - 1
        return value - (1 << kind.count) if kind.of.signed and value >> kind.count - 1 else value
    content = image.read(checked(bits // 8), size_of(kind))
    big = isinstance(kind, Int) and kind.big_endian
    is_signed = isinstance(kind, Int | Enum) and kind.signed
    return int.from_bytes(content, "big" if big else "little", signed=is_signed)


def compare(one: Term, value: int, member: str, kind: Type, image: Image) -> bool:
    if not one.operator:
        return value != 0
    if one.operator in ORDER:
        return bool(ORDER[one.operator](value, plain(one.values[0], member, kind)))
    found = any(number_in(value, item, member, kind) for item in one.values)
    return found == (one.operator in ("==", "in"))


def number_in(value: int, item: Literal | Range, member: str, kind: Type) -> bool:
    if isinstance(item, Range):
        return plain(item.low, member, kind) <= value <= plain(item.high, member, kind)
    if isinstance(item, Address):
        network = ipaddress.ip_network((item.value, item.bits))
        return ipaddress.ip_address(value.to_bytes(4, "big")) in network
    return value == plain(item, member, kind)


def plain(literal: Literal | Range, member: str, kind: Type) -> int:
    match literal:
        case Number(value):
            return value
        case Address(packed):
            return int(ipaddress.ip_address(packed))
        case Name(name):
            if isinstance(kind, Enum):
                return dict(kind.values)[name]
            return {"true": 1, "false": 0}[name] if name in ("true", "false") else WORDS[member][name]
    raise AssertionError(literal)


def compare_bytes(one: Term, address: int, kind: Type, mask: int | None, image: Image) -> bool:
    first = one.values[0]
    if isinstance(kind, Ptr):
        address = pointer(image, address) & (-1 if mask is None else mask)
    if isinstance(first, Text):
        found = text(one, checked(address), kind, image)
        is_in = found in [item.value for item in one.values if isinstance(item, Text)]
    else:
        low = first.low if isinstance(first, Range) else first
        assert isinstance(low, Address)
        content = image.read(checked(address), len(low.value))
        is_in = any(address_in(content, item) for item in one.values)
    return is_in == (one.operator in ("==", "in"))


def text(one: Term, address: int, kind: Type, image: Image) -> bytes:
    """The string: as many of its bytes as tell it from those it is compared with have to be readable."""
    longest = max(len(item.value) for item in one.values if isinstance(item, Text))
    if isinstance(kind, Arr):
        content = image.read(address, min(kind.length, longest + 1))
        return content.split(b"\0")[0]
    found = b""
    while len(found) <= longest:
        byte = image.read(address + len(found), 1)
        if byte == b"\0":
            break
        found += byte
    return found


def address_in(content: bytes, item: Literal | Range) -> bool:
    if isinstance(item, Range):
        low, high = item.low, item.high
        assert isinstance(low, Address)
        assert isinstance(high, Address)
        return low.value <= content <= high.value
    assert isinstance(item, Address)
    if len(content) == 6:
        return content == item.value
    return ipaddress.ip_address(content) in ipaddress.ip_network((item.value, item.bits))
