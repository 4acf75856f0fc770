"""fyke profile: the profiles that are there, what they do here, whether they are right; and new ones."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fyke.cli.main import Parser
from fyke.cli.options import Option, add_options
from fyke.cli.profile_check import check
from fyke.cli.profile_save import save_profile
from fyke.errors import UsageError
from fyke.events.escape import printable

if TYPE_CHECKING:
    from fyke.profiles.arguments import Command
    from fyke.profiles.conditions import Machine
    from fyke.profiles.model import Profile, Variant

SUMMARY = "List, show, check and save profiles: sets of options by name"
log = logging.getLogger(__name__)

ACTIONS = ("list", "show", "check", "save")
OPTIONS = (
    Option(
        ("action",),
        "list: what there is (default); show: what PROFILEs do here; check: whether PROFILEs, or all, are "
        "right, on any kernel; save: write PROFILE, from `-- collect ...` or `-- pcap ...`",
        {"nargs": "?", "choices": ACTIONS, "default": "list"},
    ),
    Option(("names",), "a name, or the file of a profile", {"nargs": "*", "metavar": "PROFILE"}),
    Option(("--json",), "list and show: print it as JSON", {"action": "store_true"}),
    Option(
        ("--names",),
        "list: only names, those that need no quotes",
        {"action": "store_true", "dest": "only_names"},
    ),
    Option(("--about",), "save: what it is for, in a line", {"metavar": "TEXT"}),
    Option(("--force",), "save: replace a file that is there", {"action": "store_true"}),
)


class _Parser(Parser):
    """Options may stand anywhere before `--`; what is behind it is another command line."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(args)
        at = words.index("--") if "--" in words else len(words)
        namespace = self.parse_intermixed_args(words[:at], namespace)
        namespace.line = words[at + 1 :]
        return namespace


PARSER = _Parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Do what is asked. Returns 2 when a check finds something wrong."""
    _check_options(args)
    from fyke.cli.profiled import profile_folders

    places = profile_folders(args.profile_folders)
    do: dict[str, Callable[[argparse.Namespace, Sequence[str]], int]] = {
        "list": _list,
        "show": _show,
        "check": check,
        "save": save_profile,
    }
    return do[args.action](args, places)


def _check_options(args: argparse.Namespace) -> None:
    for option, given, actions in (
        ("--json", args.json, ("list", "show")),
        ("--names", args.only_names, ("list",)),
        ("--about", args.about is not None, ("save",)),
        ("--force", args.force, ("save",)),
        ("a command line", bool(args.line), ("save",)),
    ):
        if given and args.action not in actions:
            raise UsageError(f"{option} goes with fyke profile {' or '.join(actions)}")
    if args.json and args.only_names:
        raise UsageError("--names and --json are both given", "choose one")
    if args.action == "list" and args.names:
        raise UsageError("fyke profile list takes no names", f"fyke profile show {shlex.join(args.names)}")
    if args.action == "show" and not args.names:
        raise UsageError("no profile named", "`fyke profile list` lists them")


def _list(args: argparse.Namespace, places: Sequence[str]) -> int:
    """Print all profiles by file, in the order in which they are looked for."""
    from fyke.profiles.find import files_in

    taken: set[str] = set()
    listed: list[dict[str, Any]] = []
    for place in places:
        here: set[str] = set()
        for file in files_in(place):
            for profile in file.profiles:
                hidden = profile.name in taken
                here.add(profile.name)
                listed.append(
                    {"name": profile.name, "about": profile.about, "path": file.path, "hidden": hidden}
                )
            for error in file.errors:
                log.warning("%s", error.message)
        taken |= here
    if args.json:
        print(json.dumps(listed, indent=2))
    elif args.only_names:
        from fyke.profiles.save import is_plain

        # Shells would run what some names hold.
        print("".join(f"{name}\n" for name in sorted(taken) if is_plain(name)), end="")
    else:
        print("\n".join(_listing(listed)))
    return 0


def _listing(listed: Sequence[dict[str, Any]]) -> list[str]:
    lines, path = [], None
    for one in listed:
        if one["path"] != path:
            path = one["path"]
            lines.append(f"{printable(path)}:")
        hidden = " (hidden by the one of this name above)" if one["hidden"] else ""
        lines.append(f"  {printable(one['name']):<20} {printable(one['about'])}{hidden}".rstrip())
    return lines


def _found(args: argparse.Namespace, places: Sequence[str]) -> list[Profile]:
    from fyke.cli.profiled import split_names
    from fyke.profiles.find import find_profile

    return [find_profile(name, places) for name in split_names(args.names)]


def _show(args: argparse.Namespace, places: Sequence[str]) -> int:
    """Print what profiles do on this machine."""
    from fyke.profiles.conditions import ThisMachine

    machine = ThisMachine()
    shown = [_facts(profile, machine) for profile in _found(args, places)]
    if args.json:
        print(json.dumps(shown, indent=2))
    else:
        print("\n\n".join("\n".join(_text(facts)) for facts in shown))
    return 0


def _facts(profile: Profile, machine: Machine) -> dict[str, Any]:
    from fyke.cli.profiled import command_of

    commands = {}
    for name, variants in profile.variants.items():
        command = command_of(name)
        commands[name] = [_variant_facts(one, command, machine) for one in variants]
        chosen = next((one for one in commands[name] if one["why_not"] is None), None)
        for one in commands[name]:
            one["used"] = one is chosen
    return {
        "name": profile.name,
        "about": profile.about,
        "path": profile.place.path,
        "line": profile.place.line,
        "commands": commands,
        "odd": list(profile.odd),
    }


def _variant_facts(variant: Variant, command: Command, machine: Machine) -> dict[str, Any]:
    given = command.of_variant(variant)
    return {
        "variant": variant.name,
        "why_not": variant.why_not(machine),
        "args": command.values(given),
        "words": command.words(given),
    }


def _text(facts: dict[str, Any]) -> list[str]:
    lines = [f"{printable(facts['name'])}: {printable(facts['about'])}".rstrip(": ")]
    lines.append(f"  from {printable(facts['path'])}, line {facts['line']}")
    for command, variants in facts["commands"].items():
        for one in variants:
            name = f"  {command}, variant {printable(one['variant'])}"
            if one["used"]:
                lines += [
                    f"{name}, used here:",
                    f"    {printable(shlex.join(['fyke', command, *one['words']]))}",
                ]
            elif one["why_not"] is None:
                lines.append(f"{name}: not used, an earlier one is")
            else:
                lines.append(f"{name}: not for this machine, {printable(one['why_not'])}")
    return lines + [f"  {odd}" for odd in facts["odd"]]
