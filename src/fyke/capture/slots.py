"""Writes compiled filters into the BPF object's image, over the fillers of bpf/core/filter.bpf.h.

The image keeps its size, so that whatever refers to an instruction stays right: calls, relocations, line and
function info. A slot without a filter gets one that lets all pass: the kernel removes fillers one by one, in
quadratic time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fyke.capture import elf
from fyke.filters.asm import ALU64, CONDITIONS, EXIT, JMP, OPERATIONS, Assembler, Insn, Reg, encode

SLOTS = ("packet_filter", "inner_filter", "field_filter")
_INSN_BYTES = 8
_FILLER = encode([Insn(JMP)])  # goto +0
_GUARD_INSNS = 2  # in front of the code
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
        code = _guarded(filters.get(slot) or _pass_all(), fillers)
        filled[place.offset : place.offset + len(code)] = code
    return bytes(filled)


def slot_insns(image: bytes, slot: str) -> int:
    """Return how many instructions of a filter a slot has room for."""
    return dict(elf.functions(image))[slot].size // _INSN_BYTES - _TAIL_INSNS - _GUARD_INSNS


def _pass_all() -> list[Insn]:
    code = Assembler()
    code.mov(Reg.R0, 1)
    code.exit()
    return code.finish()


def _guarded(code: Sequence[Insn], fillers: int) -> bytes:
    """Put a branch over the code in front, never taken. Without it the rest would be unreachable, which the
    kernel refuses; the verifier sees that it isn't taken, and drops it and the rest."""
    assert len(code) + _GUARD_INSNS <= fillers, "a filter is longer than its slot"
    assert any(insn.op == EXIT for insn in code), "a filter must end"
    zero = Insn(ALU64 | OPERATIONS["mov"], Reg.R0)
    branch = Insn(JMP | CONDITIONS["ne"], Reg.R0, off=len(code))
    return encode([zero, branch, *code])
