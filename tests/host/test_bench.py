"""The measurements work, and leave nothing behind. How fast anything is can't be told here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = (
    *(
        "kernel",
        "netfilter",
        "ovs",
        "throughput",
        "stages",
        "file",
        "text",
        "recordings",
        "start",
        "mechanisms",
    ),
    "filters",
)

pytestmark = pytest.mark.host_only


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=115, check=False)


def namespaces() -> set[str]:
    done = subprocess.run(["ip", "-j", "netns", "list"], capture_output=True, text=True, check=True)
    return {space["name"] for space in json.loads(done.stdout or "[]")}


def test_quick_measures_everything() -> None:
    before = namespaces()
    done = bench("--quick", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert tuple(dict.fromkeys(line["name"] for line in lines)) == NAMES
    zero = [
        line["what"]
        for line in lines
        if line["value"] <= 0 and not line["what"].startswith(("wait", "not measured"))
    ]
    assert not zero, "nothing of this costs nothing"
    assert all(line["unit"] for line in lines)
    left = namespaces() - before
    assert not [name for name in left if name.startswith("fyke-bench-")]


def test_an_unknown_name_is_refused() -> None:
    done = bench("nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr
