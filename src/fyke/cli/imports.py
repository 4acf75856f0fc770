"""Keeps pandas out of the commands: pyarrow imports it wherever it is installed, which takes half a second.

pyarrow looks for it at the first array that is made, to recognise its objects; the commands hand it none.
"""

from __future__ import annotations

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


def leave_pandas_out() -> None:
    """From now on there is no pandas."""
    sys.meta_path.insert(0, _FINDER)


def let_pandas_in() -> None:
    """Undo it: somebody else's code is to be run."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
