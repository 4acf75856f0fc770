"""Probes in user programs: `-p u:` and `-p usdt:` -> places in files, and what programs are told of them."""

from __future__ import annotations

import difflib
import fnmatch
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fyke.capture.filters import FilterOptions
from fyke.capture.kernel import Kernel
from fyke.capture.layout import struct_dtype
from fyke.capture.planned import PlannedProbe, UserPlace
from fyke.capture.probe_spec import USER_TYPES, ProbeSpec
from fyke.errors import Unsupported, UsageError
from fyke.events.escape import printable
from fyke.kernel.binaries import running
from fyke.kernel.binaries.debug_files import DEBUG
from fyke.kernel.binaries.elf_file import BadBinary, ElfFile, Symbol
from fyke.kernel.binaries.operands import parse_operands
from fyke.kernel.binaries.sdt import UsdtNote, read_notes
from fyke.kernel.btf import Btf

SECTIONS = ("userspace", "arguments")
Functions = dict[str, tuple[Symbol, ...]]
MOST_ARGUMENTS = 12  # in core/user.bpf.h


class NoUsdtProbes(UsageError):
    """A program was built without any."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program or library to probe. path: as its processes have it; file: where it can be opened."""

    path: str
    file: str


def user_probes(spec: ProbeSpec, asked: str, kernel: Kernel, machine: str) -> list[PlannedProbe]:
    """Return the probes that a spec names, one for each place. Raises UsageError, Unsupported.

    machine: as uname has it. A program's name without folders means each file by that name.
    """
    if not kernel.features.has("uprobe"):
        answer = kernel.features["uprobe"]
        hint = "run it as root" if answer.state == "unknown" else "leave it out"
        raise Unsupported(f"can't probe {spec.text}: no uprobes here, {answer.why}", hint)
    found: list[PlannedProbe] = []
    refused: list[UsageError] = []
    for program in programs(spec.path):
        try:
            found += [
                PlannedProbe(symbol, spec.type, _sections(place), {}, asked=(asked,), user=place)
                for symbol, place in places(program, spec, machine)
            ]
        except UsageError as e:
            refused.append(e)
    if not found:
        raise refused[0]
    return found


def _sections(place: UserPlace) -> frozenset[str]:
    return frozenset(SECTIONS if place.arguments else SECTIONS[:1])


def programs(path: str) -> list[Program]:
    """Return the files that a path, or a name without folders, means. Raises UsageError for none."""
    if "/" in path:
        return [Program(os.path.abspath(path), os.path.abspath(path))]
    found = []
    if here := shutil.which(path):
        found.append(Program(here, here))
    found += [Program(mapped.path, mapped.file) for mapped in running.mapped_files(path)]
    different: dict[tuple[int, int], Program] = {}
    for program in found:
        try:
            there = os.stat(program.file)
        except OSError:  # its process has just ended
            continue
        different.setdefault((there.st_dev, there.st_ino), program)
    if not different:
        raise UsageError(
            f"there is no program {printable(path)}: it isn't in PATH, and no process runs it",
            "write the file with its folder, e.g. u:/usr/bin/ssh:main",
        )
    return list(different.values())


def places(program: Program, spec: ProbeSpec, machine: str) -> Iterator[tuple[str, UserPlace]]:
    """Yield (name, place) of what a spec names in a program. Raises UsageError when there is nothing."""
    try:
        elf = ElfFile(program.file)
        if elf.machine != machine:
            raise BadBinary(f"it is for {elf.machine}, and this machine is {machine}")
        yield from (_usdt if spec.type == "usdt" else _functions)(elf, program, spec, machine)
    except BadBinary as e:
        raise UsageError(f"{printable(program.path)} can't be probed: {e}") from e
    except OSError as e:
        hint = "/proc/PID/root/... names a file in a container" if isinstance(e, FileNotFoundError) else ""
        raise UsageError(f"{printable(program.path)} can't be read: {e.strerror}", hint) from e


def _functions(
    elf: ElfFile, program: Program, spec: ProbeSpec, _machine: str
) -> Iterator[tuple[str, UserPlace]]:
    functions = _named_functions(elf)
    matching = _matching(spec.target, functions)
    there = [(f, at) for f in matching if not f.chosen and (at := _code_offset(elf, f.address)) is not None]
    # One that is an old version of a function that is chosen would be a probe that is never hit.
    if not there or ("*" not in spec.target and len(there) < len(matching)):
        raise _no_function(elf, functions, program, spec.target, matching)
    for function, offset in there:
        yield function.name, UserPlace(program.path, program.file, offset)


def _named_functions(elf: ElfFile) -> Functions:
    """Return the functions of a program; of a stripped one also those that its debug information names."""
    build_id = elf.build_id if elf.is_stripped else ""
    try:
        debug = ElfFile(f"{DEBUG}/.build-id/{build_id[:2]}/{build_id[2:]}.debug") if build_id else None
        return debug.functions | elf.functions if debug and debug.build_id == build_id else elf.functions
    except (OSError, BadBinary):
        return elf.functions


