"""What a guest of another architecture runs: Debian's packages and Python's, unpacked into the cache.

No script of a package is run, as it would have to be emulated: links to the right folders are all it takes.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from debian import Apt, FetchError, cache, call, unpack

__all__ = ["SITE", "userland"]

_SUITE = "trixie"
_PYTHON = "3.13"  # of that suite
_PACKAGES = (
    *(
        "bpftool",
        "busybox-static",
        "conntrack",
        "coreutils",
        "dash",
        "ethtool",
        "grep",
        "hostname",
        "iproute2",
    ),
    *(
        "iputils-ping",
        "kmod",
        "libbpf1",
        "libpcap0.8t64",
        "libstdc++6",
        "mount",
        "nftables",
        "procps",
        "python3",
        "sed",
    ),
    *("tcpdump", "util-linux"),
)
_WHEELS = (
    *("numpy", "pyarrow", "duckdb", "PyYAML", "pyroute2", "pytest", "pytest-timeout"),
    *("iniconfig", "packaging", "pluggy", "pygments"),
)
"""What the live tests import. libpcap's binding (cypcap) has no wheel for arm64."""
SITE = "/opt/site"
"""Where Python's packages are, in there."""


def userland(architecture: str) -> Path:
    """Return the folder, made when it isn't there or another list made it. FetchError."""
    home = cache() / "userland" / architecture
    home.mkdir(parents=True, exist_ok=True)
    made_from = home / "made-from"
    inputs = repr((_SUITE, _PYTHON, _PACKAGES, _WHEELS))
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_from.exists() or made_from.read_text() != inputs:
            print(f"  FETCH   Debian {_SUITE} for {architecture}", flush=True)
            _make(home, architecture)
            made_from.write_text(inputs)
    return home / "root"


def _make(home: Path, architecture: str) -> None:
    root = home / "root"
    for old in (root, home / "apt" / "archives"):
        shutil.rmtree(old, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    apt = Apt(_SUITE, home, architecture)
    apt.update()
    for deb in apt.download_all(list(_PACKAGES)):
        unpack(deb, root)
    _make_accounts(root)
    machine = {"arm64": "aarch64"}[architecture]
    wheels = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (34, 31, 28, 27, 24, 17)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += [
        "--only-binary=:all:",
        *wheels,
        f"--platform=manylinux2014_{machine}",
        f"--python-version={_PYTHON}",
    ]
    call(*pip, "--implementation=cp", f"--target={root}{SITE}", *_WHEELS)
    shutil.rmtree(home / "apt" / "archives")


def _make_accounts(root: Path) -> None:
    """What the script of base-passwd would write."""
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)


if __name__ == "__main__":
    try:
        print(userland("arm64"))
    except (FetchError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
