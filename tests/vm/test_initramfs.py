"""The archive is one that others can read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import initramfs
import pytest


def test_the_archive_has_what_was_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"odd")
    monkeypatch.setattr(initramfs, "_modules", lambda root, release: [b"one", b"two more"])
    archive = initramfs.make(tmp_path, "6.0", busybox)
    assert len(archive) % 4 == 0
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["busybox", "cpio", "-id"], cwd=tmp_path / "out", input=archive, capture_output=True, check=True
    )
    assert (tmp_path / "out/bin/busybox").read_bytes() == b"odd"
    assert [path.read_bytes() for path in sorted((tmp_path / "out/modules").iterdir())] == [
        b"one",
        b"two more",
    ]
    assert (tmp_path / "out/init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/upper").is_dir()
