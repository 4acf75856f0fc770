"""Text of the skb_drop section: `drop (reason NO_SOCKET)`."""

from __future__ import annotations

from fyke.collectors.formatting import Part, Place, Style
from fyke.events.escape import printable


def drop_text(style: Style, subsys: str | None, reason: str | None) -> str | None:
    """Return why the packet was dropped, with the subsystem unless it is the core."""
    if reason is None:
        return None
    owner = f"{printable(subsys)}/" if subsys else ""
    return style.paint(f"drop (reason {owner}{printable(reason)})", "drop")


PARTS = (Part(Place.FIRST_LINE, ("skb_drop.subsys", "skb_drop.drop_reason"), drop_text),)
