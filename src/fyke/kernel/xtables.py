"""Tables of iptables-legacy, whose rules nftables knows nothing about."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fyke.kernel import netns

# Tables are there once they were used, with or without rules; in the namespace of the thread that reads.
_NAMES = {"": "ip_tables_names", "ip6 ": "ip6_tables_names", "arp ": "arp_tables_names"}
_FOLDER = Path("/proc/thread-self/net")


def legacy_tables(inode: int) -> list[str]:
    """Return the tables that are in use in a network namespace, such as `filter`, `ip6 nat`.

    Nothing where it can't be told: without privileges, or when the namespace is gone.
    """
    try:
        return _here() if inode == netns.own_inode() else netns.inside(inode, _here)
    except (OSError, LookupError):
        return []


def _here() -> list[str]:
    found: list[str] = []
    for family, name in _NAMES.items():
        with contextlib.suppress(OSError):
            found += [family + table for table in (_FOLDER / name).read_text().split()]
    return sorted(found)
