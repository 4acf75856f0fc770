"""Text of the skb_tracking section: `#ID (skb ADDRESS)`, and `parent ID` of a segment or merged packet."""

from __future__ import annotations

from fyke.collectors.formatting import Part, Place, Style


def id_text(_style: Style, orig_head: int | None, timestamp_ns: int | None, skb: int | None) -> str | None:
    """Return the packet's id, one hexadecimal number of time and address, and the skb's address."""
    if orig_head is None or timestamp_ns is None:
        return None
    return f"#{timestamp_ns << 64 | orig_head:x} (skb {skb or 0:x})"


def parent_text(_style: Style, orig_head: int | None, timestamp_ns: int | None) -> str | None:
    """Return the id of the packet it was cut from or merged into."""
    if orig_head is None or timestamp_ns is None:
        return None
    return f"parent {timestamp_ns << 64 | orig_head:x}"


PARTS = (
    Part(Place.ID, ("skb_tracking.orig_head", "skb_tracking.timestamp_ns", "skb_tracking.skb"), id_text),
    Part(
        Place.FIRST_LINE, ("skb_tracking.parent_orig_head", "skb_tracking.parent_timestamp_ns"), parent_text
    ),
)
