"""The sections of the skb collector (struct sk_buff and struct skb_shared_info, include/linux/skbuff.h)."""

from fyke.events.column import Column, Section

PACKET = Section(
    "packet",
    "The packet's first bytes, from the link-layer header on (a made-up Ethernet header with zero addresses "
    "when the packet has none yet).",
    (
        Column("len", "uint32", "Length of the packet from that header on", "bytes", source="len"),
        Column("capture_len", "uint32", "How many of them were kept", "bytes", source="capture_len"),
        Column("data", "binary", "The bytes", source="data"),
        Column(
            "link_layer",
            "bool",
            "Whether the link-layer header is the packet's own, not a made-up one; null in Retis' files",
            source="link_layer",
        ),
    ),
)

VLAN_ACCEL = Section(
    "vlan_accel",
    "The VLAN tag that the kernel keeps beside the packet's bytes.",
    (
        Column("proto", "uint16", "Ethertype of the tag (0x8100, 0x88a8)", source="proto"),
        Column("pcp", "uint8", "Priority code point", source="pcp"),
        Column("dei", "bool", "Drop eligible indicator", source="dei"),
        Column("vid", "uint16", "VLAN id", source="vid"),
    ),
)

META = Section(
    "skb_meta",
    "Fields of struct sk_buff.",
    (
        Column("len", "uint32", "skb->len", "bytes", source="len"),
        Column(
            "data_len", "uint32", "skb->data_len: bytes outside the linear area", "bytes", source="data_len"
        ),
        Column("hash", "uint32", "skb->hash", source="hash"),
        Column(
            "ip_summed", "uint8", "CHECKSUM_NONE 0, UNNECESSARY 1, COMPLETE 2, PARTIAL 3", source="ip_summed"
        ),
        Column(
            "csum",
            "uint32",
            "skb->csum (start in the low, offset in the high half when PARTIAL)",
            source="csum",
        ),
        Column("csum_level", "uint8", "skb->csum_level", source="csum_level"),
        Column("priority", "uint32", "skb->priority", source="priority"),
    ),
)

DATAREF = Section(
    "skb_dataref",
    "Who shares the skb and its data.",
    (
        Column("nohdr", "bool", "skb->nohdr: only the payload may be referenced", source="nohdr"),
        Column("cloned", "bool", "skb->cloned: the data may be shared", source="cloned"),
        Column("fclone", "uint8", "skb->fclone", source="fclone"),
        Column("users", "uint8", "skb->users", source="users"),
        Column(
            "dataref", "uint8", "References to the data (skb_shared_info.dataref, low half)", source="dataref"
        ),
    ),
)

GSO = Section(
    "skb_gso",
    "Segmentation state (struct skb_shared_info); there when the packet has fragments or a segment size.",
    (
        Column("flags", "uint8", "skb_shared_info.flags (tx_flags before 5.12)", source="flags"),
        Column("frags", "uint8", "skb_shared_info.nr_frags", source="frags"),
        Column("size", "uint32", "skb_shared_info.gso_size", "bytes", source="size"),
        Column("segs", "uint32", "skb_shared_info.gso_segs", source="segs"),
        Column("type", "uint32", "skb_shared_info.gso_type (SKB_GSO_*)", source="type"),
    ),
)
