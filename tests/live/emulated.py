"""What an emulated kernel is spared, where a BPF program takes seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

__all__ = ["few"]


def few(cases: Sequence[Any], count: int) -> list[Any]:
    """Return the cases of a parametrized test: the first few everywhere, the others on the host only."""
    return [*cases[:count], *(pytest.param(case, marks=pytest.mark.host_only) for case in cases[count:])]
