from __future__ import annotations

import pytest
from btf_writer import BtfWriter
from made_structs import MadeTypes

from fyke.errors import Unsupported, UsageError
from fyke.filters.fields import resolved as r
from fyke.filters.fields.grammar import parse
from fyke.filters.fields.kernel_types import KernelTypes
from fyke.filters.fields.reach import can_match, never_true
from fyke.filters.fields.resolve import resolve
from fyke.filters.fields.text import text
from fyke.kernel.btf import Btf

TYPES = MadeTypes()
SKB, DEV = "struct sk_buff *", "struct net_device *"


def found(expression: str) -> r.Resolved:
    return resolve(parse(expression), TYPES)


def one(expression: str) -> r.FieldTerm:
    (term,) = r.terms(found(expression).node)
    return term


def test_offsets_are_those_of_the_structures() -> None:
    term = one("sk_buff.dev.nd_net.net.inum == 7")
    assert term.follows == (r.Follow(8), r.Follow(40))
    assert term.reading == r.NumberAt(8, 4, 32)
    assert term.operator == "in"
    assert term.intervals == (r.Interval(7, 7),)
    assert term.type == "u32 (unsigned int)"
    assert one("sk_buff.tstamp").reading == r.NumberAt(0, 8, 64, signed=True)  # in an anonymous union
    assert one("net_device.queue[2].len").reading == r.NumberAt(56 + 2 * 16 + 8, 2, 16, signed=True)
    queue = one("net_device.queues[2].len")
    assert (queue.follows, queue.reading) == ((r.Follow(48),), r.NumberAt(40, 2, 16, signed=True))


def test_bit_fields_are_read_in_the_smallest_aligned_word() -> None:
    assert one("sk_buff.pkt_type").reading == r.NumberAt(36, 1, 3, 0)
    assert one("sk_buff.cloned").reading == r.NumberAt(36, 1, 1, 5)
    assert one("sk_buff.wide").reading == r.NumberAt(36, 4, 19, 13)
    assert one("sk_buff.level").reading == r.NumberAt(37, 1, 5, 0, signed=True)


def test_a_cast_takes_the_masked_address() -> None:
    term = one("sk_buff._nfct:~0x7:nf_conn.mark == 1")
    assert term.follows == (r.Follow(24, (1 << 64) - 8),)
    assert one("sk_buff.private:~0x0:nf_conn.mark").follows == (r.Follow(64),)


def test_a_mask_is_for_one_pointer() -> None:
    assert one("sock.sk_owner:~0x7.pid").follows == (r.Follow(80, (1 << 64) - 8), r.Follow(0))


def test_numbers_of_members_in_network_order_are_meant_in_it() -> None:
    assert one("sk_buff.protocol == 0x800").reading == r.NumberAt(40, 2, 16, swapped=True)
    assert one("sk_buff.protocol == ETH_P_IP").intervals == (r.Interval(0x800, 0x800),)
    daddr = one("sock.__sk_common.skc_daddr == 10.0.0.0/8")
    assert daddr.reading == r.NumberAt(0, 4, 32, swapped=True)
    assert daddr.intervals == (r.Interval(0x0A000000, 0x0AFFFFFF),)


def test_roots_come_with_what_they_fall_back_to() -> None:
    net = found("net.inum == 1")
    assert net.roots == ("net", "net_device", "sk_buff", "sock")
    assert net.root("net").type == "struct net *"
    assert [source.root for source in net.root("net").sources] == ["net_device", "sock"]
    assert found("nf_conn.mark").root("nf_conn").sources[0].follows == (r.Follow(24, (1 << 64) - 8),)
    assert found("queue.len").roots == ("queue",)
    assert found("current.pid == 1 and retval").roots == ()
    assert found("retval < 0").uses_result
    assert not found("sk_buff.mark").uses_result


