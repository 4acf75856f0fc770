"""For every tier: nothing of the user's own settings reaches a test."""

from __future__ import annotations

import os

_SETTINGS = (
    "FYKE_CONFIG_DIR",
    "NOPAGER",
    "NO_COLOR",
    "OVS_RUNDIR",
    "PAGER",
    "LESS",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
)


def pytest_configure() -> None:
    for name in _SETTINGS:
        os.environ.pop(name, None)
    os.environ["XDG_CONFIG_HOME"] = os.devnull  # where nothing can be
