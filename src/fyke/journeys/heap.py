"""Memory that was freed, given back: the C library keeps it while DuckDB, which has its own, is growing."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")
_EVERY = 32  # batches; what is given back must be cleared by the kernel when it is wanted again


def given_back(batches: Iterable[_T]) -> Iterator[_T]:
    """Yield the batches, and give back now and then what was freed meanwhile (malloc_trim(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None  # glibc has it
    for number, batch in enumerate(batches, 1):
        yield batch
        if trim is not None and not number % _EVERY:
            del batch
            trim(0)
