"""An ovs-vswitchd without USDT probes: functions in place of them, found by debug information."""

from __future__ import annotations

import json
import logging
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from fyke.capture.planned import UserPlace
from fyke.capture.user_probes import Program
from fyke.collectors.ovs.user import FUNCTIONS, Member, UserFunction, UserProbe
from fyke.kernel.binaries.debug_files import NoDebugInfo, debug_file
from fyke.kernel.binaries.dwarf import DebugInfo, Source
from fyke.kernel.binaries.elf_file import ElfFile
from fyke.kernel.binaries.operands import PARAMETERS, Operand

log = logging.getLogger(__name__)

HINT = "install the distribution's debug package: openvswitch-switch-dbgsym, or openvswitch-debuginfo"
_FORMAT = 1  # of what is kept; another when FUNCTIONS change
_MOST_BYTES = 1 << 16

# Of each function: its address in the file, and where the arguments are.
Found = list[tuple[int, tuple[Operand | None, ...]]]


def cache_folder() -> Path | None:
    """Return where what was found is kept, for each build by its id; None for a user who has no home.

    Not below $HOME: sudo(8) may leave that of a user, whose files should decide nothing here.
    """
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return None
    return Path(home) / ".cache" / "fyke" / "user-programs"


def function_places(
    program: Program, machine: str, cache: Path | None = None
) -> Iterator[tuple[UserProbe, UserPlace]]:
    """Yield the places in a program. Raises NoDebugInfo, which says what is missing, BadBinary, OSError."""
    elf = ElfFile(program.file)
    for function, (address, arguments) in zip(FUNCTIONS, _found(elf, program, machine, cache), strict=True):
        offset = elf.offset_of(address, executable=True)
        if offset is None:
            raise NoDebugInfo(f"function {function.probe.symbol} isn't where its debug information says")
        yield function.probe, UserPlace(program.path, program.file, offset, arguments=arguments)


def _found(elf: ElfFile, program: Program, machine: str, cache: Path | None) -> Found:
    folder = cache or cache_folder()
    kept = folder / f"{elf.build_id}.json" if folder and elf.build_id else None
    if kept and (found := _kept(kept)):
        return found
    file = debug_file(elf, program.path, program.file)
    with DebugInfo(file) as info:
        sources = info.sources(tuple(dict.fromkeys(f.source for f in FUNCTIONS)))
        found = [_function(function, sources[function.source], elf, machine) for function in FUNCTIONS]
    if kept:
        _keep(kept, found)
    return found


def _function(
    function: UserFunction, source: Source, elf: ElfFile, machine: str
) -> tuple[int, tuple[Operand | None, ...]]:
    name = function.probe.symbol
    there = source.function(name)
    if function.caller and name in source.function(function.caller).inlined:
        raise NoDebugInfo(f"function {name} is inlined into {function.caller}")
    # One that the compiler changed has a name like f.constprop.0, and other parameters.
    if name in elf.functions and there.address not in {symbol.address for symbol in elf.functions[name]}:
        raise NoDebugInfo(f"function {name} was changed by the compiler")
    registers = []
    for parameter in function.parameters:
        if parameter not in there.parameters[: len(PARAMETERS[machine])]:
            raise NoDebugInfo(f"function {name} has no parameter {parameter}")
        registers.append(PARAMETERS[machine][there.parameters.index(parameter)])
    if function.members:
        members = function.members
        return there.address, tuple(None if m is None else _operand(source, m, registers[0]) for m in members)
    numbers = [_enumerator(source, name) for name in function.enumerators]
    numbers += [_checked(source, member)[0] for member in function.places]
    return there.address, (
        *(Operand(8, False, base=register) for register in registers),
        *(Operand(8, False, add=number) for number in numbers),
    )


def _operand(source: Source, member: Member, register: int) -> Operand:
    offset, size = _checked(source, member)
    return Operand(size, False, True, register, add=offset)


def _checked(source: Source, member: Member) -> tuple[int, int]:
    found = source.member(member.struct, member.path)
    if found.size not in member.sizes:
        raise NoDebugInfo(f"member {member.path} of struct {member.struct} has {found.size} bytes there")
    return found.offset, found.size


def _enumerator(source: Source, name: str) -> int:
    if name not in source.enumerators:
        raise NoDebugInfo(f"its debug information of {source.name} has no {name}")
    return source.enumerators[name]


def _kept(file: Path) -> Found | None:
    """Return what was kept; None when there is nothing, or nothing that could be meant."""
    try:
        with file.open("rb") as opened:
            told = json.loads(opened.read(_MOST_BYTES))
        if told["format"] != _FORMAT or len(told["functions"]) != len(FUNCTIONS):
            return None
        return [
            (int(row["address"]), tuple(a and Operand(*a) for a in row["arguments"]))
            for row in told["functions"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, found: Found) -> None:
    rows = [
        {
            "address": address,
            "arguments": [a and [getattr(a, name) for name in Operand.__slots__] for a in arguments],
        }
        for address, arguments in found
    ]
    half = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(json.dumps({"format": _FORMAT, "functions": rows}))
        half.replace(file)
    except OSError as e:
        log.debug("what debug information says can't be kept in %s: %s", file, e)
