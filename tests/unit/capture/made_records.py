"""The record's C structs as BTF, from the built object or straight from the headers; and records in them."""

from __future__ import annotations

import platform
import re
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from btf_writer import BtfWriter

import fyke
from fyke.capture.layout import RecordLayout
from fyke.kernel.btf import Btf

SOURCES = Path(fyke.__file__).parent
OBJECT = SOURCES / "bpf" / "objects" / f"fyke.{platform.machine()}.bpf.o"
_STRUCT = re.compile(
    r"^struct (record|counters|probe|user_argument|ct_\w+|nft_rule_place|ovs_ufid|ovs_action|section_\w+) "
    r"\{\n(.*?)^\}",
    re.MULTILINE | re.DOTALL,
)
_MEMBER = re.compile(r"^\t(__[us]\d+|char|struct \w+) (\w+)(\[\w*\])?;", re.MULTILINE)
_NUMBER = re.compile(r"^#define (\w+) (\d+)\b", re.MULTILINE)
_ENUM = re.compile(r"^enum (section_id|probe_flags|exit_id) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
_ENUMERATOR = re.compile(r"^\t(\w+)(?:\s*=\s*1 << (\d+))?,", re.MULTILINE)


@cache
def object_btf() -> Btf | None:
    """Return the built object's BTF; None where none is built."""
    return Btf.parse(_elf_section(OBJECT.read_bytes(), b".BTF")) if OBJECT.exists() else None


def _elf_section(image: bytes, wanted: bytes) -> bytes:
    # Elf64_Ehdr: e_shoff at 40, e_shentsize, e_shnum, e_shstrndx at 58; Elf64_Shdr (elf(5)).
    (at,) = struct.unpack_from("<Q", image, 40)
    size, count, names = struct.unpack_from("<3H", image, 58)
    headers = [struct.unpack_from("<IIQQQQ", image, at + size * n) for n in range(count)]
    for name, _, _, _, offset, length in headers:
        start = headers[names][4] + name
        if image[start : image.index(b"\0", start)] == wanted:
            return image[offset : offset + length]
    raise AssertionError(f"no section {wanted!r}")


@cache
def headers_btf() -> Btf:
    """Return BTF of the structs as a compiler would lay them out, made from the headers' text."""
    text = "\n".join(path.read_text() for path in sorted(SOURCES.rglob("*.bpf.h")))
    w = BtfWriter()
    for name, body in _ENUM.findall(text):
        enumerators = enumerate(_ENUMERATOR.findall(body))
        w.enum(name, *((word, 1 << int(shift) if shift else value) for value, (word, shift) in enumerators))
    types = {
        f"__{sign}{8 * size}": w.int(f"{sign}{8 * size}", size, sign == "s")
        for sign in "us"
        for size in (1, 2, 4, 8)
    }
    types["char"] = w.int("char", 1, signed=True)
    sizes = {spelled: (size, size) for spelled in types for size in [_size(spelled)]}
    numbers = dict(_NUMBER.findall(text))
    for name, body in _STRUCT.findall(text):
        members = [
            (spelled, member, length and (numbers.get(length[1:-1], length[1:-1]) or "0"))
            for spelled, member, length in _MEMBER.findall(body)
        ]
        _struct(w, types, sizes, name, members)
    return Btf.parse(w.blob())


def _size(spelled: str) -> int:
    return 1 if spelled == "char" else int(spelled[3:]) // 8


def _struct(
    w: BtfWriter,
    types: dict[str, int],
    sizes: dict[str, tuple[int, int]],
    name: str,
    members: list[tuple[str, str, str]],
) -> None:
    """Lay out a struct. types, sizes: what is known so far, by its name in C: BTF id; size and alignment."""
    offset, align, laid = 0, 1, []
    for spelled, member, length in members:
        (size, aligned), count, type_id = sizes[spelled], 1, types[spelled]
        if length:
            count = int(length)
            type_id = w.add("array", words=(type_id, types["__u32"], count))
        offset += -offset % aligned
        laid.append((member, type_id, 8 * offset))
        offset += size * count
        align = max(align, aligned)
    size = offset + -offset % align
    types[f"struct {name}"], sizes[f"struct {name}"] = w.struct(name, size, *laid), (size, align)


def records(layout: RecordLayout, rows: list[dict[str, Any]], fill: int = 0) -> npt.NDArray[np.uint8]:
    """Return records as they come out of a ring, shape (rows, record_bytes).

    rows: the header's members, and a dict for each section that is there. fill: the byte of everything
    else in the sections, as a ring's memory still holds what was there before; the header is always written.
    """
    raw = np.full((len(rows), layout.record_bytes), fill, np.uint8)
    raw[:, : min(layout.offsets.values(), default=layout.record_bytes)] = 0
    view = raw.view(layout.dtype)[:, 0]
    for row, values in zip(view, rows, strict=True):
        row["present"] = sum(1 << layout.bits[name] for name in values if name in layout.bits)
        for name, value in values.items():
            if name not in layout.bits:
                row[name] = value
                continue
            for member, part in value.items():
                if member == "data":
                    row[name]["data"][: len(part)] = np.frombuffer(part, np.uint8)
                else:
                    row[name][member] = part
    return raw
