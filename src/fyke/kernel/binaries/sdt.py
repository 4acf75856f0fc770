"""USDT probes: the notes that the macros of <sys/sdt.h> leave in a program (section .note.stapsdt)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fyke.kernel.binaries.elf_file import BadBinary, ElfFile

SECTION = ".note.stapsdt"
_BASE_SECTION = ".stapsdt.base"
_OWNER, _TYPE = b"stapsdt\0", 3
_NOTE = struct.Struct("<III")
_ADDRESSES = struct.Struct("<QQQ")


@dataclass(frozen=True, slots=True)
class UsdtNote:
    """One place of a probe in the code; a probe that was inlined has several.

    address: of the instruction. semaphore: of a counter (uint16) that says whether somebody listens; 0: none.
    arguments: where they are, as the compiler wrote it: `-4@%edi 8@-16(%rbp)`.
    """

    provider: str
    name: str
    address: int
    semaphore: int
    arguments: str


def read_notes(elf: ElfFile) -> list[UsdtNote]:
    """Return the probes of a program, in the order of its code. Raises BadBinary."""
    base = elf.section(_BASE_SECTION)
    notes = []
    for section in elf.sections:
        if section.name != SECTION:
            continue
        for description in _descriptions(elf.content(section)):
            notes.append(_note(description, base.address if base else None))
    return notes


def _descriptions(content: bytes) -> Iterator[bytes]:
    at = 0
    while at + _NOTE.size <= len(content):
        name_bytes, bytes_, kind = _NOTE.unpack_from(content, at)
        name_at = at + _NOTE.size
        start = name_at + _padded(name_bytes)
        if start + bytes_ > len(content):
            raise BadBinary("it is damaged: a USDT probe is cut short")
        if kind == _TYPE and content[name_at : name_at + name_bytes] == _OWNER:
            yield content[start : start + bytes_]
        at = start + _padded(bytes_)


def _note(description: bytes, base: int | None) -> UsdtNote:
    parts = description[_ADDRESSES.size :].split(b"\0")
    if len(description) < _ADDRESSES.size or len(parts) < 4:
        raise BadBinary("it is damaged: a USDT probe is cut short")
    address, base_then, semaphore = _ADDRESSES.unpack_from(description)
    # Prelinking may have moved the program since the note was written; the section tells by how much.
    moved = base - base_then if base is not None and base_then else 0
    provider, name, arguments = (part.decode(errors="replace") for part in parts[:3])
    return UsdtNote(provider, name, address + moved, semaphore + moved if semaphore else 0, arguments)


def _padded(size: int) -> int:
    return -(-size // 4) * 4
