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
    lost: what can't be seen where it can't be probed, for the user.
    records: whether it makes an event (with the tracking section alone).
    """

    symbol: str
    flags: tuple[str, ...]
    lost: str
    skb: int = 0
    other: int | None = None
    records: bool = False


# The free that no tracking by functions can do without.
FREE_HEAD = TrackingProbe("skb_free_head", ("FREE",), "when a packet's memory is freed")

FUNCTIONS: tuple[TrackingProbe, ...] = (
    FREE_HEAD,
    TrackingProbe(
        "kfree_skb_partial",
        ("FREE_IF_STOLEN",),
        "packets that became part of another (kfree_skb_partial)",
        other=1,
    ),
    TrackingProbe(
        "pskb_expand_head", ("EXPAND",), "packets whose data moves to other memory (pskb_expand_head)"
    ),
    TrackingProbe(
        "skb_gro_receive",
        ("MERGE",),
        "which packet others were merged into by GRO",
        skb=1,
        other=0,
        records=True,
    ),
    TrackingProbe(
        "skb_gro_receive_list",
        ("MERGE",),
        "which packet others were merged into by GRO (lists)",
        skb=1,
        other=0,
        records=True,
    ),
    # Linux kernel commit 9243adfc311a ("skbuff: queue NAPI_MERGED_FREE skbs into NAPI cache instead of
    # freeing") (in v5.13); kfree_skb_partial() before it.
    TrackingProbe("napi_skb_free_stolen_head", ("FREE",), ""),
    # The same memory for the next packet, without a free in between; often inlined.
    TrackingProbe("napi_reuse_skb", ("FREE",), "", skb=1),
)

TRACEPOINTS: tuple[TrackingProbe, ...] = (
    TrackingProbe(
        "skb:consume_skb", ("FREE_SHARED",), "packets that end without being dropped (skb:consume_skb)"
    ),
    TrackingProbe("skb:kfree_skb", ("FREE_SHARED",), "dropped packets (skb:kfree_skb)"),
)

# The function at whose return segments are told their parent.
GSO_FUNCTION = "__skb_gso_segment"
