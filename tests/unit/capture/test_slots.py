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


def test_a_filter_is_the_whole_function() -> None:
    image, filter_ = OBJECT.read_bytes(), code(5)
    assert in_slot(fill_slots(image, {"packet_filter": filter_}), "packet_filter") == filter_


def test_slots_without_a_filter_let_all_pass() -> None:
    image = fill_slots(OBJECT.read_bytes(), {})
    for slot in SLOTS:
        assert [(insn.op, insn.imm) for insn in in_slot(image, slot)] == [(0xB7, 1), (0x95, 0)]


def test_nothing_but_the_slots_and_where_they_end_changes() -> None:
    image = OBJECT.read_bytes()
    filled = fill_slots(image, {"field_filter": code(100)})
    assert len(filled) == len(image)
    inside = set()
    for at, name, place in elf._functions(image):
        if name in SLOTS:
            inside.update(range(place.offset, place.offset + place.size))
            inside.update(range(at + 16, at + 24))  # st_size of Elf64_Sym
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
