"""fyke profile check: whether profiles are right, as far as it can be told on any machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from fyke.cli.main import module_of
from fyke.errors import FykeError, UsageError
from fyke.events.escape import printable

if TYPE_CHECKING:
    from fyke.profiles.find import File
    from fyke.profiles.model import Profile


def check(args: argparse.Namespace, places: Sequence[str]) -> int:
    """Check files, all variants, as far as it can be done on any machine. Returns 2 if something is wrong."""
    from fyke.profiles.find import File, files_in, find_profile, is_path, read_file

    files: list[File] = []
    for name in args.names:
        if is_path(name):
            try:
                files.append(read_file(name))
            except UsageError as error:
                files.append(File(name, errors=(error,)))
        else:
            profile = find_profile(name, places)
            files.append(File(profile.place.path, (profile,)))
    if not args.names:
        files = [file for place in places for file in files_in(place)]
    wrong = 0
    for file in files:
        problems = [error.message for error in file.errors]
        for profile in file.profiles:
            problems += [*profile.odd, *_wrong_options(profile)]
        problems += _twice(file)
        if not (file.profiles or problems):
            problems.append(f"{printable(file.path)}: there is no profile in it")
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{printable(file.path)}: {', '.join(printable(p.name) for p in file.profiles)}: right")
        wrong += len(problems)
    return 2 if wrong else 0


def _wrong_options(profile: Profile) -> list[str]:
    from fyke.cli.profiled import command_of

    problems = []
    for name, variants in profile.variants.items():
        command = command_of(name)
        for variant in variants:
            try:
                args = command.namespace(command.of_variant(variant))
            except FykeError as error:
                problems.append(error.message)
                continue
            try:
                check_of(name)(args)
            except FykeError as error:
                problems.append(f"{variant.place}: {error.message}")
    return problems


def _twice(file: File) -> list[str]:
    seen: dict[str, Profile] = {}
    problems = []
    for profile in file.profiles:
        if profile.name in seen:
            first = seen[profile.name].place.line
            problems.append(
                f"{profile.place}: name: {printable(profile.name)} is given twice, first at line {first}"
            )
        seen.setdefault(profile.name, profile)
    return problems


def check_of(command: str) -> Callable[[argparse.Namespace], None]:
    """Return what checks the arguments of a command without doing anything."""
    check: Callable[[argparse.Namespace], None] = import_module(module_of(command)).check_arguments
    return check
