"""What README promises: its commands run as they stand there, and so does the demo."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from live.pages import FYKE, PAGES, ROOT, commands, run_as_shown

pytestmark = pytest.mark.host_only


@pytest.mark.parametrize("block", commands(PAGES))
def test_commands_of_the_docs(block: str, tmp_path: Path) -> None:
    run_as_shown(block, tmp_path)


def test_readme_has_commands() -> None:
    assert len(commands(PAGES)) >= 4


def demo(user: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "tools/demo.sh")],
        env={**os.environ, "FYKE": str(FYKE), "HOME": "/nonexistent"},
        user=user,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_demo_shows_journeys_and_a_drop() -> None:
    before = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    done = demo(0)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert "drop (reason NO_SOCKET) 10.0.1.2." in last
    assert "> 10.0.2.2.4242" in last
    devices = re.findall(r"if \d+ \((to-\w+)\)", done.stdout)
    assert set(devices) == {"to-router", "to-client", "to-server"}
    assert set(os.listdir("/run/netns")) == before, "no namespace is left"


def test_the_demo_replays_a_recording_where_it_may_not_collect() -> None:
    done = demo(65534)
    assert done.returncode == 0, done.stderr
    assert "recording" in done.stdout
    assert "drop (reason NO_SOCKET)" in done.stdout
