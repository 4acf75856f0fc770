"""Finds the command, runs it, and says what went wrong: one sentence, a hint, an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

from fyke import __version__
from fyke.errors import FykeError, UsageError

# Each is the module fyke.cli.NAME, `_` for `-`.
COMMANDS = (
    "collect",
    "print",
    "sort",
    "stats",
    "query",
    "latency",
    "diff",
    "pcap",
    "convert",
    "schema",
    "python",
    "inspect",
    "profile",
    "sh-complete",
    "doctor",
)
LOG_LEVELS = {"error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5}


# Options of Retis, and names that are settled, whose time has not come.
LATER_OPTIONS = frozenset(
    (
        *(
            "--ovs-enrich-flows",
            "--ovs-enrich-rate",
            "--kconf",
        ),
        "--sort",
    )
)


# What stands before the command, where it can't be meant for the command.
GENERAL_OPTIONS = ("--log-level", "--profile", "-P", "--extra-profiles-dir")


def _long_name(names: str) -> str:
    """Return the long one of an option's names as argparse lists them (`-o/--out`)."""
    return names.rpartition("/")[2]


class Parser(argparse.ArgumentParser):
    """argparse with Retis' rules: no abbreviated options; a mistake is one of our errors."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the mistake as UsageError, in words of ours where argparse's are a programmer's."""
        see = f"see: {self.prog} --help"
        if match := re.match(r"unrecognized arguments: (-[^\s=]*)", message):
            option = match[1]
            if option in LATER_OPTIONS:
                raise UsageError(f"{option} is not available yet", see)
            if option in GENERAL_OPTIONS:
                raise UsageError(
                    f"{option} stands before the command", f"write: fyke {option} ... {self.prog[5:]} ..."
                )
            raise UsageError(f"{self.prog} has no option {option}", see)
        if match := re.match(r"argument (\S+): invalid int value: (.*)", message):
            raise UsageError(f"{_long_name(match[1])}: {match[2]} is not a whole number", see)
        if match := re.match(r"argument (\S+): expected one argument", message):
            raise UsageError(f"{_long_name(match[1])} needs a value", see)
        raise UsageError(message, see)


def main(argv: Sequence[str]) -> int:
    """Run one command line, without the program's name, and return the exit code."""
    level = "info"
    try:
        try:
            options, command, rest = _split(argv)
            level = options.log_level
            return _run(command, rest, options)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit as end:  # argparse after --help and --version
        return int(end.code or 0)
    except FykeError as error:
        _say(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:
        return _closed_pipe()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _unexpected(error, level)


def resolve(word: str) -> str:
    """Return the command that a word names: itself or an unambiguous beginning. Raises UsageError."""
    if word in COMMANDS:
        return word
    matches = [name for name in COMMANDS if word and name.startswith(word)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"'{word}' could be {' or '.join(matches)}", "write more of it")
    close = get_close_matches(word, COMMANDS, 1)
    hint = f"did you mean {close[0]}?" if close else f"commands: {', '.join(COMMANDS)}"
    raise UsageError(f"there is no command '{word}'", hint)


def module_of(command: str) -> str:
    """Return the name of a command's module: SUMMARY, add_arguments(parser), run(args)."""
    return f"fyke.cli.{command.replace('-', '_')}"


def parser_of(command: str) -> Parser:
    """Return the parser of what follows a command."""
    module = import_module(module_of(command))
    parser: Parser = getattr(module, "PARSER", Parser)(prog=f"fyke {command}", description=module.SUMMARY)
    module.add_arguments(parser)
    return parser


def general_parser() -> Parser:
    """Return the parser of what stands before the command; the command and the rest are arguments."""
    parser = Parser(
        prog="fyke", usage="fyke [options] COMMAND ...", description=import_module("fyke").__doc__
    )
    parser.add_argument("--version", action="version", version=f"fyke {__version__}")
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="how much to say on stderr (default: info)",
    )
    parser.add_argument(
        *("-p", "--profile"),
        metavar="PROFILE",
        action="append",
        default=[],
        help="set options of collect or pcap by profiles: names or files, separated by commas",
    )
    parser.add_argument(
        *("-P", "--extra-profiles-dir"),
        metavar="FOLDER",
        action="append",
        default=[],
        help="look for profiles in this folder first",
    )
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _split(argv: Sequence[str]) -> tuple[argparse.Namespace, str, list[str]]:
    """Take the options before the command, the command, and what follows it."""
    parser = general_parser()
    if set(argv) & {"-h", "--help"} or not argv:
        parser.epilog = _summaries()
    if not argv:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    options = parser.parse_args(argv)
    if options.command is None:
        raise UsageError("no command given", f"commands: {', '.join(COMMANDS)}")
    return options, resolve(options.command), options.rest


def _summaries() -> str:
    lines = [f"  {name:12}{import_module(module_of(name)).SUMMARY}" for name in COMMANDS]
    return "\n".join(["commands (a unique beginning is enough; COMMAND --help says more):", *lines])


def _run(command: str, rest: list[str], options: argparse.Namespace) -> int:
    if options.profile:
        from fyke.cli.profiled import parse_profiled

        _set_up_log(options.log_level)  # they say what they set
        args = parse_profiled(command, rest, options.profile, options.extra_profiles_dir)
    else:
        args = parser_of(command).parse_args(rest)
        _set_up_log(options.log_level)
    args.profile_folders = options.extra_profiles_dir
    return int(import_module(module_of(command)).run(args))


def _set_up_log(level: str) -> None:
    """Send the log to stderr; times, and levels below warning, only at debug and trace."""
    import logging

    class Format(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            name = {"WARNING": "warning"}.get(record.levelname, record.levelname.lower())
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + self.formatException(record.exc_info)
            if LOG_LEVELS[level] <= logging.DEBUG:
                return f"{self.formatTime(record)} {name}: {text}"
            return text if record.levelno < logging.WARNING else f"{name}: {text}"

    handler = logging.StreamHandler()
    handler.setFormatter(Format())
    logger = logging.getLogger("fyke")
    logger.handlers[:] = [handler]
    logger.setLevel(LOG_LEVELS[level])
    logger.propagate = False


def _say(message: str, hint: str) -> None:
    lines = f"error: {message}\n" + (f"hint: {hint}\n" if hint else "")
    if sys.stderr is not None:
        sys.stderr.write(lines)


def _closed_pipe() -> int:
    """End quietly: the reader has what it wanted. The interpreter must not flush into the pipe again."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _unexpected(error: Exception, level: str) -> int:
    """Own up to a defect of ours: one sentence, and the traceback only where it was asked for."""
    if LOG_LEVELS.get(level, 20) <= LOG_LEVELS["debug"]:
        import traceback

        traceback.print_exception(error)
        hint = "please report it with the lines above"
    else:
        hint = "run it again with `fyke --log-level debug ...` for the place, and report it"
    what = str(error).partition("\n")[0]
    _say(f"this is a defect of fyke: {type(error).__name__}{': ' if what else ''}{what}", hint)
    return 1
