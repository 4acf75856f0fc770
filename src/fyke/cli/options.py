"""Options that several commands have, each described in one place, and what they mean."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fyke.collectors.formatting import Style
    from fyke.events.facts import Facts


@dataclass(frozen=True)
class Option:
    """An option or argument: its names, help, and what else argparse is to know of it.

    one_of: what it says, where others say the same in another way: of a profile's and the command line's only
    one counts.
    """

    names: tuple[str, ...]
    help: str
    settings: dict[str, Any] = field(default_factory=dict)
    one_of: str | None = None


def _flag(*names: str, help: str) -> Option:
    return Option(names, help, {"action": "store_true"})


class Once(argparse.Action):
    """Takes a value once. A second filter would silently take the first one's place."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value; raise UsageError when there is one."""
        if getattr(namespace, self.dest, None) is not None:
            from fyke.errors import UsageError

            raise UsageError(f"{option_string} is given twice", "join what is meant in one of them")
        setattr(namespace, self.dest, values)


_FILE = (
    "event file of fyke or Retis, or packet capture, - for stdin; FILE.. reads FILE.0, FILE.1 and so on "
    "from the one named"
)
_DEFAULT = "default: fyke.arrow, then retis.data"
_MERGED = (
    "several, such as a recording and a capture of the same moment, are put together in order of time, "
    "on the clock of the first recording"
)
INPUT = Option(("input",), f"{_FILE} ({_DEFAULT})", {"nargs": "?", "metavar": "IN"})
# For `open_merged`.
INPUTS = Option(("input",), f"{_FILE} ({_DEFAULT}); {_MERGED}", {"nargs": "*", "metavar": "IN"})
SOME_INPUTS = Option(("input",), f"{_FILE}; {_MERGED}", {"nargs": "+", "metavar": "IN"})
# For `fyke.cli.viewing.open_rows`.
RECORDINGS = Option(
    ("input",),
    f"{_FILE} ({_DEFAULT}); several, a directory of them or a pattern are one table, `file` says which",
    {"nargs": "*", "metavar": "IN"},
)

# How events look as text; `style` takes them.
TEXT = (
    Option(
        ("--format",),
        "a line for each section, or one for each event (default: multi-line)",
        {"choices": ("single-line", "multi-line"), "default": "multi-line"},
    ),
    _flag("--utc", help="show times as dates in UTC, not as nanoseconds since boot"),
    Option(
        ("-e",),
        "show link-layer headers, rules, NAT, time in ovs-vswitchd",
        {"action": "store_true", "dest": "link_layer"},
    ),
    Option(
        ("--color",),
        "colour drops, losses and probes (default: auto, on a terminal unless NO_COLOR is set)",
        {"choices": ("auto", "always", "never"), "default": "auto"},
    ),
)
NO_PAGER = _flag("--no-pager", help="don't page on a terminal (so does NOPAGER in the environment)")
PRINT = _flag("--print", help="show the text as well when writing to a file")
OUT_FORMAT = Option(
    ("--out-format",),
    "format of the file written (default: by its name; .json, .jsonl and .data are Retis' JSON lines)",
    {"choices": ("arrow", "json")},
)
# Which packets; `fyke.cli.filtering` takes them.
FILTER = Option(
    ("-f", "--filter-packet"),
    "only packets that match a filter in tcpdump's language, see pcap-filter(7)",
    {"metavar": "EXPR", "action": Once},
    one_of="packet filter",
)
FILTER_FILE = Option(
    ("-F", "--filter-file"),
    "read that filter from a file, as tcpdump does",
    {"metavar": "FILE", "action": Once},
    one_of="packet filter",
)
JOURNEYS = _flag(
    "--journeys", help="with -f or -F: all events of each packet that matches at any of its events"
)
FILTERS = (FILTER, FILTER_FILE, JOURNEYS)
# For `fyke.cli.reading.open_wanted`.
EVENTS = (INPUTS, *FILTERS)

# What reports of journeys have.
TOP = Option(
    ("--top",),
    "how many of each list to show (default: 10)",
    {"metavar": "N", "type": int, "default": 10},
)
JSON_REPORT = _flag("--json", help="everything as one JSON object, times in nanoseconds")


def top_of(args: argparse.Namespace) -> int:
    """Return the number of TOP. Raises UsageError."""
    number: int = args.top
    if number < 1:
        from fyke.errors import UsageError

        raise UsageError(f"--top {number} is less than 1")
    return number


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add options to a command."""
    for option in options:
        action = parser.add_argument(*option.names, help=option.help, **option.settings)
        action.one_of = option.one_of  # type: ignore[attr-defined]  # fyke.profiles.arguments looks at it


def style(args: argparse.Namespace, facts: Facts) -> Style:
    """Return how text is to look, from the options in TEXT and the clock of the recording."""
    from fyke.collectors.formatting import Style

    return Style(
        multi_line=args.format == "multi-line",
        link_layer=args.link_layer,
        utc_offset_ns=facts.clock_monotonic_offset_ns if args.utc else None,
        color=wants_color(args.color),
    )


def wants_color(choice: str) -> bool:
    """Say whether stdout gets colours: `auto` looks at the terminal, NO_COLOR and TERM."""
    if choice != "auto":
        return choice == "always"
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