def test_a_fallback_that_this_kernel_lacks_is_left_out() -> None:
    structs = dict(TYPES.structs)
    skb = structs["sk_buff"]
    without = {name: member for name, member in skb.members.items() if name not in ("_nfct", "sk")}
    structs["sk_buff"] = type(skb)(skb.size, without, skb.together)
    types = MadeTypes(structs)
    assert resolve(parse("nf_conn.mark"), types).root("nf_conn").sources == ()
    assert resolve(parse("sock.sk_mark"), types).roots == ("sock",)
    assert resolve(parse("net.inum"), types).root("net").sources[0].root == "net_device"


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("skb.mark", "neither the kernel nor a loaded module has a struct skb", "write sk_buff"),
        ("ne_device.name", "has a struct ne_device", "near: net, net_device"),
        ("sk_buff.marc", "sk_buff.marc: struct sk_buff has no member marc", "near: mark"),
        ("sk_buff.dev.nam", "struct net_device has no member nam", "near: name"),
        ('sk_buff.mark == "a"', "sk_buff.mark is u32 (unsigned int), not a string", ""),
        ("sk_buff.mark == eth0", "has no value eth0", 'a string has quotes: "eth0"'),
        ("sk_buff.mark == 10.0.0.1", "not an IPv4 address", ""),
        ("sk_buff.mark == -1", "-1 is not between 0 and 4294967295", ""),
        ("sk_buff.mark == 0x100000000", "4294967296 is not between 0 and 4294967295", ""),
        ("sk_buff.tstamp == 0x8000000000000000", "is s64 (long)", ""),
        ("sk_buff.pkt_type == 8", "a bit field of 3 bits: 8 is not between 0 and 7", ""),
        ("sk_buff.signed_level == 256", "a bit field of 9 bits: 256 is not between -256 and 255", ""),
        ("sk_buff.flag == 2", "sk_buff.flag is bool: 2 is not between 0 and 1", ""),
        ("sk_buff.state == DWN", "is enum state, it has no value DWN", "names: DOWN"),
        ("sk_buff.mark in {9-3}", "the range 9-3 is empty", ""),
        ("sk_buff.mark:0x100000000", "more bits than the field", ""),
        ("sk_buff.pkt_type:~0x7", "keeps nothing of a bit field of 3 bits", ""),
        ("net_device.ifindex:1", "a signed number can't be masked", ""),
        ("net_device.name:1", "only numbers and pointers can be masked", ""),
        ("sk_buff.mark:1:net.inum", "only a pointer or a 64-bit number can be cast", ""),
        ("sk_buff._nfct:~7:nf_con.mark", "has a struct nf_con", "near: nf_conn"),
        ("sk_buff._nfct:~7:nf_con", "has a struct nf_con", "near: nf_conn"),
        ("sk_buff._nfct:~7.mark", "masked, it has no members", "cast it"),
        ("sk_buff.mark.x", "is u32 (unsigned int), it has no members", ""),
        ("sk_buff.private.x", "is a pointer (void *), it has no members", ":~0x0:TYPE"),
        ("net_device.queue.len", "is an array (struct queue[3]), it has no members", "net_device.queue[0]"),
        ("net_device.queue[3].len", "has only 3 elements", ""),
        ("net_device.queues[200000000].len", "more than 2 GiB", "smaller index"),
        ("sk_buff.private[1]", "what it points to has no size", ""),
        ("sk_buff.mark[0]", "it has no elements", ""),
        (
            "net_device.name",
            "is a string (char[16]), which is not true or false",
            'net_device.name == "eth0"',
        ),
        ("net_device.nd_net", "is a structure (struct possible_net_t), which", "name one of its members"),
        ("net_device.nd_net == 1", "is a structure (struct possible_net_t), not a number", ""),
        ('net_device.name < "b"', "can't be compared with <", "use == or !="),
        ('net_device.name == "12345678901234567"', "has 17 bytes, more than fit in it", ""),
        ('net_device.alias in {"a", 5}', "can't have both", ""),
        ("sock.__sk_common.skc_v6_daddr in {::1-::2}", "have no ranges", "use a prefix"),
        ("sock.__sk_common.skc_daddr < 10.0.0.0/8", "a prefix can't be compared with <", ""),
        ("sock.__sk_common.skc_daddr == ::1", "not an IPv6 address", ""),
        ("retval.x", "retval is a number, it has no members", "retval < 0"),
        ("retval == 0x8000000000000000", "the return value (s64)", ""),
        ("retval == E", "has no value E", ""),
        ('sk_buff == "a"', "sk_buff is a pointer (struct sk_buff *), not a string", ""),
        (
            "net.inum or nf_conn.mark or queue.len or task_struct.pid",
            "begins at 7 structures, 6 are possible",
            "sk_buff.dev",
        ),
    ],
)
def test_what_does_not_fit_is_told(expression: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as failed:
        found(expression)
    assert message in failed.value.message
    assert hint in failed.value.hint


def test_a_struct_that_is_only_declared_is_found_where_it_is_defined() -> None:
    w = BtfWriter()
    number = w.int("int", 4, signed=True)
    hidden = w.add("fwd", "hidden")
    gone = w.add("fwd", "gone")
    w.struct("shown", 16, ("a", w.pointer(hidden), 0), ("b", w.pointer(gone), 64))
    base = Btf.parse(w.blob())
    m = BtfWriter(base.end_id, base.end_string)
    m.struct("hidden", 8, ("value", number, 32))
    module = Btf.parse(m.blob(), base)

    class Kernel:
        vmlinux = base
        modules = {"module": module}  # noqa: RUF012

    types = KernelTypes(Kernel())
    (term,) = r.terms(resolve(parse("shown.a.value < 3"), types).node)
    assert (term.follows, term.reading) == ((r.Follow(0),), r.NumberAt(4, 4, 32, signed=True))
    assert resolve(parse("hidden.value"), types).roots == ("hidden",)
    with pytest.raises(UsageError, match="struct gone is only declared") as failed:
        resolve(parse("shown.b.value"), types)
    assert failed.value.hint == "load the module that has it"
    with pytest.raises(UsageError) as failed:
        resolve(parse("hiden.value"), types)
    assert failed.value.hint == "near: hidden"


def test_corrupt_types_are_not_believed() -> None:
    w = BtfWriter()
    loop = w.next_id
    w.add("typedef", "loop", loop)
    w.struct("s", 8, ("a", loop, 0))
    btf = Btf.parse(w.blob())

    class Kernel:
        vmlinux = btf
        modules: dict[str, Btf] = {}  # noqa: RUF012

    with pytest.raises(Unsupported, match="refers to itself"):
        resolve(parse("s.a == 1"), KernelTypes(Kernel()))


@pytest.mark.parametrize(
    ("expression", "params", "possible"),
    [
        ("net_device.ifindex == 1", [DEV], True),
        ("net_device.ifindex == 1", [SKB], True),  # its dev
        ("net_device.ifindex == 1", ["int"], False),
        ("not net_device.ifindex == 1", ["int"], True),
        ("net.inum == 1", ["struct sock *"], True),
        ("queue.len and sk_buff.mark", [SKB], False),
        ("queue.len or sk_buff.mark", [SKB], True),
        ("queue", [SKB], False),
        ("queue == 0", [SKB], True),
        ("queue in {1-5}", [SKB], False),
        ("queue < 5", [SKB], True),
        ("not queue", [SKB], True),
        ("not queue == 0", [SKB], False),
        ("current.pid == 1", [], True),
        ("task_struct.pid == 1", [], True),
        ("retval == 0", [SKB], False),
    ],
)
def test_planning_knows_where_a_filter_can_be_true(
    expression: str, params: list[str], possible: bool
) -> None:
    assert can_match(found(expression), params) == possible


def test_planning_knows_the_terms_that_are_never_true() -> None:
    both = found("queue.len == 1 or sk_buff.mark == 2 or retval < 0")
    assert never_true(both, [SKB]) == ("queue.len == 1", "retval < 0")
    assert never_true(both, [SKB, "struct queue *"], has_result=True) == ()


def test_text_says_what_is_read() -> None:
    shown = text(
        found('net_device.name in {"a", "b"} and not (sk_buff.pkt_type == PACKET_OTHERHOST or retval < 0)')
    )
    assert shown == (
        "all of\n"
        '  net_device.name in {"a", "b"}: a string (char[16]); net_device +0, at most 16 bytes up to a NUL; '
        'in {"a", "b"}\n'
        "  not\n"
        "    any of\n"
        "      sk_buff.pkt_type == PACKET_OTHERHOST: a bit field of 3 bits; "
        "sk_buff +36, 1 byte, bits 0 to 2; == 3\n"
        "      retval < 0: the return value (s64); retval; < 0\n"
        "net_device: the argument of type struct net_device *, else sk_buff +8 ->\n"
        "sk_buff: the argument of type struct sk_buff *\n"
    )
    lines = text(found("sk_buff._nfct:~0x7:nf_conn.mark:0xff in {16-32}")).splitlines()
    assert lines[0].endswith(
        "u32 (unsigned int); sk_buff +24 & 0xfffffffffffffff8 -> +0, 4 bytes, & 0xff; "
        "in {16 (0x10)-32 (0x20)}"
    )
    assert (
        text(found("net_device.dev_addr == 00:11:22:33:44:55"))
        .splitlines()[0]
        .endswith("net_device +32 -> +0, 6 bytes in network order; == 00:11:22:33:44:55")
    )
    assert (
        text(found("sock.__sk_common.skc_v6_daddr != fe80::/10")).splitlines()[0].endswith("in {fe80::/10}")
    )
    assert text(found("task_struct.pid == 1")).endswith(
        "task_struct: the argument of type struct task_struct *, else the current task\n"
    )
