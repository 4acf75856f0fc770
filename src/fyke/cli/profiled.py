"""A command line with profiles: their options, and those of the line, which win."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence

from fyke.cli.folders import folders
from fyke.errors import UsageError
from fyke.events.escape import printable
from fyke.profiles.arguments import Command, Given
from fyke.profiles.conditions import Machine, ThisMachine
from fyke.profiles.find import SHIPPED, find_profile, is_path
from fyke.profiles.model import COMMANDS, UNNAMED, Profile

log = logging.getLogger(__name__)


def profile_folders(extra: Sequence[str]) -> tuple[str, ...]:
    """Return where profiles are looked for, those of -P first. Raises UsageError for one that isn't there."""
    for folder in extra:
        if not os.path.isdir(folder):
            raise UsageError(f"there is no folder {printable(folder)} of profiles")
    return (*extra, *folders("profiles", SHIPPED))


def is_profile(name: str) -> bool:
    """Say whether there is a profile of a name."""
    try:
        return not is_path(name) and find_profile(name, profile_folders(())) is not None
    except UsageError:
        return False


def split_names(values: Sequence[str]) -> list[str]:
    """Return the names or paths of profiles in the values of -p, in order."""
    names = [name.strip() for value in values for name in value.split(",")]
    if not all(names):
        raise UsageError("the name of a profile is empty", "`fyke profile list` lists them")
    return names


def command_of(name: str) -> Command:
    """Return the options of a command that takes profiles. Raises UsageError for another one."""
    from fyke.cli.main import parser_of

    if name not in COMMANDS:
        raise UsageError(f"fyke {name} takes no profile", f"profiles are for: {', '.join(COMMANDS)}")
    return Command(lambda: parser_of(name))


def parse_profiled(
    name: str, rest: Sequence[str], profiles: Sequence[str], extra: Sequence[str]
) -> argparse.Namespace:
    """Return the arguments of a command, profiles applied; `expanded` holds what they add as words, `kernel`
    what was read of it to choose among variants, or None.

    Raises UsageError, and Unsupported when a profile has nothing for this machine.
    """
    command = command_of(name)
    line = command.given(rest)
    names, places, machine = split_names(profiles), profile_folders(extra), ThisMachine()
    layers = [apply(find_profile(one, places), name, command, machine) for one in names]
    args = command.namespace(command.merged([*layers, line]))
    args.expanded = command.words(command.effective(layers, line))
    args.kernel = machine.kernel
    return args


def apply(profile: Profile, name: str, command: Command, machine: Machine) -> Given:
    """Return what a profile gives a command here, and say which variant that is."""
    variant = profile.variant(name, machine)
    for odd in profile.odd:
        log.warning("%s", odd)
    which = "" if variant.name == UNNAMED else f": {printable(variant.name)}"
    log.info("Applying profile %s%s", printable(profile.name), which)
    return command.of_variant(variant)
