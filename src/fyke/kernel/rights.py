"""Whether this process may collect at all."""

from __future__ import annotations

import os

from fyke.errors import Unsupported
from fyke.kernel.features import Features


def needs_root() -> Unsupported:
    """Return what to say to a user who may not."""
    return Unsupported(
        "collecting needs root (or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)", "run it with sudo"
    )


def missing_rights(features: Features) -> Unsupported | None:
    """Return it; None where programs can be loaded, or can't for another reason than the user's rights."""
    return needs_root() if os.geteuid() != 0 and not features.has("bpf") else None
