"""Where the debug information of a program is: in it, or in a file of its distribution's debug package."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from fyke.events.escape import printable
from fyke.kernel.binaries.elf_file import BadBinary, ElfFile

DEBUG = "/usr/lib/debug"
_INFO, _LINK = ".debug_info", ".gnu_debuglink"
_IN_PROCESS = re.compile(r"(/proc/\d+)/(?:exe|root/.*|map_files/.*)")


class NoDebugInfo(ValueError):
    """What is sought isn't there; the text says what, a clause."""


class NoDebugFile(NoDebugInfo):
    """... as the debug information isn't installed."""


def debug_file(elf: ElfFile, path: str, file: str) -> str:
    """Return the file with the debug information of a program. NoDebugFile says where it was looked for.

    path: of the program as its processes have it. file: where it can be opened. Their root is looked in, too.
    """
    if elf.section(_INFO):
        return file
    found = _IN_PROCESS.fullmatch(file)
    roots = ("", f"{found[1]}/root") if found else ("",)
    looked = []
    for place in dict.fromkeys(root + name for name in _names(elf, path) for root in roots):
        if _is_of(place, elf):
            return place
        looked.append(place)
    raise NoDebugFile(f"there is no debug information, neither in it nor in {_listed(looked)}")


def _names(elf: ElfFile, path: str) -> Iterator[str]:
    if build_id := elf.build_id:
        yield f"{DEBUG}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    section = elf.section(_LINK)
    name = elf.content(section).split(b"\0", 1)[0].decode(errors="replace") if section else ""
    if name and "/" not in name and name not in (".", ".."):
        folder = str(Path(path).parent)
        yield from (f"{folder}/{name}", f"{folder}/.debug/{name}", f"{DEBUG}{folder}/{name}")


def _is_of(place: str, elf: ElfFile) -> bool:
    """Say whether a file has the debug information of a program: of this build, not of another."""
    try:
        debug = ElfFile(place)
        if not debug.section(_INFO):
            return False
        if elf.build_id or debug.build_id:
            return debug.build_id == elf.build_id
        section = elf.section(_LINK)
        content = elf.content(section) if section else b""
        return len(content) >= 8 and struct.unpack("<I", content[-4:])[0] == zlib.crc32(
            Path(place).read_bytes()
        )
    except (OSError, BadBinary):
        return False


def _listed(places: list[str]) -> str:
    return ", ".join(map(printable, places)) or "another file, as it has no build id"
