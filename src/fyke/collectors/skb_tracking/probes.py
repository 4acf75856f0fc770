"""Where tracking itself must look: the frees, the moves and the merges of packets' data.

With these functions probed every end of a packet is seen. Where functions can't be probed, the two
tracepoints stand in, and a packet's headers decide whether the memory holds a new one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackingProbe:
    """A probe that feeds tracking.

    flags: names of `enum probe_flags` in core/probe.bpf.h, without the prefix.
    skb, other: index of the arguments that hold the packet and what the flag needs besides.
    lost: what can't be seen where it can't be probed, for the user; empty when nothing is.
    """

    symbol: str
    flags: tuple[str, ...]
    lost: str = ""
    skb: int | None = 0
    other: int | None = None


@dataclass(frozen=True, slots=True)
class TrackingExit:
    """A function whose return feeds tracking, by a program of its own (fexit, bpf/probes/exits.bpf.h).

    exit: its enumerator in `enum exit_id`, and the name of its program behind `exit_`.
    records: whether it makes an event (with the tracking section alone).
    """

    symbol: str
    exit: str
    lost: str
    skb: int | None = 0
    other: int | None = None
    records: bool = False


# The free that tells all. Some compilers put it into its callers.
FREE_HEAD = TrackingProbe("skb_free_head", ("FREE",))
# ... which is then the next best thing: not every reference that it drops is the last one.
RELEASE_DATA = TrackingProbe("skb_release_data", ("RELEASE",))

FUNCTIONS: tuple[TrackingProbe, ...] = (
    TrackingProbe(
        "kfree_skb_partial",
        ("FREE_IF_STOLEN",),
        "packets that became part of another (kfree_skb_partial)",
        other=1,
    ),
    TrackingProbe(
        "pskb_expand_head", ("EXPAND",), "packets whose data moves to other memory (pskb_expand_head)"
    ),
    # GRO took the data and frees the skb.
    TrackingProbe("napi_skb_free_stolen_head", ("FREE",)),
    # The same memory for the next packet, without a free in between; often inlined.
    TrackingProbe("napi_reuse_skb", ("FREE",), skb=1),
)

TRACEPOINTS: tuple[TrackingProbe, ...] = (
    TrackingProbe("skb:consume_skb", ("FREE_SHARED",)),
    TrackingProbe("skb:kfree_skb", ("FREE_SHARED",)),
)

EXITS: tuple[TrackingExit, ...] = (
    TrackingExit("__skb_gso_segment", "gso", "which packet GSO segments were cut from"),
    TrackingExit(
        "skb_gro_receive", "gro", "which packet others were merged into by GRO", skb=1, other=0, records=True
    ),
    TrackingExit(
        "skb_gro_receive_list",
        "gro_list",
        "which list of packets others were put into by GRO",
        skb=1,
        other=0,
        records=True,
    ),
    TrackingExit("pskb_expand_head", "expand", ""),
)

# A packet is copied to memory that suits XDP: seen at the entry and the return, where XDP is looked at.
COPY = TrackingProbe("skb_pp_cow_data", ("COPY",), skb=None, other=1)
COPY_EXIT = TrackingExit("skb_pp_cow_data", "copy", "", skb=None, other=1)
