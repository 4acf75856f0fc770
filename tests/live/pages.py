"""The commands that README and docs show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FYKE = Path(sys.executable).with_name("fyke")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(pages: list[Path], kind: str = "sh") -> list[str]:
    """Return the shell blocks of pages, in order. kind: what stands behind the three backticks."""
    return [
        block
        for page in pages
        for block in re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.M | re.S)
    ]


def run_as_shown(block: str, folder: Path) -> str:
    """Run a block in a folder of its own, where relative names stay; return what it printed."""
    done = subprocess.run(
        ["sh", "-e", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": f"{FYKE.parent}:{os.environ['PATH']}", "NOPAGER": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr
    assert done.stdout.strip()
    return done.stdout
