"""Debian's kernels for the matrix: which version a suite has now, fetched into a cache, ready to boot."""

from __future__ import annotations

import fcntl
import re
import shutil
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from debian import Apt, FetchError, cache, call

__all__ = ["FetchError", "Installed", "Kernel", "fetch", "matrix"]

_FRESH_SECONDS = 12 * 3600
"""How long the answer of the mirror is good for."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A row of kernels.toml."""

    name: str
    suites: tuple[str, ...]
    minutes: int
    architecture: str
    tests: tuple[str, ...]
    in_turn: bool


@dataclass(frozen=True, slots=True)
class Installed:
    """A kernel in the cache: root holds boot/vmlinuz and lib/modules/RELEASE."""

    release: str
    root: Path
    architecture: str

    @property
    def image(self) -> Path:
        """The file to boot."""
        return self.root / "boot" / "vmlinuz"


def matrix(architecture: str = "amd64") -> list[Kernel]:
    """Return the rows of kernels.toml of an architecture, in their order."""
    with (Path(__file__).parent / "kernels.toml").open("rb") as file:
        rows = tomllib.load(file)["kernel"]
    kernels = [
        Kernel(
            row["name"],
            tuple(row["suites"]),
            row["minutes"],
            row.get("architecture", "amd64"),
            tuple(row.get("tests", ["tests/host"])),
            row.get("in_turn", False),
        )
        for row in rows
    ]
    return [kernel for kernel in kernels if kernel.architecture == architecture]


def fetch(kernel: Kernel) -> Installed:
    """Return the kernel that the suites have now, from the cache if it is there. FetchError.

    A mirror that can't be reached is no error while the cache has an older answer.
    """
    home = cache() / "kernels" / kernel.name
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be fetching the same kernel
        return _fetch(kernel, home)


def _fetch(kernel: Kernel, home: Path) -> Installed:
    cached = _cached(kernel, home)
    if cached and time.time() - (home / "current").stat().st_mtime < _FRESH_SECONDS:
        return cached
    try:
        apt, release = _ask(kernel, home)
        if not cached or cached.release != release:
            _unpack(apt, release, home)
    except FetchError as error:
        if not cached:
            raise
        print(f"  NOTE    {kernel.name}: kept {cached.release} of the cache: {error}", flush=True)
        return cached
    (home / "current").write_text(release)
    for old in home.glob("*/boot"):
        if old.parent.name != release:
            shutil.rmtree(old.parent)
    return Installed(release, home / release, kernel.architecture)


def _cached(kernel: Kernel, home: Path) -> Installed | None:
    try:
        release = (home / "current").read_text()
    except FileNotFoundError:
        return None
    there = (home / release).is_dir()
    return Installed(release, home / release, kernel.architecture) if there else None


def _ask(kernel: Kernel, home: Path) -> tuple[Apt, str]:
    """Return the release (as uname -r says) that the first suite with a kernel offers."""
    why = []
    for suite in kernel.suites:
        try:
            apt = Apt(suite, home, kernel.architecture)
            apt.update()
            for package in apt.depends(f"linux-image-{kernel.architecture}"):
                if package.startswith("linux-image-"):
                    return apt, package.removeprefix("linux-image-")
            why.append(f"{suite} has no kernel")
        except FetchError as error:
            why.append(str(error))
    raise FetchError("; ".join(why))


def _unpack(apt: Apt, release: str, home: Path) -> None:
    # Up to 6.12 all is in linux-image-RELEASE. Later that depends on three packages instead: the image is
    # in linux-binary-*, the modules are in linux-modules-*, and linux-base-* lists what is built in.
    image = f"linux-image-{release}"
    parts = [p for p in apt.depends(image) if re.fullmatch(rf"linux-\w+-{re.escape(release)}", p)]
    print(f"  FETCH   Linux {release}", flush=True)
    half = home / "half"
    shutil.rmtree(half, ignore_errors=True)
    for deb in apt.download([image, *parts], half / "debs"):
        call("dpkg", "-x", str(deb), str(half / "files"))
    shutil.rmtree(half / "debs")
    modules = next((half / "files").glob(f"**/lib/modules/{release}"))
    image_file = next(path for path in (half / "files").rglob("vmlinuz*") if path.is_file())
    (half / "boot").mkdir()
    image_file.rename(half / "boot" / "vmlinuz")
    for config in (*(half / "files").glob("boot/config-*"), modules / "config"):
        if config.exists():
            config.rename(half / "boot" / f"config-{release}")
    (half / "lib" / "modules").mkdir(parents=True)
    modules.rename(half / "lib" / "modules" / release)
    shutil.rmtree(half / "files")
    call("depmod", "-b", str(half), release)
    shutil.rmtree(home / release, ignore_errors=True)
    half.rename(home / release)


def main() -> int:
    """Fetch the kernels named in the arguments, or all, and print where they are."""
    for kernel in matrix():
        if not sys.argv[1:] or kernel.name in sys.argv[1:]:
            installed = fetch(kernel)
            print(f"{kernel.name}\t{installed.release}\t{installed.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
