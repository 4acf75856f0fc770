"""What the debug information of a program says (DWARF, read by pyelftools): functions, structs, enumerators.

Of a program with hundreds of sources only the few that are asked for are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fyke.kernel.binaries.debug_files import NoDebugInfo

if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE

_WRAPPERS = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type")
_MOST_WRAPPERS = 100
_STRUCTS = ("DW_TAG_structure_type", "DW_TAG_union_type")
_INLINED = "DW_TAG_inlined_subroutine"
POINTER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct, however deep: where it is, and its size in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function that has code of its own. address: as the file has it. inlined: others that its code has."""

    address: int
    parameters: tuple[str, ...]
    inlined: frozenset[str]


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Tell in a sentence whatever the library comes upon in a file that is damaged, or too new for it."""
    try:
        yield
    except NoDebugInfo:
        raise
    except Exception as e:
        raise NoDebugInfo(f"its debug information{what} can't be read: {e or type(e).__name__}") from e


class DebugInfo:
    """A file with debug information. Raises NoDebugInfo where it, or the library, can't be read."""

    def __init__(self, file: str) -> None:
        try:
            from elftools.elf.elffile import ELFFile
        except ImportError as e:
            why = f"its debug information can't be read: {e} (pip install 'fyke[debug]')"
            raise NoDebugInfo(why) from e
        with contextlib.ExitStack() as stack, _reading(""):
            self._file = stack.enter_context(Path(file).open("rb"))
            self._dwarf = ELFFile(self._file).get_dwarf_info(relocate_dwarf_sections=False)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def sources(self, names: tuple[str, ...]) -> dict[str, Source]:
        """Return what there is of sources, by the ends of their names (`lib/dpif.c`)."""
        found: dict[str, Source] = {}
        with _reading(""):
            for unit in self._dwarf.iter_CUs():
                path = _name(unit.get_top_DIE()) or ""
                for name in names:
                    if name not in found and f"/{path}".endswith(f"/{name}"):
                        found[name] = Source(name, unit)
                if len(found) == len(names):
                    break
        for name in names:
            if name not in found:
                raise NoDebugInfo(f"its debug information says nothing of {name}")
        return found


class Source:
    """One source of a program. enumerators: of all its enums."""

    def __init__(self, name: str, unit: CompileUnit) -> None:
        self.name = name
        self._functions: dict[str, list[DIE]] = {}
        self._structs: dict[str, DIE] = {}
        self.enumerators: dict[str, int] = {}
        with _reading(f" of {name}"):
            for die in _top(unit.get_top_DIE()):
                self._add(die)

    def _add(self, die: DIE) -> None:
        if die.tag == "DW_TAG_subprogram":
            if "DW_AT_low_pc" in die.attributes and (name := _name(die)):
                self._functions.setdefault(name, []).append(die)
        elif die.tag in _STRUCTS:
            if "DW_AT_declaration" not in die.attributes and (name := _name(die)):
                self._structs.setdefault(name, die)
        elif die.tag == "DW_TAG_enumeration_type":
            for one in die.iter_children():
                if (name := _name(one)) and "DW_AT_const_value" in one.attributes:
                    self.enumerators[name] = int(one.attributes["DW_AT_const_value"].value)

    def function(self, name: str) -> Function:
        """Return a function. NoDebugInfo: it has no code of its own, or several times."""
        dies = self._functions.get(name, [])
        if len(dies) != 1:
            how = "is inlined or isn't there" if not dies else "is there several times"
            raise NoDebugInfo(f"function {name} of {self.name} {how}")
        (die,) = dies
        with _reading(f" of {name}()"):
            parameters = [_name(d) or "" for d in die.iter_children() if d.tag == "DW_TAG_formal_parameter"]
            inlined = frozenset(_name(d) or "" for d in _below(die) if d.tag == _INLINED)
            return Function(int(die.attributes["DW_AT_low_pc"].value), tuple(parameters), inlined)

    def member(self, struct: str, path: str) -> Member:
        """Return a member: `flow_put.key`; unions on the way need not be named."""
        die = self._structs.get(struct)
        if die is None:
            raise NoDebugInfo(f"its debug information of {self.name} has no struct {struct}")
        offset = 0
        with _reading(f" of {path} in struct {struct}"):
            for name in path.split("."):
                found = _member(die, name) if die.tag in _STRUCTS else None
                if found is None:
                    raise NoDebugInfo(f"struct {struct} has no member {path} there")
                offset += found[0]
                die = found[1]
            return Member(offset, _size(die))


def _top(die: DIE) -> Iterator[DIE]:
    """Yield what a source declares, also what it shares with others (dwz(1) puts that together)."""
    for child in die.iter_children():
        if child.tag == "DW_TAG_imported_unit":
            yield from _top(child.get_DIE_from_attribute("DW_AT_import"))
        else:
            yield child


def _below(die: DIE) -> Iterator[DIE]:
    for child in die.iter_children():
        yield child
        yield from _below(child)


def _name(die: DIE) -> str | None:
    """Return a name; it may stand where the function or parameter was declared."""
    for _ in range(4):
        if "DW_AT_name" in die.attributes:
            return str(die.attributes["DW_AT_name"].value.decode(errors="replace"))
        for origin in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if origin in die.attributes:
                die = die.get_DIE_from_attribute(origin)
                break
        else:
            return None
    return None


def _type(die: DIE) -> DIE:
    for _ in range(_MOST_WRAPPERS):
        die = die.get_DIE_from_attribute("DW_AT_type")
        if die.tag not in _WRAPPERS:
            return die
    raise ValueError("its type has no end")


def _member(struct: DIE, name: str) -> tuple[int, DIE] | None:
    """Return offset and type of a member; it may be in a union, or in a struct without a name."""
    for child in struct.iter_children():
        if child.tag != "DW_TAG_member":
            continue
        place = child.attributes.get("DW_AT_data_member_location")
        offset = int(place.value) if place else 0
        kind = _type(child)
        if _name(child) == name:
            if "DW_AT_bit_size" in child.attributes:
                raise ValueError("it is a bit field")
            return offset, kind
        if (kind.tag == "DW_TAG_union_type" or not _name(child)) and kind.tag in _STRUCTS:
            inner = _member(kind, name)
            if inner:
                return offset + inner[0], inner[1]
    return None


def _size(die: DIE) -> int:
    if die.tag == "DW_TAG_pointer_type":
        return POINTER_BYTES
    size = die.attributes.get("DW_AT_byte_size")
    return int(size.value) if size else 0
