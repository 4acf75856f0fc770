"""Live tests: root only, and only where the kernel has what a test needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live.needs import missing

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if _HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="live tests need root"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            if why := missing(need):
                pytest.skip(f"needs {need}: {why}")
