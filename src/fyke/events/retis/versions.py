"""The versions of Retis' files, and what turns an older event into one of the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

WRITTEN = "1.7.0"  # the version whose format we write

_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[-+].*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Add:
    """Gives a section a value it didn't have yet."""

    path: str
    value: Any

    def apply(self, event: dict[str, Any]) -> None:
        """Change the event; nothing happens when the section isn't there or has the value."""
        parent, key = _parent(event, self.path)
        if parent is not None:
            parent.setdefault(key, self.value)


@dataclass(frozen=True, slots=True)
class Move:
    """Moves a value or a section."""

    source: str
    target: str

    def apply(self, event: dict[str, Any]) -> None:
        """Change the event; nothing happens when there is nothing to move, or no place for it."""
        old, key = _parent(event, self.source)
        new, name = _parent(event, self.target)
        if old is not None and new is not None and key in old:
            new[name] = old.pop(key)


Fix = Add | Move

_TO_1_6: tuple[Fix, ...] = (
    Add("ct/ct_status", 0),
    Move("skb/packet/packet", "skb/packet/raw"),
    Move("skb/ns/netns", "skb/ns/inum"),
    Move("skb/packet", "packet"),
    Move("skb/dev", "dev"),
    Move("skb/ns", "netns"),
    Move("packet/raw", "packet/data"),
)
_TO_1_7: tuple[Fix, ...] = (
    Add(
        "startup/machine",
        {"kernel_release": "unknown", "kernel_version": "unknown", "hardware_name": "unknown"},
    ),
    Add("startup/cmdline", "unknown"),
    Move("ct/tcp_state", "ct/proto_state"),
    Move("ct/parent/tcp_state", "ct/parent/proto_state"),
)


def fixes(version: str) -> tuple[Fix, ...]:
    """Return what to do to every event of a file that this Retis version wrote, in order.

    Raises ValueError for a version whose format isn't known.
    """
    match = _VERSION.fullmatch(version)
    number = tuple(map(int, match.groups())) if match else (0, 0, 0)
    if number < (1, 5, 0):
        raise ValueError(f"the Retis version '{version[:60]}' is not supported (1.5.0 and later are)")
    if number < (1, 6, 0):
        return _TO_1_6 + _TO_1_7
    return _TO_1_7 if number < (1, 7, 0) else ()


def _parent(event: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    """Return the object that holds the last name of a path (None when it isn't there), and that name."""
    *above, name = path.split("/")
    node: Any = event
    for key in above:
        node = node.get(key) if isinstance(node, dict) else None
    return (node if isinstance(node, dict) else None), name
