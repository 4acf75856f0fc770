"""The processes that this one was started by, and what they were given."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
MOST = 16
"""How far up to look: terminal, shell, sudo and its like."""


def inherited(name: str, proc: Path = PROC) -> str | None:
    """Return a variable of the environment of this process, or of the nearest ancestor that has it.

    sudo hands few variables on. Ancestors that may not be read are passed over.
    """
    if (own := os.environ.get(name)) is not None:
        return own
    wanted = os.fsencode(f"{name}=")
    pid = os.getppid()
    for _ in range(MOST):
        if pid <= 1:
            break
        folder = proc / str(pid)
        try:
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(wanted):
                    return os.fsdecode(entry[len(wanted) :])
        except OSError:
            pass
        try:
            # The name before it, in brackets, may hold anything.
            pid = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return None
