"""Whether this process may collect at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fyke.errors import Unsupported
from fyke.kernel.view import LiveKernel


def needs_root() -> Unsupported:
    """Return what to say to a user who may not."""
    return Unsupported(
        "collecting needs root (or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)", "run it with sudo"
    )


@contextmanager
def rights_first(kernel: LiveKernel) -> Iterator[None]:
    """Say of what isn't supported that rights are missing, where they are: without, much can't be told."""
    try:
        yield
    except Unsupported as error:
        if os.geteuid() != 0 and not kernel.features.has("bpf"):
            raise needs_root() from error
        raise
