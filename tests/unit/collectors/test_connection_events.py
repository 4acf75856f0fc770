"""Why connections are created and destroyed, from the functions on the way as each kernel has them."""

from __future__ import annotations

import struct

import pytest

from fyke.collectors.ct import events

SEEN_REPLY, EXPIRED = 1, 2


class Stack:
    """Functions at made-up addresses."""

    def __init__(self, *functions: str) -> None:
        self._functions = functions

    def symbol(self, address: int) -> str:
        return f"{self._functions[address - 1]}+0x1c"

    def raw(self, flags: int = 0) -> bytes:
        """Return struct ct_cause."""
        count = len(self._functions)
        return struct.pack("=8QQ", *range(1, count + 1), *[0] * (8 - count), flags)

    def enum(self, type_name: str) -> dict[int, str]:
        raise AssertionError(type_name)

    def stack(self, stack_id: int) -> list[str] | None:
        raise AssertionError(stack_id)


# As on Linux 5.10, 6.1, 6.12 and 7.3: with the function itself in front, or its caller, or neither.
OLD = ("nf_ct_delete_from_lists", "nf_ct_delete.part.0")
NEW = ("__nf_ct_delete_from_lists", "nf_ct_delete")
BARE = ("nf_ct_delete",)
FLUSH = ("nf_ct_iterate_cleanup", "nf_ct_iterate_cleanup_net", "ctnetlink_del_conntrack", "nfnetlink_rcv")
EXIT = ("nf_ct_iterate_cleanup", "nf_conntrack_cleanup_net_list", "ops_undo_list")
DOWN = ("nf_ct_iterate_cleanup", "nf_ct_iterate_cleanup_net", "iterate_cleanup_work", "process_one_work")
CASES = [
    (("nf_ct_gc_expired.part.0", "gc_worker", "process_one_work"), EXPIRED, "timeout"),
    (("nf_ct_gc_expired.part.0", "early_drop"), EXPIRED, "timeout"),
    (("gc_worker", "process_one_work"), EXPIRED, "timeout"),
    (("gc_worker", "process_one_work"), 0, "early_drop"),
    (("early_drop", "__nf_conntrack_alloc"), SEEN_REPLY, "early_drop"),
    (("early_drop", "__nf_conntrack_alloc"), EXPIRED, "timeout"),
    (("__nf_conntrack_find_get", "nf_conntrack_in"), EXPIRED, "timeout"),
    (("ctnetlink_dump_table", "netlink_dump"), EXPIRED, "timeout"),
    (("ctnetlink_del_conntrack", "nfnetlink_rcv_msg"), 0, "deleted"),
    (FLUSH, EXPIRED | SEEN_REPLY, "flushed"),
    (EXIT, 0, "netns_exit"),
    (DOWN, 0, "masquerade"),
    (("nf_conntrack_tcp_packet", "nf_conntrack_in"), 0, "reset"),
    (("nf_conntrack_tcp_packet", "nf_conntrack_in"), SEEN_REPLY, "replaced"),
    (("nf_nat_setup_info", "nf_nat_alloc_null_binding"), SEEN_REPLY, "replaced"),
    (("nf_nat_inet_fn", "nf_nat_ipv4_out"), 0, None),
    (("destroy_sibling_or_exp.constprop.0",), 0, None),
    ((), 0, None),
]


@pytest.mark.parametrize("own", [OLD, NEW, BARE, ()])
@pytest.mark.parametrize(("functions", "flags", "reason"), CASES)
def test_reasons(own: tuple[str, ...], functions: tuple[str, ...], flags: int, reason: str | None) -> None:
    stack = Stack(*own, *functions)
    assert events.reason(stack.raw(flags), stack) == reason
    assert events.by(stack.raw(flags), stack) == (functions[0].partition(".")[0] if functions else None)


@pytest.mark.parametrize("own", [("__nf_conntrack_hash_insert",), ()])
def test_of_a_creation(own: tuple[str, ...]) -> None:
    by_packet = Stack(*own, "__nf_conntrack_confirm")
    assert events.reason(by_packet.raw(), by_packet) is None
    by_user = Stack(*own, "nf_conntrack_hash_check_insert")
    assert events.reason(by_user.raw(), by_user) == "added"


def test_addresses_that_nobody_can_name() -> None:
    stack = Stack("0xffffffffc0001000", "early_drop")
    assert (events.reason(stack.raw(), stack), events.by(stack.raw(), stack)) == ("early_drop", "early_drop")


def test_events_by_number() -> None:
    assert [events.event(raw, Stack()) for raw in (0, 1, 7)] == ["created", "destroyed", "7"]
