"""Which files running processes have mapped as code, by the last part of their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAPPED = re.compile(r"([0-9a-f]+-[0-9a-f]+) ..x. \S+ \S+ (\d+) +(/.*)")
_DELETED = " (deleted)"
_LOOKS = 10


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file that a process runs code of.

    path: as the process has it. file: where we can open it, also from another mount namespace.
    pid: one that has it mapped.
    """

    path: str
    file: str
    pid: int


def mapped_files(name: str, proc: Path = Path("/proc")) -> list[MappedFile]:
    """Return the different files by this name (without folders) that processes run code of.

    What can't be looked into (another user's, one that has just ended) is left out.
    """
    found: dict[tuple[int, int], MappedFile] = {}
    numbers = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    for process in (proc / str(number) for number in numbers):
        for mapped in files_of(process, name):
            try:
                there = os.stat(mapped.file)
            except OSError:
                continue
            found.setdefault((there.st_dev, there.st_ino), mapped)
    return list(found.values())


class Appearing:
    """Notices processes by a name (that of their first thread) as they come, for little."""

    def __init__(self, name: str, proc: Path = Path("/proc")) -> None:
        self._name = name
        self._proc = proc
        self._looks: dict[str, int] = {}

    def look(self) -> list[int]:
        """Return the processes that weren't there at the last look.

        One that has just been made has its parent's name until it runs a program of its own: so each is
        looked at a few times.
        """
        here = [name for name in os.listdir(self._proc) if name.isdigit()]
        looks = {pid: self._looks.get(pid, 0) for pid in here}
        found = []
        for pid, count in looks.items():
            if count >= _LOOKS:
                continue
            try:
                is_it = (self._proc / pid / "comm").read_bytes().rstrip(b"\n") == self._name.encode()
            except OSError:
                is_it = False
            looks[pid] = _LOOKS if is_it else count + 1
            if is_it:
                found.append(int(pid))
        self._looks = looks
        return found


def files_of(process: Path, name: str, *, prefix: bool = False) -> Iterator[MappedFile]:
    """Yield the files by a name that one process (a folder of /proc) runs code of.

    prefix: by names that begin so.
    """
    try:
        # Bytes: a name may be anything.
        lines = (process / "maps").read_bytes().decode(errors="surrogateescape").splitlines()
    except OSError:
        return
    seen = set()
    for line in lines:
        if name not in line or not (found := _MAPPED.fullmatch(line)):
            continue
        addresses, inode, path = found.groups()
        deleted = path.endswith(_DELETED)
        path = path.removesuffix(_DELETED)
        last = path.rpartition("/")[2]
        if not (last.startswith(name) if prefix else last == name) or (inode, path) in seen:
            continue
        seen.add((inode, path))
        file = process / "map_files" / addresses if deleted else process / "root" / path.lstrip("/")
        yield MappedFile(path, str(file), int(process.name))
