"""fyke python: a script, or a prompt, with the events of a recording at hand."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from fyke.cli.folders import folders
from fyke.cli.imports import let_all_in
from fyke.cli.options import INPUT, Option, add_options
from fyke.errors import InputError, UsageError

if TYPE_CHECKING:
    from fyke.api.retis_files import EventFile

SUMMARY = "Run a Python script on a recording, or a prompt"

OPTIONS = (
    Option(("-i", "--input"), INPUT.help, {"metavar": "IN"}),
    Option(
        ("script",),
        "a file, or the name of a script in the script folders, without .py; - is stdin; `reader` is "
        "the recording, an EventFile (default: a prompt on a terminal, else -)",
        {"nargs": "?", "metavar": "SCRIPT"},
    ),
    Option(("args",), "what the script finds in sys.argv", {"nargs": argparse.REMAINDER, "metavar": "ARGS"}),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Run the script, or the prompt. Returns 1 when the script ended with an exception, else what it says."""
    let_all_in()
    path = None if args.script in (None, "-") else find_script(args.script)
    reader = _reader(args.input)
    if args.script is None and sys.stdin is not None and sys.stdin.isatty():
        return _prompt(_names(reader))
    if path is None:
        source, path = _standard_input(), "<stdin>"
    else:
        source = _content(path)
    sys.argv = [path, *args.args]
    sys.path.insert(0, "" if path == "<stdin>" else os.path.dirname(os.path.abspath(path)))
    return _run(source, path, _names(reader))


def script_folders() -> tuple[str, ...]:
    """Return where scripts are looked for by name: the user's, the machine's, ours, and Retis'."""
    shipped = os.path.join(os.path.dirname(os.path.dirname(__file__)), "api", "scripts")
    return folders("python", shipped)


def find_script(name: str) -> str:
    """Return the file of a script: a path, else a name in the script folders. Raises UsageError."""
    if os.path.isfile(name):
        return name
    if name and os.sep not in name:
        for folder in script_folders():
            for file in (name, f"{name}.py"):
                if os.path.isfile(path := os.path.join(folder, file)):
                    return path
    raise UsageError(f"there is no script {name}", f"a file, or a name in: {', '.join(script_folders())}")


def _reader(name: str | None) -> EventFile:
    from fyke.api.retis_files import EventFile
    from fyke.events.reader import default_input
    from fyke.events.rotation import FOLLOW, split_path

    path = default_input() if name is None else name
    if not path.endswith(FOLLOW):
        return EventFile(path)
    path = path.removesuffix(FOLLOW)
    return EventFile.with_rotation(path if os.path.exists(path) else split_path(path, 0))


def _names(reader: EventFile) -> dict[str, Any]:
    """Make the module that the script is, and return its names."""
    import fyke

    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    module.__dict__.update(reader=reader, fyke=fyke)
    return module.__dict__


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"can't read the script {path}: {error.strerror}") from error


def _standard_input() -> bytes:
    return b"" if sys.stdin is None else sys.stdin.buffer.read()


def _run(source: bytes, path: str, names: dict[str, Any]) -> int:
    try:
        code: CodeType = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL in it
        _say(error, None)
        return 1
    names["__file__"] = path
    try:
        exec(code, names)
    except SystemExit as end:
        return _exit_code(end)
    except (BrokenPipeError, InputError):
        raise  # a damaged recording is no fault of the script
    except Exception as error:
        trace = error.__traceback__
        _say(error, None if trace is None else trace.tb_next)  # without this frame
        return 1
    return 0


def _say(error: BaseException, trace: TracebackType | None) -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    traceback.print_exception(type(error), error, trace)


def _exit_code(end: SystemExit) -> int:
    """Return what sys.exit() asked for; a text goes to stderr, as Python does it."""
    if end.code is None or isinstance(end.code, int):
        return int(end.code or 0) & 0xFF
    if sys.stderr is not None:
        sys.stderr.write(f"{end.code}\n")
    return 1


def _prompt(names: dict[str, Any]) -> int:
    """Let the user type; the end is Ctrl-D or exit()."""
    import code
    from importlib.util import find_spec

    sys.path.insert(0, "")
    if find_spec("scapy") is not None:  # all of it, as Retis has it: `if IP in event.packet.to_scapy()`
        ours = dict(names)
        exec("import scapy.all as scapy; from scapy.all import *", names)
        names.update(ours)
    try:
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:
        pass  # some Pythons are built without
    banner = (
        "`reader` is the recording: reader.events(), or reader.series() when reader.sorted(). Ctrl-D ends."
    )
    try:
        code.interact(banner=banner, local=names, exitmsg="")
    except SystemExit as end:
        return _exit_code(end)
    return 0
