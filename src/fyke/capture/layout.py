"""The record's layout, read from the BPF object's own BTF: the C structs are its only description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import ARRAY, STRUCT

_PACKET = "packet"
_ALIGNMENT = 8


@dataclass(frozen=True)
class RecordLayout:
    """Where everything is in a record of one collection.

    dtype: NumPy structured type of a whole record: the header's members, then one field per section.
    bits: section -> its bit in the header's `present`. offsets: section -> byte offset.
    """

    dtype: np.dtype[np.void]
    bits: dict[str, int]
    offsets: dict[str, int]

    @property
    def record_bytes(self) -> int:
        """Size of a record."""
        return int(self.dtype.itemsize)


def read_layout(btf: Btf, sections: tuple[str, ...], snaplen: int) -> RecordLayout:
    """Lay out a record with these sections; the packet comes last, its data `snaplen` bytes long."""
    bits = section_bits(btf)
    header = _members(btf, "record")
    offset = _size(btf, "record")
    names: list[str] = list(header)
    formats: list[Any] = [f for f, _ in header.values()]
    offsets = [o for _, o in header.values()]
    places: dict[str, int] = {}
    for name in sorted(sections, key=lambda section: bits[section]):
        struct = f"section_{name}"
        size = _size(btf, struct) + (snaplen if name == _PACKET else 0)
        members = _members(btf, struct)
        if name == _PACKET:
            members["data"] = (f"({snaplen},)u1", members["data"][1])
        places[name] = offset
        names.append(name)
        formats.append(_struct_dtype(members, size))
        offsets.append(offset)
        offset = _round_up(offset + size)
    dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": offset})
    return RecordLayout(dtype, {name: bits[name] for name in places}, places)


def section_bits(btf: Btf) -> dict[str, int]:
    """Return section -> number, from enum section_id."""
    enum = btf.find("enum", "section_id")
    assert enum is not None
    prefix = "SECTION_"
    return {
        name.removeprefix(prefix): value for name, value in btf.enumerators(enum) if name.startswith(prefix)
    }


def struct_dtype(btf: Btf, struct: str) -> np.dtype[np.void]:
    """Return the NumPy type of a C struct of the object."""
    return _struct_dtype(_members(btf, struct), _size(btf, struct))


def _struct_dtype(members: dict[str, tuple[str, int]], size: int) -> np.dtype[np.void]:
    formats = [f for f, _ in members.values()]
    offsets = [o for _, o in members.values()]
    return np.dtype({"names": list(members), "formats": formats, "offsets": offsets, "itemsize": size})


def _size(btf: Btf, struct: str) -> int:
    type_id = btf.find("struct", struct)
    assert type_id is not None, f"struct {struct} is not in the object's BTF"
    return btf.size(type_id)


def _members(btf: Btf, struct: str) -> dict[str, tuple[str, int]]:
    """Return member -> (NumPy format, offset); a nested struct is its bytes, and `outer.inner` too."""
    type_id = btf.find("struct", struct)
    assert type_id is not None, f"struct {struct} is not in the object's BTF"
    return dict(_flat(btf, type_id, "", 0))


def _flat(btf: Btf, type_id: int, prefix: str, start: int) -> Iterator[tuple[str, tuple[str, int]]]:
    for member in btf.members(type_id):
        resolved = btf.resolve(member.type_id)
        name, offset = prefix + member.name, start + member.offset
        if btf.kind(resolved) == STRUCT:
            yield name, (f"S{btf.size(resolved)}", offset)
            yield from _flat(btf, resolved, f"{name}.", offset)
        else:
            yield name, (_format(btf, member.type_id), offset)


def _format(btf: Btf, type_id: int) -> str:
    resolved = btf.resolve(type_id)
    if btf.kind(resolved) == ARRAY:
        count, element = btf.array_length(resolved), btf.resolve(btf.target(resolved))
        return f"S{count}" if btf.name(element) == "char" else f"({count},){_format(btf, element)}"
    return f"{'i' if btf.is_signed(resolved) else 'u'}{btf.size(resolved)}"


def _round_up(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