def _matching(wanted: str, functions: Functions) -> list[Symbol]:
    names = fnmatch.filter(functions, wanted.replace("[", "[[]")) if "*" in wanted else [wanted]
    return [function for name in names for function in functions.get(name, ())]


def _code_offset(elf: ElfFile, address: int) -> int | None:
    return elf.offset_of(address, executable=True)


def _no_function(
    elf: ElfFile, functions: Functions, program: Program, wanted: str, matching: Sequence[Symbol]
) -> UsageError:
    path = printable(program.path)
    if any(function.chosen for function in matching):
        parts = [name for name in functions if wanted in name and name != wanted]
        return UsageError(
            f"{wanted} of {path} isn't one function: a program chooses one of several when it starts",
            _near(wanted, parts) or "probe the one that is used on this machine",
        )
    if wanted in elf.imported:
        return UsageError(
            f"{wanted} isn't in {path}, which takes it from a library", f"probe it there: u:LIBRARY:{wanted}"
        )
    what = "nothing matches" if "*" in wanted else "there is no function"
    why = ", which is stripped: only what others may call has a name" if elf.is_stripped else ""
    return UsageError(f"{what} {printable(wanted)} in {path}{why}", _near(wanted, functions))


def _near(wanted: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(wanted, names, 3) or [n for n in names if wanted in n][:3]
    return f"near: {', '.join(map(printable, near))}" if near else ""


def _usdt(elf: ElfFile, program: Program, spec: ProbeSpec, machine: str) -> Iterator[tuple[str, UserPlace]]:
    notes = read_notes(elf)
    path = printable(program.path)
    if not notes:
        raise NoUsdtProbes(
            f"{path} has no USDT probes: it was built without them",
            f"its functions can be probed: {USER_TYPES['uprobe'][1]}",
        )
    named = {f"{note.provider}:{note.name}": note for note in notes}
    wanted = set(fnmatch.filter(named, spec.target.replace("[", "[[]"))) if spec.is_pattern else {spec.target}
    there = [note for note in notes if f"{note.provider}:{note.name}" in wanted]
    if not there:
        what = "no USDT probe matches" if spec.is_pattern else "there is no USDT probe"
        raise UsageError(f"{what} {printable(spec.target)} in {path}", _near(spec.target, named))
    for note in there:
        yield f"{note.provider}:{note.name}", _place_of(elf, program, note, machine)


def _place_of(elf: ElfFile, program: Program, note: UsdtNote, machine: str) -> UserPlace:
    def distance(variable: str) -> int | None:
        found = elf.variables.get(variable, ())
        return found[0].address - note.address if len(found) == 1 else None

    offset = _code_offset(elf, note.address)
    semaphore = elf.offset_of(note.semaphore, executable=False) if note.semaphore else 0
    if offset is None or semaphore is None:
        raise BadBinary(f"it is damaged: USDT probe {note.provider}:{note.name} isn't in it")
    operands = parse_operands(note.arguments, machine, distance)[:MOST_ARGUMENTS]
    return UserPlace(program.path, program.file, offset, semaphore, operands)


def unreadable(probes: Iterable[PlannedProbe]) -> list[str]:
    """Return notes of arguments that can't be read, as the program was built."""
    found: dict[str, set[int]] = {}
    for probe in probes:
        for number, operand in enumerate(probe.user.arguments if probe.user else ()):
            if operand is None:
                found.setdefault(probe.symbol, set()).add(number)
    return [
        f"{symbol}: argument{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))} "
        "(counted from 0) can't be read: floating point, or of a form that isn't known"
        for symbol, numbers in found.items()
    ]


def place_config(place: UserPlace, btf: Btf) -> bytes:
    """Return `struct user_place` of a probe."""
    arguments = np.zeros(MOST_ARGUMENTS, struct_dtype(btf, "user_argument"))
    for argument, operand in zip(arguments, place.arguments, strict=False):
        if operand is None:
            continue
        argument["add"] = operand.add % (1 << 64)
        argument["base_at"] = -1 if operand.base is None else operand.base
        argument["index_at"] = -1 if operand.index is None else operand.index
        argument["shift"], argument["bytes"] = operand.shift, operand.size
        argument["memory"], argument["is_signed"] = operand.memory, operand.signed
    return arguments.tobytes()


@dataclass(frozen=True, slots=True)
class UserTask:
    """Whom `--pid` means: a process, or one thread of it."""

    number: int
    is_thread: bool


def wanted_task(pid: int | None) -> UserTask | None:
    """Return whom user programs are looked at for; None: all. Raises UsageError when there is no such."""
    if pid is None:
        return None
    from fyke.filters.fields.everyday import resolve_pid

    return UserTask(*resolve_pid(pid))


def filter_notes(filters: FilterOptions, probes: Iterable[PlannedProbe]) -> list[str]:
    """Return a note that filters of packets leave events of user programs alone, where there are both."""
    if replace(filters, pid=None) == FilterOptions():
        return []
    symbols = list(dict.fromkeys(p.symbol for p in probes if p.user and not p.internal))
    if not symbols:
        return []
    names = ", ".join(symbols[:5]) + (" ..." if len(symbols) > 5 else "")
    return [f"no filter but --pid applies at {names}: user programs have no packet there"]
