"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["eventually"]


def eventually(holds: Callable[[], object], seconds: float = 60) -> None:
    """Return once it holds. AssertionError when it doesn't after so long; emulated machines are slow."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it doesn't hold within {seconds} s"
        time.sleep(0.01)
