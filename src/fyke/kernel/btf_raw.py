"""The BTF format itself: header, one walk over all types, names. What the types mean is in `fyke.kernel.btf`.

Format: Documentation/bpf/btf.rst, include/uapi/linux/btf.h. A split BTF (a module's) continues the type
ids and the string offsets of its base.
"""

from __future__ import annotations

import struct
import sys
from array import array
from itertools import compress
from typing import Self

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)

KINDS = {
    "int": INT, "ptr": PTR, "array": ARRAY, "struct": STRUCT, "union": UNION, "enum": ENUM, "fwd": FWD,
    "typedef": TYPEDEF, "volatile": VOLATILE, "const": CONST, "restrict": RESTRICT, "func": FUNC,
    "func_proto": FUNC_PROTO, "var": VAR, "datasec": DATASEC, "float": FLOAT, "decl_tag": DECL_TAG,
    "type_tag": TYPE_TAG, "enum64": ENUM64,
}  # fmt: skip
KIND_NAMES = {number: name for name, number in KINDS.items()}

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE_WORDS = 3
# Words that follow the three of struct btf_type: once, and per element (vlen).
_FIXED = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}


def vlen_of(info: int) -> int:
    """Return how many elements follow a type (16 bits of info, 24 in newer kernels, 0 where unused)."""
    return info & 0xFFFFFF


class RawBtf:
    """All types of one BTF by id. `words` holds the type section as 32-bit words.

    A type's own words start at `words[starts[id - first_id]]`: name_off, info, size or type.
    """

    def __init__(self, words: memoryview[int], strings: bytes, layout: bytes, base: Self | None) -> None:
        self.base: Self | None = base
        self.words = words
        self.strings = strings
        self.first_id: int = base.end_id if base else 1
        self.first_string: int = base.end_string if base else 0
        self.end_string: int = self.first_string + len(strings)
        self.starts = array("I")
        self.kinds = bytearray()
        self._ids: dict[int, list[int]] = {}
        self._names: dict[int, dict[str, list[int]]] = {}
        self._walk(layout)
        self.end_id: int = self.first_id + len(self.starts)

    @classmethod
    def parse(cls, data: bytes, base: Self | None = None) -> Self:
        """Parse raw BTF (a file of /sys/kernel/btf, an ELF .BTF section). ValueError when corrupt."""
        if sys.byteorder != "little":
            raise ValueError("BTF is read on little-endian machines only")
        if len(data) < _HEADER.size:
            raise ValueError("not BTF: too short")
        magic, version, _flags, hdr_len, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError(f"not BTF: magic {magic:#06x}")
        if version != 1:
            raise ValueError(f"BTF version {version} is not known")
        types = _section(data, hdr_len + type_off, type_len, "types")
        if type_len % 4 or hdr_len < _HEADER.size:
            raise ValueError("corrupt BTF: bad section length")
        strings = bytes(_section(data, hdr_len + str_off, str_len, "strings"))
        if strings[-1:] not in (b"\0", b"") or (base is None and strings[:1] != b"\0"):
            raise ValueError("corrupt BTF: strings are not NUL-terminated")
        # Newer kernels tell the sizes of all kinds in a section of struct btf_layout (u8 info_sz, u8 elem_sz,
        # u16 flags), so that a kind not known here can be skipped.
        layout = b""
        if hdr_len >= _HEADER.size + 8:
            layout_off, layout_len = struct.unpack_from("<II", data, _HEADER.size)
            layout = bytes(_section(data, hdr_len + layout_off, layout_len, "layout"))
        return cls(types.cast("I"), strings, layout, base)

    def _walk(self, layout: bytes) -> None:
        words, append, kinds = self.words, self.starts.append, self.kinds
        fixed = [_TYPE_WORDS + _FIXED.get(kind, 0) for kind in range(128)]
        each = [_EACH.get(kind, 0) for kind in range(128)]
        for kind in range(ENUM64 + 1, min(len(layout) // 4, 128)):
            fixed[kind] += layout[4 * kind] // 4
            each[kind] = layout[4 * kind + 1] // 4
        end, pos = len(words), 0
        try:
            while pos < end:
                info = words[pos + 1]
                kind = info >> 24 & 0x7F
                append(pos)
                kinds.append(kind)
                pos += fixed[kind] + each[kind] * (info & 0xFFFFFF)
        except IndexError:
            raise ValueError("corrupt BTF: types run over the end") from None
        if pos != end:
            raise ValueError("corrupt BTF: types run over the end")
        unknown = set(kinds) - KIND_NAMES.keys() - set(range(len(layout) // 4))
        if unknown or 0 in kinds:
            raise ValueError(f"BTF has a type of a kind that is not known here: {min(unknown)}")

    def forget(self) -> None:
        """Let go of what was looked up: names take more memory than the types, and are soon found again."""
        self._ids.clear()
        self._names.clear()

    def locate(self, type_id: int) -> tuple[memoryview[int], int]:
        """Return (words, position) of a type. ValueError for id 0 (void) and ids that don't exist."""
        owner: RawBtf = self
        while owner.base is not None and type_id < owner.first_id:
            owner = owner.base
        index = type_id - owner.first_id
        if not 0 <= index < len(owner.starts):
            raise ValueError(f"BTF has no type {type_id}")
        return owner.words, owner.starts[index]

    def kind(self, type_id: int) -> int:
        """Return a type's kind, 0 for void."""
        if type_id == 0:
            return 0
        words, pos = self.locate(type_id)
        return words[pos + 1] >> 24 & 0x7F

    def string(self, offset: int) -> str:
        """Return the string at an offset; bytes that are no UTF-8 are escaped."""
        owner: RawBtf = self
        while owner.base is not None and offset < owner.first_string:
            owner = owner.base
        start = offset - owner.first_string
        end = owner.strings.find(b"\0", start) if start < len(owner.strings) else -1
        if end < 0:
            raise ValueError(f"BTF has no string at {offset}")
        return owner.strings[start:end].decode(errors="backslashreplace")

    def name(self, type_id: int) -> str:
        """Return a type's name, empty when it has none."""
        if type_id == 0:
            return "void"
        words, pos = self.locate(type_id)
        return self.string(words[pos])

    def own_ids(self, kind: int) -> list[int]:
        """Return the ids of one kind, without those of the base."""
        ids = self._ids.get(kind)
        if ids is None:
            # By C code throughout: there are a hundred thousand types.
            chosen = bytes(self.kinds).translate(bytes(k == kind for k in range(256)))
            ids = self._ids[kind] = list(compress(range(self.first_id, self.end_id), chosen))
        return ids

    def own_named(self, kind: int) -> dict[str, list[int]]:
        """Return name -> ids of one kind, without those of the base; made on first use."""
        index = self._names.get(kind)
        if index is None:
            index = self._names[kind] = {}
            words, starts, first = self.words, self.starts, self.first_id
            strings, first_string = self.strings, self.first_string
            for type_id in self.own_ids(kind):
                offset = words[starts[type_id - first]] - first_string
                if offset < 0:  # a name that the base has too
                    name = self.string(offset + first_string)
                else:
                    name = strings[offset : strings.find(b"\0", offset)].decode(errors="backslashreplace")
                if name in index:
                    index[name].append(type_id)
                else:
                    index[name] = [type_id]
        return index


def _section(data: bytes, start: int, length: int, what: str) -> memoryview[int]:
    if start + length > len(data):
        raise ValueError(f"corrupt BTF: {what} run over the end")
    return memoryview(data)[start : start + length]
