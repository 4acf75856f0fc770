"""Constants in the programs that a copy for one probe has others in place of (core/probe.bpf.h).

They are looked for in a program's own code only: a filter, which is behind it, may have any constant.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from fyke.capture import elf

_PROBE_ID, _COLLECT, _SECTIONS = 0x5CA1AB1E, 0x0C011EC7, 0x5FFFFFFF
# In place of _SECTIONS: the bit of no section, so that the verifier leaves out all that collects.
_NO_SECTIONS = 0xC0000000
_MOVES = (0xB4, 0xB7)  # opcodes of `mov r, imm`


def replaced(code: bytes, own_bytes: int, number: int, *, collects: bool, sections: int) -> bytes:
    """Return a program for the probe of a number. own_bytes: how much of the code isn't of its functions.

    collects: whether anything depends on which packet it is. sections: bits of those that are collected.
    """
    copy = bytearray(code)
    for mark, value in (
        (_PROBE_ID, number),
        (_COLLECT, collects),
        (_SECTIONS, sections),
        (_NO_SECTIONS, sections),
    ):
        _replace(copy, 0, own_bytes, mark, value)
    return bytes(copy)


def empty(image: bytes, programs: Collection[str]) -> bytes:
    """Return the object with programs that collect nothing: those of which only copies will run.

    They are loaded all the same, since that is what relocates their instructions.
    """
    emptied = bytearray(image)
    for name, place in elf.functions(image):
        if name in programs:
            _replace(emptied, place.offset, place.offset + place.size, _SECTIONS, _NO_SECTIONS)
    return bytes(emptied)


def own_bytes(image: bytes) -> dict[str, int]:
    """Return name of a function or program -> size of its code."""
    return {name: place.size for name, place in elf.functions(image)}


def _replace(code: bytearray, start: int, end: int, mark: int, value: int) -> None:
    found = struct.pack("=I", mark)
    at = code.find(found, start, end)
    while at >= 0:
        if (at - start) % 8 == 4 and code[at - 4] in _MOVES:
            struct.pack_into("=I", code, at, value)
        at = code.find(found, at + 4, end)
