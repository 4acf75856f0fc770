"""Keeps what the commands don't need from being loaded with NumPy and pyarrow, and chooses Arrow's allocator.

pyarrow imports pandas wherever it is installed, which takes half a second: it looks for it at the first array
that is made, to recognise its objects; the commands hand it none. NumPy's OpenBLAS starts a thread for each
CPU, and each is busy for a tenth of a second waiting for work; nobody here multiplies matrices. Arrow's
memory comes from the C library, as NumPy's does: what Arrow's own allocator gives back to the kernel is soon
cleared again, and sorting took a quarter more memory and a tenth more time, collecting 20 MB more. Only the
environment says so to all of Arrow: pyarrow's set_memory_pool leaves out what its kernels compute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class _WithoutPandas:
    """A finder of modules before all others, for which pandas isn't installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out", name=name)
        return None


_FINDER = _WithoutPandas()
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
_set: list[str] = []  # names in the environment that are our doing


def keep_light() -> None:
    """From now on there is no pandas, and what the user hasn't chosen otherwise is as it is said above."""
    sys.meta_path.insert(0, _FINDER)
    for name, value in _ENVIRONMENT.items():
        if name not in os.environ:
            os.environ[name] = value
            _set.append(name)


def let_all_in() -> None:
    """Undo it, before NumPy is imported: somebody else's code is to be run."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    while _set:
        os.environ.pop(_set.pop(), None)


def users_environment() -> dict[str, str]:
    """Return the environment without our doing, for the user's own commands."""
    return {name: value for name, value in os.environ.items() if name not in _set}
