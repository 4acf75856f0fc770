"""Where files of the user's are looked for by name."""

from __future__ import annotations

import os


def own_folder(kind: str) -> str:
    """Return the user's own folder of a kind of file, where new ones are written."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(os.environ.get("FYKE_CONFIG_DIR") or os.path.join(config, "fyke"), kind)


def folders(kind: str, shipped: str) -> tuple[str, ...]:
    """Return the folders of a kind of file in order: the user's, the machine's, ours, and Retis'."""
    return (
        own_folder(kind),
        f"/etc/fyke/{kind}",
        shipped,
        os.path.join(os.path.expanduser("~/.config"), "retis", kind),
        f"/usr/share/retis/{kind}",
        f"/etc/retis/{kind}",
    )
