"""The filters of a collection: from the options to code in the BPF object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from fyke.capture import elf
from fyke.capture.kernel import Kernel
from fyke.capture.layout import struct_dtype
from fyke.errors import UsageError
from fyke.kernel.btf import Btf

if TYPE_CHECKING:
    from fyke.capture.planned import PlannedProbe
    from fyke.filters.asm import Insn
    from fyke.filters.fields.resolved import Resolved
    from fyke.filters.fields.tree import Expr
    from fyke.filters.pcap.compile import PacketFilter

Params: TypeAlias = "Callable[[PlannedProbe], Collection[str]]"

# How much of struct packet_view's head is fetched without a filter: nothing reads it.
_NO_HEAD = 24


@dataclass(frozen=True)
class FilterOptions:
    """What the user asked for: expressions, and the three everyday filters.

    pid: a process, or a thread. netns: a name, a path or an inode number. netif: a device's name.
    """

    packet: str | None = None
    inner: str | None = None
    fields: str | None = None
    pid: int | None = None
    netns: str | None = None
    netif: str | None = None


@dataclass(frozen=True)
class ParsedFilters:
    """Expressions whose language was found to be right."""

    packet: PacketFilter | None
    inner: PacketFilter | None
    fields: Expr | None
    options: FilterOptions


@dataclass(frozen=True)
class Filters:
    """The filters of a plan; a packet must pass all of them. None: there is no such filter.

    netns: inode of the namespace that was named; its filter is among the fields.
    """

    packet: PacketFilter | None = None
    inner: PacketFilter | None = None
    fields: Resolved | None = None
    netns: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.packet or self.inner or self.fields)

    @property
    def roots(self) -> tuple[str, ...]:
        """The structs that the field filter starts from, in the order in which its code expects them."""
        return self.fields.roots if self.fields else ()


@dataclass(frozen=True)
class FilterCode:
    """Compiled filters: slot -> instructions, and how many bytes of a packet each wants at hand."""

    slots: Mapping[str, list[Insn]] = field(default_factory=dict)
    packet_head_bytes: int = _NO_HEAD
    inner_head_bytes: int = _NO_HEAD


def parse_filters(options: FilterOptions) -> ParsedFilters:
    """Compile and parse what was asked for, which needs no kernel. Raises UsageError."""
    packet = inner = fields = None
    if options.packet is not None or options.inner is not None:
        from fyke.filters.pcap.compile import compile_packet_filter

        packet = None if options.packet is None else compile_packet_filter(options.packet)
        try:
            inner = None if options.inner is None else compile_packet_filter(options.inner)
        except UsageError as e:
            raise UsageError(f"--filter-inner: {e.message}", e.hint) from e
    if options.fields is not None:
        from fyke.filters.fields.grammar import parse

        fields = parse(options.fields)
    return ParsedFilters(packet, inner, fields, options)


def plan_filters(parsed: ParsedFilters, kernel: Kernel) -> Filters:
    """Find what filters look at in the kernel: fields, processes, namespaces, devices. Raises UsageError."""
    inode = _netns(parsed.options)
    parts = [] if parsed.fields is None else [parsed.fields]
    parts += _everyday(parsed.options, inode)
    if not parts:
        return Filters(parsed.packet, parsed.inner)
    from fyke.filters.fields.kernel_types import KernelTypes
    from fyke.filters.fields.resolve import resolve
    from fyke.filters.fields.tree import And

    together = parts[0] if len(parts) == 1 else And(tuple(parts))
    return Filters(parsed.packet, parsed.inner, resolve(together, KernelTypes(kernel)), inode)


def _netns(options: FilterOptions) -> int | None:
    if options.netns is None:
        return None
    from fyke.filters.fields.everyday import resolve_netns

    return resolve_netns(options.netns)


def _everyday(options: FilterOptions, inode: int | None) -> list[Expr]:
    """Return the everyday filters in the language of field filters. inode: of the namespace named."""
    if options.pid is None and options.netns is None and options.netif is None:
        return []
    from fyke.filters.fields import everyday
    from fyke.filters.fields.grammar import parse

    texts = []
    if options.pid is not None:
        texts.append(everyday.pid_expression(*everyday.resolve_pid(options.pid)))
    if options.netif is not None:
        index = everyday.resolve_netif(options.netif, inode)
        here = everyday.resolve_netns("/proc/self/ns/net") if inode is None else inode
        texts.append(everyday.netif_expression(index, here))
    elif inode is not None:
        texts.append(everyday.netns_expression(inode))
    return [parse(text) for text in texts]


def compile_filters(filters: Filters, image: bytes, *, variable_stack_reads: bool) -> FilterCode:
    """Compile filters to the code of their slots in the BPF object `image`.

    variable_stack_reads: the kernel's verifier allows loads from the stack at an offset in a register.
    Raises UsageError for a filter that has no room.
    """
    if not filters:
        return FilterCode()
    place = elf.section(image, ".BTF")
    btf = Btf.parse(image[place.offset : place.offset + place.size])
    slots: dict[str, list[Insn]] = {}
    heads = {"packet_filter": _NO_HEAD, "inner_filter": _NO_HEAD}
    for slot, packet_filter in (("packet_filter", filters.packet), ("inner_filter", filters.inner)):
        if packet_filter is not None:
            from fyke.filters.pcap.lower import PacketView, lower_filter

            offsets = _offsets(btf, "packet_view")
            view = PacketView(**offsets, head_bytes=_member_bytes(btf, "packet_view", "head"))
            code = lower_filter(packet_filter, view, variable_stack_reads=variable_stack_reads)
            slots[slot], heads[slot] = list(code.insns), code.head_bytes
    if filters.fields is not None:
        from fyke.filters.fields.lower import lower_fields
        from fyke.filters.fields.view import FieldView

        slots["field_filter"] = lower_fields(filters.fields, FieldView(**_offsets(btf, "field_view")))
    return FilterCode(slots, heads["packet_filter"], heads["inner_filter"])


def _offsets(btf: Btf, struct: str) -> dict[str, int]:
    fields = struct_dtype(btf, struct).fields
    assert fields is not None
    return {name: int(offset) for name, (_, offset, *_) in fields.items()}


def _member_bytes(btf: Btf, struct: str, member: str) -> int:
    return int(struct_dtype(btf, struct)[member].itemsize)


def check_filters(filters: Filters, probes: Sequence[PlannedProbe], params: Params) -> list[str]:
    """Return notes: at which of the probes that record something a filter can't let anything pass.

    params: the types of a probe's arguments. Raises UsageError when it can't anywhere.
    """
    asked = [p for p in probes if p.sections and not p.internal and not p.connection and not p.user]
    notes = []
    if filters.packet or filters.inner:
        without = [p.symbol for p in asked if not ({"skb", "xdp"} & p.arguments.keys() or p.finds_skb)]
        notes += _useless(without, len(asked), "packet filter", "there is no packet")
        if filters.packet and filters.packet.raw is None:
            notes.append(
                "the packet filter looks at link-layer headers; packets without one don't pass it, and "
                f"are counted ({filters.packet.why_no_raw})"
            )
    if filters.fields:
        from fyke.filters.fields.reach import can_match

        fields = filters.fields
        useless = [
            p.symbol for p in asked if not can_match(fields, params(p), has_result="result" in p.arguments)
        ]
        wanted = " or ".join(f"struct {root} *" for root in fields.roots)
        reason = f"no argument leads to a {wanted}"
        if fields.uses_result:
            reason = "only exit probes have a return value"
        notes += _useless(useless, len(asked), "field filter", reason)
    return notes


def _useless(symbols: list[str], of: int, what: str, reason: str) -> list[str]:
    if symbols and len(symbols) == of:
        raise UsageError(
            f"nothing can pass the {what} at {_names(symbols)}: {reason}", "choose other probes with -p"
        )
    return [f"nothing passes the {what} at {_names(symbols)}: {reason}"] if symbols else []


def _names(symbols: list[str]) -> str:
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")
