"""The columns of the section ct, and of the section of a connection's parent, which has the same ones."""

from __future__ import annotations

from fyke.collectors.ct.labels import address, direction, protocol_state, state
from fyke.events.column import Column, Section

_NONE, _UNKNOWN = -1, 0xFFFF_FFFF  # in the C struct: there is no such thing


def _number(name: str, kind: str, doc: str, source: str, unit: str = "", none: int = _NONE) -> Column:
    return Column(name, kind, doc, unit, source, null_if=none)


def _tuple(way: str, at: str) -> tuple[Column, ...]:
    """Return the columns of one direction's tuple (struct nf_conntrack_tuple). way: orig or reply."""
    packets = {"orig": "packets in the original direction", "reply": "its replies, as conntrack expects them"}
    return (
        Column(f"{way}_src", "string", f"Source address of {packets[way]}", "", f"{at}{way}_src", address),
        Column(f"{way}_dst", "string", "Their destination address", "", f"{at}{way}_dst", address),
        _number(f"{way}_sport", "uint16", "Their source port; of GRE the key", f"{at}{way}.sport"),
        _number(f"{way}_dport", "uint16", "Their destination port; of GRE the key", f"{at}{way}.dport"),
        _number(f"{way}_icmp_type", "uint8", "Their type of ICMP", f"{at}{way}.icmp_type"),
        _number(f"{way}_icmp_code", "uint8", "Their code of ICMP", f"{at}{way}.icmp_code"),
        _number(f"{way}_icmp_id", "uint16", "Their id of ICMP", f"{at}{way}.icmp_id"),
        _number(f"{way}_vtag", "uint32", "Their verification tag of SCTP", f"{at}{way}_vtag"),
    )


def _connection(at: str = "") -> tuple[Column, ...]:
    """Return the columns of a connection (struct nf_conn). at: where its members are in the C struct."""
    return (
        _number("protocol", "uint8", "IP protocol by number", f"{at}protocol"),
        Column(
            "proto_state",
            "string",
            "State of TCP or SCTP as the kernel calls it (enum tcp_conntrack, sctp_conntrack)",
            "",
            f"{at}proto_state",
            protocol_state,
        ),
        *_tuple("orig", at),
        *_tuple("reply", at),
        _number("zone_id", "uint16", "Zone", f"{at}zone_id"),
        Column(
            "zone_dir",
            "string",
            "Direction in which the zone tells connections apart: Default (both), Original, Reply, None",
            "",
            f"{at}zone_dir",
            direction,
        ),
        _number("status", "uint32", "Bits of enum ip_conntrack_status", f"{at}status", none=_UNKNOWN),
        _number("mark", "uint32", "Mark, null where the kernel has none", f"{at}mark"),
        _number("labels_low", "uint64", "Labels, bits 0 to 63; null: none is set", f"{at}labels_low", none=0),
        _number("labels_high", "uint64", "Labels, bits 64 to 127", f"{at}labels_high", none=0),
        _number("timeout_ms", "uint32", "Time left until it is forgotten", f"{at}timeout_ms", "ms", _UNKNOWN),
    )


CT = Section(
    "ct",
    "The connection that conntrack takes the packet for, or that ct_event is about (struct nf_conn).",
    (
        Column(
            "state",
            "string",
            "What the packet is to it: new, established (original direction), reply, related, related_reply; "
            "untracked: conntrack was told to leave it alone, and nothing else is known; null: there is none",
            "",
            "state",
            state,
        ),
        *_connection(),
    ),
)
CT_PARENT = Section(
    "ct_parent",
    "The connection that this one was expected by, as FTP's data by its control connection.",
    _connection("ct."),
)
