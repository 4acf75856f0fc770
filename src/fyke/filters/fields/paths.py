"""Walk a path through the types: offsets, pointers to follow, and the member at its end."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.errors import UsageError
from fyke.filters.fields.resolved import MAX_ADDRESS_MASK, Follow
from fyke.filters.fields.tree import Mask, Path, Step
from fyke.filters.fields.types import FieldType, Types, defined, find_member, find_struct

_MAX_OFFSET = (1 << 31) - 1  # an instruction's constant


@dataclass(frozen=True, slots=True)
class End:
    """The member at the end of a path: pointers followed to its structure, its offset there, mask or None."""

    path: Path
    follows: tuple[Follow, ...]
    bit_offset: int
    type: FieldType
    mask: int | None = None

    @property
    def offset(self) -> int:
        """Bytes (rounded down for a bit field)."""
        return self.bit_offset // 8


class _Place:
    """Where a walk has come to."""

    def __init__(self, start: FieldType) -> None:
        self.type = start
        self.bits = 0
        self.follows: list[Follow] = []

    def follow(self, to: FieldType, mask: int = MAX_ADDRESS_MASK) -> None:
        self.follows.append(Follow(self.bits // 8, mask))
        self.bits = 0
        self.type = to


def walk(types: Types, start: FieldType, path: Path) -> End:
    """Follow a path of one step or more from a struct. UsageError names the member that isn't as thought."""
    place = _Place(start)
    mask = None
    for number, step in enumerate(path.steps):
        where = str(Path(path.root, path.steps[: number + 1]))
        place.type, bits = find_member(place.type, step.name, where)
        place.bits += bits
        for index in step.indexes:
            _element(types, place, index, where)
        mask = None if step.mask is None else mask_of(place.type, step.mask, where)
        if step.cast:
            _check_cast(place.type, where)
        if number + 1 < len(path.steps):
            _enter(types, place, step, mask, where)
        elif step.cast:
            find_struct(types, step.cast, where)
        if place.bits // 8 > _MAX_OFFSET:
            raise UsageError(f"{where} is more than 2 GiB from its start", "use a smaller index")
    return End(path, tuple(place.follows), place.bits, place.type, mask)


def follow_last(end: End) -> tuple[Follow, ...]:
    """Return the pointers of a path, the one at its end included."""
    return (*end.follows, Follow(end.offset, MAX_ADDRESS_MASK if end.mask is None else end.mask))


def mask_of(masked: FieldType, mask: Mask, where: str) -> int:
    """Return the bits that a mask keeps of a number or pointer. UsageError when it can't be masked so."""
    if not (masked.is_integer or masked.is_enum or masked.is_pointer):
        raise UsageError(f"{where}: only numbers and pointers can be masked, this is {masked.words()}")
    if masked.is_signed:
        raise UsageError(f"{where}: a signed number can't be masked, this is {masked.words()}")
    every = (1 << masked.width) - 1
    if mask.value > every:
        raise UsageError(f"{where}: the mask {mask} has more bits than the field, {masked.words()}")
    kept = every & ~mask.value if mask.inverted else mask.value
    if not kept:
        raise UsageError(f"{where}: the mask {mask} keeps nothing of {masked.words()}")
    return kept


def _element(types: Types, place: _Place, index: int, where: str) -> None:
    array = place.type
    if not (array.is_array or array.is_pointer):
        raise UsageError(f"{where} is {array.words()}, it has no elements")
    if array.is_array and 0 < array.length <= index:  # length 0: as many as there are
        raise UsageError(f"{where} has only {array.length} elements, the first is [0]")
    element = defined(types, array.target, where)
    if array.is_pointer:
        if element.kind == 0 or (not element.is_struct and element.spelled.endswith(")")):
            raise UsageError(f"{where} is {array.words()}, what it points to has no size")
        place.follow(element)
    place.type = element
    place.bits += 8 * element.size * index


def _check_cast(cast: FieldType, where: str) -> None:
    if not (cast.is_pointer or (cast.is_integer and cast.width == 64)):
        raise UsageError(f"{where}: only a pointer or a 64-bit number can be cast, this is {cast.words()}")


def _enter(types: Types, place: _Place, step: Step, mask: int | None, where: str) -> None:
    """Go into the structure that a member is, points to, or is cast to."""
    kept = MAX_ADDRESS_MASK if mask is None else mask
    if step.cast:
        place.follow(find_struct(types, step.cast, where), kept)
        return
    found = place.type
    if mask is not None and not found.is_pointer:
        raise UsageError(
            f"{where} is {found.words()}: masked, it has no members", f"cast it, as in {where}:TYPE"
        )
    while place.type.is_pointer:
        place.follow(defined(types, place.type.target, where), kept)
        kept = MAX_ADDRESS_MASK
    if not place.type.is_struct:
        hint = ""
        if found.is_pointer:
            hint = f"say what it points to, as in {where}:~0x0:TYPE"
        elif found.is_array:
            hint = f"name an element, as in {where}[0]"
        raise UsageError(f"{where} is {found.words()}, it has no members", hint)
