"""Which of Retis' JSON sections is which of ours: the one table that reading and writing share.

An event's `fyke` object holds, by our names, the columns that Retis' sections can't:
{section: {column: value}}. They go over what Retis' own sections say; bytes in it are base64.
"""

from __future__ import annotations

from dataclasses import dataclass

OWN = "fyke"
STARTUP = "startup"
# Retis' keys that are no section of ours, but known: the header, and the place in a sorted series.
HANDLED = frozenset({"common", "tracking", STARTUP, OWN})
COMMON_KEYS = frozenset({"timestamp", "smp_id", "task"})


@dataclass(frozen=True, slots=True)
class Mapped:
    """One section.

    path: where it is in Retis' event. section: our name for it. keys: (Retis' key, our column).
    optional: Retis' keys that may be missing; a section that misses another one makes Retis refuse the file.
    """

    path: tuple[str, ...]
    section: str
    keys: tuple[tuple[str, str], ...]
    optional: frozenset[str] = frozenset()


def _same(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name) for name in names)


# In the order in which Retis writes them.
MAPPED: tuple[Mapped, ...] = (
    # Retis has the two ids the other way round: its pid is the process, its tgid the thread.
    Mapped(("common", "task"), "task", (("pid", "tgid"), ("tgid", "pid"), ("comm", "comm"))),
    Mapped(
        ("kernel",),
        "kernel",
        (*_same("symbol", "probe_type"), ("stack_trace", "stack")),
        frozenset({"stack_trace"}),
    ),
    Mapped(("userspace",), "userspace", _same("probe_type", "symbol", "ip", "path", "pid", "tid")),
    Mapped(
        ("skb-tracking",),
        "skb_tracking",
        (("orig_head", "orig_head"), ("timestamp", "timestamp_ns"), ("skb", "skb")),
    ),
    Mapped(("skb-drop",), "skb_drop", _same("subsys", "drop_reason"), frozenset({"subsys"})),
    Mapped(("packet",), "packet", _same("len", "capture_len", "data")),
    Mapped(("skb", "vlan_accel"), "vlan_accel", _same("proto", "pcp", "dei", "vid")),
    Mapped(
        ("skb", "meta"),
        "skb_meta",
        _same("len", "data_len", "hash", "ip_summed", "csum", "csum_level", "priority"),
    ),
    Mapped(("skb", "data_ref"), "skb_dataref", _same("nohdr", "cloned", "fclone", "users", "dataref")),
    Mapped(("skb", "gso"), "skb_gso", _same("flags", "frags", "size", "segs", "type")),
    Mapped(("netns",), "netns", _same("cookie", "inum"), frozenset({"cookie"})),
    Mapped(("dev",), "dev", _same("name", "ifindex", "rx_ifindex"), frozenset({"rx_ifindex"})),
    Mapped(
        ("nft",),
        "nft",
        _same(
            *("table_name", "chain_name", "verdict", "verdict_chain_name"),
            *("table_handle", "chain_handle", "rule_handle", "policy"),
        ),
        frozenset({"verdict_chain_name", "rule_handle"}),
    ),
)

NAMES = frozenset({("task", "comm"), ("dev", "name")})  # kept escaped in our columns, as they are in Retis'
BYTES = frozenset({("packet", "data")})  # base64 in JSON
LISTS = frozenset({("kernel", "stack"), ("arguments", "values")})

# Mechanisms that Retis doesn't know, by the kind of probe they are for a reader of the file.
PROBE_TYPES = {
    "kprobe_multi": "kprobe",
    "fentry": "kprobe",
    "fexit": "kretprobe",
    "kretprobe_multi": "kretprobe",
}
