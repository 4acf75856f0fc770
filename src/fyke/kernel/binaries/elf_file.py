"""A program or library (elf(5), 64 bit): its functions, notes, and what of the file is where in memory."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

_PROGRAM = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_LOAD, _SYMTAB, _NOBITS, _DYNSYM = 1, 2, 8, 11
_MOST_BYTES = 1 << 30
_OBJECT, _FUNCTION, _IFUNC = 1, 2, 10  # STT_*
_MACHINES = {62: "x86_64", 183: "aarch64"}  # EM_*


class BadBinary(ValueError):
    """A file isn't what can be probed; the text says why, a clause about `it`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file that is mapped: addresses are as the file has them, before it is loaded anywhere."""

    offset: int
    address: int
    file_bytes: int
    executable: bool


@dataclass(frozen=True, slots=True)
class ElfSection:
    """A section."""

    name: str
    kind: int
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function or variable. `chosen`: a function that only returns the one to use (STT_GNU_IFUNC)."""

    name: str
    address: int
    chosen: bool = False


class ElfFile:
    """A file that was read; its parts are found when they are asked for. Raises OSError, BadBinary."""

    def __init__(self, path: str) -> None:
        # Not mapped: whoever cuts the file short meanwhile would end us.
        self._data = _read(path)
        if len(self._data) < 64 or self._data[:4] != b"\x7fELF":
            raise BadBinary("it is no ELF file")
        if self._data[4:6] != b"\x02\x01":
            raise BadBinary("it isn't a program for a 64-bit little-endian machine")
        (kind, machine) = struct.unpack_from("<HH", self._data, 16)
        if kind not in (2, 3):  # ET_EXEC, ET_DYN
            raise BadBinary("it is neither a program nor a library")
        self.machine = _MACHINES.get(machine, f"machine {machine}")

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """What is mapped (PT_LOAD)."""
        return tuple(
            Segment(offset, address, size, bool(flags & 1))
            for kind, flags, offset, address, _, size, _, _ in self._table(32, 54, _PROGRAM)
            if kind == _LOAD
        )

    @cached_property
    def sections(self) -> tuple[ElfSection, ...]:
        """Its sections; none where even their table was stripped."""
        rows = list(self._table(40, 58, _SECTION))
        (names_index,) = struct.unpack_from("<H", self._data, 62)
        if names_index >= len(rows):
            return ()
        names = self._part(*rows[names_index][4:6])
        return tuple(
            ElfSection(_string(names, name), kind, address, offset, size, link)
            for name, kind, _, address, offset, size, link, *_ in rows
        )

    def _table(self, offset_at: int, size_at: int, entry: struct.Struct) -> Iterator[tuple[int, ...]]:
        (start,) = struct.unpack_from("<Q", self._data, offset_at)
        size, count = struct.unpack_from("<HH", self._data, size_at)
        if not start or not count:
            return
        if size != entry.size:
            raise BadBinary("it is damaged: a table has entries of another size")
        yield from entry.iter_unpack(self._part(start, size * count))

    def _part(self, at: int, size: int) -> bytes:
        if at + size > len(self._data):
            raise BadBinary("it is damaged: a part of it is missing")
        return self._data[at : at + size]

    def section(self, name: str) -> ElfSection | None:
        """Return a section by name, None when there is none."""
        return next((s for s in self.sections if s.name == name), None)

    def content(self, section: ElfSection) -> bytes:
        """Return a section's bytes."""
        return b"" if section.kind == _NOBITS else self._part(section.offset, section.size)

    def offset_of(self, address: int, *, executable: bool) -> int | None:
        """Return where in the file an address is, None when no segment (of code, or of data) has it."""
        for segment in self.segments:
            into = address - segment.address
            if segment.executable == executable and 0 <= into < segment.file_bytes:
                return segment.offset + into
        return None

    @property
    def is_stripped(self) -> bool:
        """Whether there are only the names that others may link to."""
        return not any(s.kind == _SYMTAB for s in self.sections)

    @property
    def build_id(self) -> str:
        """What tells this build from others, and names the file of its debug information; empty: nothing."""
        section = self.section(".note.gnu.build-id")
        content = self.content(section) if section else b""
        if content[8:16] != b"\x03\0\0\0GNU\0":
            return ""
        (size,) = struct.unpack_from("<I", content, 4)
        return content[16 : 16 + size].hex()

    @cached_property
    def functions(self) -> dict[str, tuple[Symbol, ...]]:
        """The functions that it has, by name: several are static ones of different sources, or versions."""
        return self._symbols((_FUNCTION, _IFUNC))

    @cached_property
    def variables(self) -> dict[str, tuple[Symbol, ...]]:
        """Its variables."""
        return self._symbols((_OBJECT,))

    @cached_property
    def imported(self) -> frozenset[str]:
        """The functions and variables that it takes from libraries."""
        return frozenset(
            _string(names, int(row["name"]))
            for rows, names in self._symbol_tables()
            for row in rows[rows["section"] == 0]
        )

    def _symbols(self, kinds: tuple[int, ...]) -> dict[str, tuple[Symbol, ...]]:
        found: dict[str, dict[int, Symbol]] = {}
        for rows, names in self._symbol_tables():
            kind = rows["info"] & 15
            for row in rows[np.isin(kind, kinds) & (rows["section"] != 0)]:
                name = _string(names, int(row["name"])).partition("@")[0]
                address, chosen = int(row["value"]), int(row["info"]) & 15 == _IFUNC
                found.setdefault(name, {}).setdefault(address, Symbol(name, address, chosen))
        return {name: tuple(symbols.values()) for name, symbols in found.items()}

    def _symbol_tables(self) -> Iterator[tuple[npt.NDArray[np.void], bytes]]:
        for section in self.sections:
            if section.kind not in (_SYMTAB, _DYNSYM) or section.link >= len(self.sections):
                continue
            content = self.content(section)
            count = len(content) // _SYMBOL.itemsize
            yield np.frombuffer(content, _SYMBOL, count), self.content(self.sections[section.link])


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        there = os.fstat(fd)
        if not stat.S_ISREG(there.st_mode) or there.st_size > _MOST_BYTES:
            raise BadBinary("it is no file that can be run")
        with open(fd, "rb", buffering=0, closefd=False) as file:
            return file.read(_MOST_BYTES)
    finally:
        os.close(fd)


def _string(table: bytes, at: int) -> str:
    end = table.find(b"\0", at)
    if end < 0:
        raise BadBinary("it is damaged: a name isn't in it")
    return table[at:end].decode(errors="replace")
