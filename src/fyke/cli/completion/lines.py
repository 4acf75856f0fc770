"""What a command line of fyke may hold: read from the parsers of the commands, the one home of options."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from importlib import import_module

# Names by which options call a file: argparse has no other word for it.
_FILES = frozenset({"FILE", "IN", "OUT", "PATH", "SCRIPT", "ARGS", "A", "B", "FOLDER", "PROFILE"})
_PROFILES = "PROFILE"


@dataclass(frozen=True, slots=True)
class Word:
    """An option, or a place for an argument.

    names: `-o`, `--out`; none for a place. about: its help, in a line. value: whether something follows it.
    choices: what may follow; several: of what one or more may, with commas between; files: whether files do;
    profiles: whether names of profiles do, which are asked for when a line is completed. needed: whether the
    value must be there.
    """

    names: tuple[str, ...]
    about: str
    value: bool
    choices: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    files: bool = False
    profiles: bool = False
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """A command. beginnings: what names it, its whole name first. places: its arguments."""

    name: str
    about: str
    beginnings: tuple[str, ...]
    options: tuple[Word, ...]
    places: tuple[Word, ...]


def commands() -> tuple[Command, ...]:
    """Return all commands, in the order of the help."""
    from fyke.cli.completion.values import LISTS
    from fyke.cli.main import COMMANDS, module_of, parser_of

    made = []
    for name in COMMANDS:
        module = import_module(module_of(name))
        lists = {option: words() for (command, option), words in LISTS.items() if command == name}
        words = [
            replace(word, several=next((lists[n] for n in word.names if n in lists), ()))
            for word in _words(parser_of(name))
        ]
        options, places = [w for w in words if w.names], [w for w in words if not w.names]
        made.append(Command(name, module.SUMMARY, _beginnings(name), tuple(options), tuple(places)))
    return tuple(made)


def general_options() -> tuple[Word, ...]:
    """Return the options that stand before the command."""
    from fyke.cli.main import general_parser

    return tuple(word for word in _words(general_parser()) if word.names)


def _words(parser: argparse.ArgumentParser) -> list[Word]:
    return [_word(action) for action in parser._actions]


def _word(action: argparse.Action) -> Word:
    about = " ".join((action.help or "").split())
    names = tuple(action.option_strings)
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return Word(
        names,
        "" if about == argparse.SUPPRESS else about.replace("%%", "%"),
        value=action.nargs != 0,
        choices=tuple(str(choice) for choice in action.choices or ()),
        files=metavar in _FILES,
        profiles=metavar == _PROFILES,
        needed=action.nargs != "?",
    )


def _beginnings(name: str) -> tuple[str, ...]:
    """Return what resolves to a command: its name, and every beginning that no other one has."""
    from fyke.cli.main import COMMANDS

    others = [other for other in COMMANDS if other != name]
    cuts = [name[:n] for n in range(len(name) - 1, 0, -1)]
    return (name, *(cut for cut in cuts if not any(other.startswith(cut) for other in others)))
