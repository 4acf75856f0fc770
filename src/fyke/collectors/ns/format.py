"""Text of the netns section: `ns 0x1004/4026532294`."""

from __future__ import annotations

from fyke.collectors.formatting import Part, Place, Style


def netns_text(_style: Style, cookie: int | None, inum: int | None) -> str | None:
    """Return the namespace's cookie, where there is one, and inode."""
    if inum is None:
        return None
    return f"ns {inum}" if cookie is None else f"ns {cookie:#x}/{inum}"


PARTS = (Part(Place.NETNS, ("netns.cookie", "netns.inum"), netns_text),)
