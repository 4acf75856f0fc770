"""fyke sh-complete: a script that lets a shell complete fyke's command lines."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

from fyke.cli.options import Option, add_options
from fyke.errors import UsageError

SUMMARY = "Make the completion script of a shell"

# Shell -> name of the file where it looks for the completion of a program.
SHELLS = {"bash": "fyke", "zsh": "_fyke", "fish": "fyke.fish"}

OPTIONS = (
    Option(("--shell",), "the shell", {"choices": tuple(SHELLS), "required": True}),
    Option(
        ("--register",),
        "write the script to this file, or into this folder under the name that the shell looks for; - is "
        "standard output (default)",
        {"metavar": "PATH"},
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Print or write the script."""
    from fyke.cli.completion.lines import commands, general_options

    shell = import_module(f"fyke.cli.completion.{args.shell}")
    script = shell.script(commands(), general_options())
    if args.register in (None, "-"):
        print(script, end="")
        return 0
    path = args.register
    if os.path.isdir(path):
        path = os.path.join(path, SHELLS[args.shell])
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(script)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"can't write {path}: {reason}") from error
    return 0
