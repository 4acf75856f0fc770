"""Writes compiled filters into the BPF object's image, over the fillers of bpf/core/filter.bpf.h.

The image keeps its size, so that whatever refers to an instruction stays right: calls, relocations, line and
function info. But the function ends where the filter does, so that no filler is ever loaded: the three slots
are nine tenths of the object, and what the kernel does with instructions that are never run takes it most of
a load (0.4 s of 0.47). A slot without a filter gets one that lets all pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fyke.capture import elf
from fyke.filters.asm import EXIT, JMP, Assembler, Insn, Reg, encode

SLOTS = ("packet_filter", "inner_filter", "field_filter")
_INSN_BYTES = 8
_FILLER = encode([Insn(JMP)])  # goto +0
_TAIL_INSNS = 2  # behind the fillers: r0 = 1, exit


def fill_slots(image: bytes, filters: Mapping[str, Sequence[Insn]]) -> bytes:
    """Return the image of the object with each filter in its slot; slots without one let everything pass.

    filters: slot -> code that starts with the slot's arguments in R1 and R2, and exits with its result.
    """
    filled = bytearray(image)
    places = dict(elf.functions(image))
    for slot in SLOTS:
        place = places[slot]
        fillers = place.size // _INSN_BYTES - _TAIL_INSNS
        end = place.offset + fillers * _INSN_BYTES
        assert image[place.offset : end] == _FILLER * fillers, f"{slot} is no slot"
        insns = filters.get(slot) or _pass_all()
        assert len(insns) <= fillers, "a filter is longer than its slot"
        assert insns[-1].op == EXIT, "what is behind a filter isn't loaded"
        code = encode(insns)
        filled[place.offset : place.offset + len(code)] = code
        elf.resize_function(filled, slot, len(code))
    return bytes(filled)


def slot_insns(image: bytes, slot: str) -> int:
    """Return how many instructions of a filter a slot has room for."""
    return dict(elf.functions(image))[slot].size // _INSN_BYTES - _TAIL_INSNS


def _pass_all() -> list[Insn]:
    code = Assembler()
    code.mov(Reg.R0, 1)
    code.exit()
    return code.finish()
