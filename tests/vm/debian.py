"""Debian's packages of any suite and architecture, fetched by apt into a cache; nothing is installed.

apt gets a configuration and lists of its own, takes the mirror from the machine's own sources, and checks
what it fetches against Debian's keyring.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

__all__ = ["Apt", "FetchError", "cache", "call", "unpack"]

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class FetchError(Exception):
    """Something can't be had; the text says why."""


class Apt:
    """apt with one suite as its only source, lists of its own, and nothing installed.

    source: it is of source packages.
    """

    def __init__(self, suite: str, home: Path, architecture: str, *, source: bool = False) -> None:
        self._home = home / "apt"
        for folder in ("lists/partial", "archives/partial", "none"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        kind, target = ("deb-src", "Sources") if source else ("deb", "Packages")
        (self._home / "sources.list").write_text(
            f"{kind} [signed-by={_KEYRING} target={target}] {_mirror(suite)} {suite} main\n"
        )
        self._options = [
            *("-o", f"Dir::Etc::SourceList={self._home / 'sources.list'}"),
            *("-o", f"Dir::Etc::SourceParts={self._home / 'none'}"),
            *("-o", f"Dir::Etc::PreferencesParts={self._home / 'none'}"),
            *("-o", "Dir::Etc::Preferences=/dev/null"),
            *("-o", f"Dir::State::Lists={self._home / 'lists'}"),
            *("-o", "Dir::State::Status=/dev/null"),
            *("-o", f"Dir::Cache={self._home}"),
            *("-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}"),
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
        """Fetch these packages alone into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def download_all(self, packages: list[str]) -> list[Path]:
        """Fetch these packages and all they depend on."""
        self._run("apt-get", "install", "--download-only", "--yes", "--no-install-recommends", *packages)
        return sorted((self._home / "archives").glob("*.deb"))

    def download_source(self, package: str, folder: Path) -> list[Path]:
        """Fetch the newest version of a source package: its archives and their description."""
        folder.mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "source", "--download-only", package, cwd=folder)
        return sorted(folder.iterdir())

    def _run(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        command = [tool, *self._options, *arguments]
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise FetchError(f"{tool} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def cache() -> Path:
    """Return the folder for what was fetched and built."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fyke"


def unpack(deb: Path, folder: Path) -> None:
    """Put the files of a package into a folder. What is there stays, so that `bin` may be a link."""
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    tar = ["tar", "-C", str(folder), "-x", "--skip-old-files", "--keep-directory-symlink", "--no-same-owner"]
    subprocess.run(tar, input=files, check=True)


def call(*command: str, cwd: Path | None = None) -> None:
    """Run a command. FetchError with what it said when it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FetchError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")


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
