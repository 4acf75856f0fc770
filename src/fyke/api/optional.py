"""Packages that only some uses need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fyke.errors import Unsupported


class MissingPackage(Unsupported, ImportError):
    """An optional package isn't installed; caught as ImportError too."""


def optional(package: str, module: str = "") -> Any:
    """Import a module (the package itself without one) and return it. Raises MissingPackage."""
    try:
        return import_module(module or package)
    except ImportError as error:
        raise MissingPackage(
            f"the Python package {package} can't be imported: {error}", f"install it: pip install {package}"
        ) from error
