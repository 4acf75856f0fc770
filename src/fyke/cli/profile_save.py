"""fyke profile save: the options of a command line, written as a profile of the user's."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fyke.cli.folders import own_folder
from fyke.cli.main import general_parser, resolve
from fyke.cli.profile_check import check_of
from fyke.errors import UsageError
from fyke.events.escape import printable

if TYPE_CHECKING:
    from fyke.profiles.arguments import Given

log = logging.getLogger(__name__)


def save_profile(args: argparse.Namespace, places: Sequence[str]) -> int:
    """Write the options of a command line as a profile of the user's."""
    from fyke.cli.profiled import command_of
    from fyke.profiles.save import check_name, profile_text, save

    usage = "write: fyke profile save NAME -- collect OPTIONS"
    if len(args.names) != 1:
        raise UsageError("fyke profile save takes one name" if args.names else "no name given", usage)
    (name,) = args.names
    check_name(name)
    name_of_command, given = _line(args.line, args.profile_folders, usage)
    command = command_of(name_of_command)
    if left_out := command.not_options(given):
        raise UsageError(
            f"a profile has no place for {', '.join(left_out)}", "give it when the profile is used"
        )
    if not command.values(given):
        raise UsageError("the command line has no options to save", usage)
    hidden = others_of(name, places)
    text = profile_text(name, args.about or "", name_of_command, command.values(given))
    path = save(own_folder("profiles"), name, text, replace=args.force)
    for other in hidden:
        log.warning("it takes the place of the profile in %s", printable(other))
    log.info("saved %s: fyke -p %s %s", printable(path), name, name_of_command)
    return 0


def others_of(name: str, places: Sequence[str]) -> list[str]:
    """Return the files, but for its own, in which there are profiles of a name that the user's will hide.

    Raises UsageError when one is in the user's own folder, too: then it could not be said which is meant.
    """
    from fyke.profiles.find import files_in
    from fyke.profiles.save import path_of

    folder = own_folder("profiles")
    named = [
        file.path
        for place in dict.fromkeys([folder, *places])
        for file in files_in(place)
        if any(profile.name == name for profile in file.profiles) and file.path != path_of(folder, name)
    ]
    if named and os.path.dirname(named[0]) == folder:
        raise UsageError(
            f"there is a profile {name} in {printable(named[0])} already", "remove it there first"
        )
    return named


def _line(words: Sequence[str], extra: Sequence[str], usage: str) -> tuple[str, Given]:
    """Return the command of a line and what it gives, its own profiles included. Raises UsageError."""
    from fyke.cli.profiled import apply, command_of, profile_folders, split_names
    from fyke.profiles.conditions import ThisMachine
    from fyke.profiles.find import find_profile

    words = list(words[1:] if words[:1] == ["fyke"] else words)
    general = general_parser().parse_args(words)
    if general.command is None:
        raise UsageError("there is no command line to save", usage)
    name = resolve(general.command)
    command = command_of(name)
    places = profile_folders([*extra, *general.extra_profiles_dir])
    machine = ThisMachine()
    layers = [
        apply(find_profile(one, places), name, command, machine) for one in split_names(general.profile)
    ]
    given = command.merged([*layers, command.given(general.rest)])
    check_of(name)(command.namespace(given))
    return name, given
