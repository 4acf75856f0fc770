"""The C library's heap: what is freed is kept for the next batch, or given back, to DuckDB or the machine."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")
_EVERY = 32  # batches; what is given back must be cleared by the kernel when it is wanted again
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_BATCH_BYTES, _KEPT_BYTES = 32 << 20, 64 << 20


def keep_freed() -> None:
    """Keep the memory of a batch for the next one (mallopt(3)): the kernel clears what it hands out."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _BATCH_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back() -> None:
    """Give back what is free (malloc_trim(3))."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def given_back(batches: Iterable[_T]) -> Iterator[_T]:
    """Yield the batches, and give back now and then what was freed meanwhile."""
    for number, batch in enumerate(batches, 1):
        yield batch
        if not number % _EVERY:
            del batch
            give_back()


def _function(name: str) -> Callable[..., int] | None:
    """Return a function of the C library; None where it hasn't got it. glibc has both."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
