"""Filters in the object's image: what is written where, and that nothing else changes."""

from __future__ import annotations

import platform

import pytest
from made_records import OBJECT

from fyke.capture import elf
from fyke.capture.slots import SLOTS, fill_slots, slot_insns
from fyke.filters.asm import Assembler, Insn, Reg, decode

pytestmark = pytest.mark.skipif(not OBJECT.exists(), reason=f"no object is built for {platform.machine()}")


def code(length: int) -> list[Insn]:
    made = Assembler()
    for _ in range(length - 1):
        made.mov(Reg.R0, 7)
    made.exit()
    return made.finish()


def in_slot(image: bytes, slot: str) -> list[Insn]:
    place = dict(elf.functions(image))[slot]
    return decode(image[place.offset : place.offset + place.size])


def test_a_filter_stands_behind_a_branch_that_is_never_taken_to_what_is_left_of_the_slot() -> None:
    image, filter_ = OBJECT.read_bytes(), code(5)
    zero, branch, *rest = in_slot(fill_slots(image, {"packet_filter": filter_}), "packet_filter")
    assert (zero.op, zero.dst, zero.imm) == (0xB7, 0, 0)  # r0 = 0
    assert (branch.op, branch.dst, branch.imm, branch.off) == (0x55, 0, 0, 5)  # if r0 != 0 goto +5
    assert rest[:5] == filter_
    assert {insn.op for insn in rest[5:-2]} == {0x05}  # goto +0
    assert [insn.op for insn in rest[-2:]] == [0xB7, 0x95]  # r0 = 1, exit


def test_slots_without_a_filter_let_all_pass() -> None:
    image = fill_slots(OBJECT.read_bytes(), {})
    for slot in SLOTS:
        code = in_slot(image, slot)[2:4]
        assert [(insn.op, insn.imm) for insn in code] == [(0xB7, 1), (0x95, 0)]


def test_nothing_but_the_slots_changes() -> None:
    image = OBJECT.read_bytes()
    filled = fill_slots(image, {"field_filter": code(100)})
    assert len(filled) == len(image)
    inside = set()
    for name, place in elf.functions(image):
        if name in SLOTS:
            inside.update(range(place.offset, place.offset + place.size))
    assert {at for at, (old, new) in enumerate(zip(image, filled, strict=True)) if old != new} <= inside


def test_a_filter_that_fits_exactly() -> None:
    image = OBJECT.read_bytes()
    room = slot_insns(image, "field_filter")
    fill_slots(image, {"field_filter": code(room)})
    with pytest.raises(AssertionError):
        fill_slots(image, {"field_filter": code(room + 1)})


def test_sections_are_found_by_name() -> None:
    image = OBJECT.read_bytes()
    place = elf.section(image, ".BTF")
    assert image[place.offset : place.offset + 2] == b"\x9f\xeb"  # BTF_MAGIC
    with pytest.raises(KeyError):
        elf.section(image, ".nothing")
