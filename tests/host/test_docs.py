"""What README promises: its commands run as they stand there, and so does the demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host_only

ROOT = Path(__file__).resolve().parents[2]
FYKE = Path(sys.executable).with_name("fyke")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[str]:
    """Return the shell blocks of all pages, in order."""
    return [
        block for page in PAGES for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)
    ]


@pytest.mark.parametrize("block", commands())
def test_commands_of_the_docs(block: str, tmp_path: Path) -> None:
    # In the user's home or a folder of their own: relative names stay there.
    done = subprocess.run(
        ["sh", "-e", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{FYKE.parent}:{os.environ['PATH']}", "NOPAGER": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr
    assert done.stdout.strip()


def test_readme_has_commands() -> None:
    assert len(commands()) >= 4


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
