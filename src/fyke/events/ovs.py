"""Open vSwitch's words and numbers that its collector and Retis' files share."""

from __future__ import annotations

import re
from collections.abc import Sequence

UPCALL, ENQUEUE, RETURN = UPCALL_EVENTS = ("upcall", "upcall_enqueue", "upcall_return")
# Sections of the steps of a packet through user space: each has the number of its message, and `candidates`.
STEPS = ("ovs_upcall", "ovs_recv", "ovs_operation", "ovs_action")

# enum ovs_action_attr, include/uapi/linux/openvswitch.h; Retis' words, but it has none for the last.
ACTIONS = (
    *("unspec", "output", "userspace", "set", "push_vlan", "pop_vlan", "sample", "recirc", "hash"),
    *("push_mpls", "pop_mpls", "set_masked", "ct", "trunc", "push_eth", "pop_eth", "ct_clear", "push_nsh"),
    *("pop_nsh", "meter", "clone", "check_pkt_len", "add_mpls", "dec_ttl", "drop", "psample"),
)

# Flags of struct ovs_ct: Retis'.
CT_IPV4, CT_IPV6, CT_NAT, CT_SOURCE, CT_DESTINATION = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6
CT_ADDRESSES, CT_PORTS = 1 << 7, 1 << 8

_TEXT = re.compile("([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})([0-9a-f]{8})")


def ufid_text(parts: Sequence[int]) -> str:
    """Return an id as OVS writes it."""
    a, b, c, d = parts
    return f"{a:08x}-{b >> 16:04x}-{b & 0xFFFF:04x}-{c >> 16:04x}-{c & 0xFFFF:04x}{d:08x}"


def ufid_parts(text: str) -> list[int] | None:
    """Return the numbers of an id, None when it isn't one."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    a, b, c, d, e, f = match.groups()
    return [int(part, 16) for part in (a, b + c, d + e, f)]
