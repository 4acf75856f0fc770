"""skb-tracking: an id that stays with a packet through clones, rewrites, namespaces and new memory.

The id is the time of first sight and the address of the packet's data (`skb->head`) at that moment.
A segment made by GSO, and a packet merged by GRO, carries the id of the packet it belongs to as `parent`;
a merged packet makes its last event at `skb_gro_receive`.
"""

from fyke.collectors.api import SKB, Collector
from fyke.events.column import Column, Section

SECTION = Section(
    "skb_tracking",
    "Which packet this is.",
    (
        Column("orig_head", "uint64", "skb->head at first sight, half of the id", source="orig_head"),
        Column("timestamp_ns", "uint64", "Time of first sight, the other half", "ns", source="timestamp_ns"),
        Column(
            "skb",
            "uint64",
            "Address of the struct sk_buff: tells clones apart; 0 where it has none yet (XDP)",
            source="skb",
        ),
        Column(
            "parent_orig_head",
            "uint64",
            "Half of the id of the packet this one was cut from (GSO) or merged into (GRO); null for others",
            source="parent_orig_head",
            null_if=0,
        ),
        Column(
            "parent_timestamp_ns", "uint64", "The other half", "ns", source="parent_timestamp_ns", null_if=0
        ),
    ),
)

COLLECTOR = Collector("skb-tracking", (SECTION,), takes=(SKB,))
