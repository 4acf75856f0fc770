"""Debian's kernels for the matrix: which version a suite has now, fetched by apt into a cache, ready to boot.

Nothing is installed: apt gets a configuration and lists of its own in the cache, takes the mirror from the
machine's own sources, and checks what it fetches against Debian's keyring.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FetchError", "Installed", "Kernel", "fetch", "matrix"]

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_FRESH_SECONDS = 12 * 3600
"""How long the answer of the mirror is good for."""


class FetchError(Exception):
    """A kernel can't be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A row of kernels.toml."""

    name: str
    suites: tuple[str, ...]
    minutes: int


@dataclass(frozen=True, slots=True)
class Installed:
    """A kernel in the cache: root holds boot/vmlinuz and lib/modules/RELEASE."""

    release: str
    root: Path

    @property
    def image(self) -> Path:
        """The file to boot."""
        return self.root / "boot" / "vmlinuz"


def matrix() -> list[Kernel]:
    """Return the rows of kernels.toml in their order."""
    with (Path(__file__).parent / "kernels.toml").open("rb") as file:
        rows = tomllib.load(file)["kernel"]
    return [Kernel(row["name"], tuple(row["suites"]), row["minutes"]) for row in rows]


def fetch(kernel: Kernel) -> Installed:
    """Return the kernel that the suites have now, from the cache if it is there. FetchError.

    A mirror that can't be reached is no error while the cache has an older answer.
    """
    home = _cache() / kernel.name
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be fetching the same kernel
        return _fetch(kernel, home)


def _fetch(kernel: Kernel, home: Path) -> Installed:
    cached = _cached(home)
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
    return Installed(release, home / release)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fyke" / "kernels"


def _cached(home: Path) -> Installed | None:
    try:
        release = (home / "current").read_text()
    except FileNotFoundError:
        return None
    return Installed(release, home / release) if (home / release).is_dir() else None


# ---- apt


class _Apt:
    """apt with one suite as its only source, and lists of its own."""

    def __init__(self, suite: str, home: Path) -> None:
        self._home = home / "apt"
        for folder in ("lists/partial", "archives/partial", "none"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        (self._home / "sources.list").write_text(
            f"deb [signed-by={_KEYRING} target=Packages] {_mirror(suite)} {suite} main\n"
        )
        self._options = [
            *("-o", f"Dir::Etc::SourceList={self._home / 'sources.list'}"),
            *("-o", f"Dir::Etc::SourceParts={self._home / 'none'}"),
            *("-o", f"Dir::Etc::PreferencesParts={self._home / 'none'}"),
            *("-o", "Dir::Etc::Preferences=/dev/null"),
            *("-o", f"Dir::State::Lists={self._home / 'lists'}"),
            *("-o", "Dir::State::Status=/dev/null"),
            *("-o", f"Dir::Cache={self._home}"),
            *("-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64"),
            *("-o", "APT::Sandbox::User=", "-o", "APT::Update::Error-Mode=any"),
        ]

    def update(self) -> None:
        self._run("apt-get", "update")

    def depends(self, package: str) -> list[str]:
        """Return what the newest version of a package depends on, by name. FetchError when there is none."""
        record = self._run("apt-cache", "show", "--no-all-versions", package)
        found = re.search(r"^Depends: (.*)$", record, re.MULTILINE)
        return re.findall(r"(?:^|, )([^ ,|]+)", found[1]) if found else []

    def download(self, packages: list[str], folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _run(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        command = [tool, *self._options, *arguments]
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise FetchError(f"{tool} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def _mirror(suite: str) -> str:
    """Return where this machine's apt sources have Debian's archive, or its security archive."""
    rows = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(RELEASE)|$(REPO_URI)", "Created-By: Packages"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    security = suite.endswith("-security")
    for row in rows:
        origin, release, uri = row.split("|", 2)
        if origin == "Debian" and release.endswith(("-security", "/updates")) == security:
            return uri
    kind = "security archive" if security else "archive"
    raise FetchError(
        f"apt's sources on this machine don't have Debian's {kind}, so there is no mirror to ask"
    )


def _ask(kernel: Kernel, home: Path) -> tuple[_Apt, str]:
    """Return the release (as uname -r says) that the first suite with a kernel offers."""
    why = []
    for suite in kernel.suites:
        try:
            apt = _Apt(suite, home)
            apt.update()
            for package in apt.depends("linux-image-amd64"):
                if package.startswith("linux-image-"):
                    return apt, package.removeprefix("linux-image-")
            why.append(f"{suite} has no kernel")
        except FetchError as error:
            why.append(str(error))
    raise FetchError("; ".join(why))


def _unpack(apt: _Apt, release: str, home: Path) -> None:
    # Up to 6.12 all is in linux-image-RELEASE. Later that depends on three packages instead: the image is
    # in linux-binary-*, the modules are in linux-modules-*, and linux-base-* lists what is built in.
    image = f"linux-image-{release}"
    parts = [p for p in apt.depends(image) if re.fullmatch(rf"linux-\w+-{re.escape(release)}", p)]
    print(f"  FETCH   Linux {release}", flush=True)
    half = home / "half"
    shutil.rmtree(half, ignore_errors=True)
    for deb in apt.download([image, *parts], half / "debs"):
        _call("dpkg", "-x", str(deb), str(half / "files"))
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
    _call("depmod", "-b", str(half), release)
    shutil.rmtree(home / release, ignore_errors=True)
    half.rename(home / release)


def _call(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchError(f"{' '.join(command)}: {done.stderr.strip()}")


def main() -> int:
    """Fetch the kernels named in the arguments, or all, and print where they are."""
    for kernel in matrix():
        if not sys.argv[1:] or kernel.name in sys.argv[1:]:
            installed = fetch(kernel)
            print(f"{kernel.name}\t{installed.release}\t{installed.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
