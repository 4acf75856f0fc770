"""Connections as columns of ct and ct_parent: any that Retis can hold."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st

from fyke.collectors.ct.sections import CT, CT_PARENT
from fyke.events.column import Section

_u16, _u32, _u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
_u8 = st.integers(0, 255)
_V4 = st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
_V6 = st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
_TCP_STATES = ("SYN_SENT", "ESTABLISHED", "TIME_WAIT")
STATES = ("established", "related", "new", "reply", "related_reply", "untracked")
DIRECTIONS = ("Default", "Original", "Reply", "None")


@st.composite
def connections(draw: st.DrawFn) -> dict[str, Any]:
    """Return the columns that ct and ct_parent share; those that are null are left out."""
    version_6 = draw(st.booleans())
    protocol = draw(st.sampled_from((6, 17, 132, 58 if version_6 else 1)))
    values: dict[str, Any] = {
        "protocol": protocol,
        "zone_id": draw(_u16),
        "zone_dir": draw(st.sampled_from(DIRECTIONS)),
        "status": draw(_u32),
    }
    for way in ("orig", "reply"):
        values |= {f"{way}_{end}": draw(_V6 if version_6 else _V4) for end in ("src", "dst")}
        if protocol in (1, 58):
            values |= {
                f"{way}_icmp_type": draw(_u8),
                f"{way}_icmp_code": draw(_u8),
                f"{way}_icmp_id": draw(_u16),
            }
        else:
            values |= {f"{way}_sport": draw(_u16), f"{way}_dport": draw(_u16)}
        if protocol == 132:
            values[f"{way}_vtag"] = draw(_u32)
    if protocol in (6, 132) and draw(st.booleans()):
        values["proto_state"] = draw(st.sampled_from(_TCP_STATES))
    if draw(st.booleans()):
        values["mark"] = draw(_u32)
    if draw(st.booleans()):
        values |= {"labels_low": draw(_u64), "labels_high": draw(_u64)}
    return values


@st.composite
def tracked(draw: st.DrawFn) -> dict[str, Any]:
    """Return the sections ct and ct_parent of a row."""
    ct = {"state": draw(st.sampled_from(STATES)), **draw(connections())}
    parent = draw(st.none() | connections())
    return {"ct": _whole(CT, ct), "ct_parent": parent and _whole(CT_PARENT, parent)}


def _whole(section: Section, values: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(column.name for column in section.columns) | values
