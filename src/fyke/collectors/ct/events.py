"""The section ct_event: a connection was created or destroyed, and why.

The kernel doesn't say why, but which of its functions are on the way there does. A reason is given where they
leave no doubt; `by` names the innermost of them in any case.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fyke.events.column import Column, Names, Section


@dataclass(frozen=True, slots=True)
class ConnectionProbe:
    """A function that only runs where a connection enters the table or leaves it.

    symbols: its names, the first that the kernel has is taken. flag: of `enum probe_flags`, without prefix.
    what: is to be seen there, for the user.
    """

    symbols: tuple[str, ...]
    flag: str
    what: str


CREATED = ConnectionProbe(("__nf_conntrack_hash_insert",), "CREATED", "connections that are created")
DESTROYED = ConnectionProbe(
    # The second is its name before Linux kernel commit 2ed3bf188b33 ("netfilter: ecache: use dedicated list
    # for event redelivery") (in v5.19).
    ("__nf_ct_delete_from_lists", "nf_ct_delete_from_lists"),
    "DESTROYED",
    "connections that are destroyed",
)
# With filters: the packet that a connection begins with is judged a moment before.
CONNECTS = ConnectionProbe(
    ("__nf_conntrack_confirm",), "CONNECTS", "whether connections that are created pass the filters"
)

_EVENTS = ("created", "destroyed")  # enum ct_event
_SEEN_REPLY, _EXPIRED = 1, 2  # enum ct_cause_flags
_CAUSE = struct.Struct("=8QQ")  # struct ct_cause

# What runs whatever the cause is.
_OWN = frozenset({*CREATED.symbols, *DESTROYED.symbols, "nf_ct_delete"})
_FLUSH = "nf_ct_iterate_cleanup"

# Function on the way -> the reason that it stands for; the innermost counts.
_REASONS = {
    "nf_conntrack_hash_check_insert": "added",
    "nf_ct_gc_expired": "timeout",
    "early_drop": "early_drop",
    "gc_worker": "early_drop",
    "ctnetlink_dump_table": "timeout",
    "ct_seq_show": "timeout",
    "ctnetlink_del_conntrack": "deleted",
    "nf_conntrack_cleanup_net_list": "netns_exit",
    "nf_conntrack_tcp_packet": "replaced",
    "nf_conntrack_dccp_packet": "replaced",
    "nf_nat_setup_info": "replaced",
    "iterate_cleanup_work": "masquerade",
}
# What forgets connections whose time has run out in passing, among other things.
_PASSING = ("early_drop", "gc_worker", "__nf_conntrack_find_get", "nf_conntrack_tuple_taken")
_RESET = ("nf_conntrack_tcp_packet", "nf_conntrack_dccp_packet")


def event(raw: int, _names: Names) -> str:
    """Return what happened."""
    return _EVENTS[raw] if raw < len(_EVENTS) else str(raw)


def reason(raw: bytes, names: Names) -> str | None:
    """Return why, None where it isn't certain. raw: struct ct_cause."""
    functions, flags = _functions(raw, names)
    for function in functions:
        found = _REASONS.get(function)
        if function in _PASSING and flags & _EXPIRED:
            return "timeout"
        if function in _RESET and not flags & _SEEN_REPLY:
            return "reset"
        if found == "deleted" and _FLUSH in functions:
            return "flushed"
        if found:
            return found
    return None


def by(raw: bytes, names: Names) -> str | None:
    """Return the kernel's function that led to it, None where that can't be told. raw: struct ct_cause."""
    functions, _ = _functions(raw, names)
    return functions[0] if functions else None


def _functions(raw: bytes, names: Names) -> tuple[list[str], int]:
    """Return the functions on the way, innermost first, as the source calls them; and the flags."""
    *frames, flags = _CAUSE.unpack(raw)
    symbols = [names.symbol(frame).partition("+")[0] for frame in frames if frame]
    known = [symbol.partition(".")[0] for symbol in symbols if not symbol.startswith("0x")]
    return [name for name in known if name not in _OWN], flags


CT_EVENT = Section(
    "ct_event",
    "A connection, which ct tells, was created or destroyed; no packet is there. Only with --ct-events.",
    (
        Column("event", "string", "created: from now on it is in the table; destroyed", "", "event", event),
        Column(
            "reason",
            "string",
            "Why, null where that isn't certain. Of destroyed: timeout; early_drop (the table is full); "
            "deleted, or flushed with others (by a user over netlink: see task); netns_exit; reset (TCP or "
            "DCCP, refused before there was any reply); replaced (a new one has its ports); masquerade (the "
            "address that it was hidden behind is gone). Of created: added (by a user, or a BPF program); "
            "null: by a packet",
            "",
            "cause",
            reason,
        ),
        Column("by", "string", "The kernel's function that led to it, null where unknown", "", "cause", by),
    ),
)
