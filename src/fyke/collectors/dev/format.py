"""Text of the dev section: `if 2 (veth01) rxif 3`."""

from __future__ import annotations

from fyke.collectors.formatting import Part, Place, Style
from fyke.events.escape import printable


def dev_text(_style: Style, name: str | None, ifindex: int | None, rx_ifindex: int | None) -> str | None:
    """Return the device's index and name, and the index of the one it came in by."""
    if ifindex is None:
        return None
    text = f"if {ifindex}"
    if name:
        text += f" ({printable(name)})"
    return text if rx_ifindex is None else f"{text} rxif {rx_ifindex}"


PARTS = (Part(Place.DEV, ("dev.name", "dev.ifindex", "dev.rx_ifindex"), dev_text),)
