"""The little that is read of an ELF64 object (elf(5)): where its functions and sections are in the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
_FUNCTION = 2  # STT_FUNC
_SYMTAB = 2  # SHT_SYMTAB


@dataclass(frozen=True, slots=True)
class Place:
    """Offset in the file and size, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Section:
    name_at: int
    kind: int
    place: Place
    link: int


def section(image: bytes, name: str) -> Place:
    """Return where a section is. KeyError when the object has none of that name."""
    sections = _sections(image)
    (names_index,) = struct.unpack_from("<H", image, 0x3E)
    names = sections[names_index].place.offset
    for candidate in sections:
        if _string(image, names + candidate.name_at) == name:
            return candidate.place
    raise KeyError(name)


def resize_function(image: bytearray, name: str, size: int) -> None:
    """Have a function end before its end: what is behind it stays in the file, but is nobody's.

    size: in bytes, not more than it has. KeyError when the object has no such function.
    """
    for at, found, place in _functions(image):
        if found == name:
            assert size <= place.size
            struct.pack_into("<Q", image, at + _SYMBOL.size - 8, size)
            return
    raise KeyError(name)


def functions(image: bytes) -> Iterator[tuple[str, Place]]:
    """Yield the name and place of each function."""
    for _, name, place in _functions(image):
        yield name, place


def _functions(image: bytes | bytearray) -> Iterator[tuple[int, str, Place]]:
    """Yield where each function's symbol is in the file, its name and place."""
    sections = _sections(image)
    symtab = next(s for s in sections if s.kind == _SYMTAB)
    names = sections[symtab.link].place.offset
    for at in range(symtab.place.offset, symtab.place.offset + symtab.place.size, _SYMBOL.size):
        name_at, info, _other, index, value, size = _SYMBOL.unpack_from(image, at)
        if info & 15 == _FUNCTION:
            yield at, _string(image, names + name_at), Place(sections[index].place.offset + value, size)


def _sections(image: bytes | bytearray) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", image, 0x28)
    (count,) = struct.unpack_from("<H", image, 0x3C)
    found = []
    for n in range(count):
        name_at, kind, _flags, _addr, offset, size, link, *_ = _HEADER.unpack_from(
            image, table + n * _HEADER.size
        )
        found.append(_Section(name_at, kind, Place(offset, size), link))
    return found


def _string(image: bytes | bytearray, at: int) -> str:
    return image[at : image.index(b"\0", at)].decode()
