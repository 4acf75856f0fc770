"""fyke stats: what a recording holds, in numbers."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fyke.cli.options import FILTERS, INPUT, NO_PAGER, Option, add_options
from fyke.cli.query import MEMORY
from fyke.errors import UsageError

SUMMARY = "Count what a file holds: events, losses, drops, flows, paths"
PARTS_HELP = "summary, loss, tracking, drops, rate, flows, paths, hops"
OPTIONS = (
    INPUT,
    *FILTERS,
    Option(
        ("--all",),
        "also flows, paths and hops, which put the journeys together: some five times the work",
        {"action": "store_true"},
    ),
    Option(("--parts",), f"only these parts, comma separated: {PARTS_HELP}", {"metavar": "PART,..."}),
    Option(("--json",), "one JSON object of all parts, or those of --parts", {"action": "store_true"}),
    MEMORY,
    NO_PAGER,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Show the statistics; of a damaged file those of what is readable, then raise InputError."""
    from fyke.cli.viewing import memory_bytes, open_one
    from fyke.journeys.stats import QUERIED, Stats, queried

    parts = wanted_parts(args)
    memory = memory_bytes(args.memory)
    with open_one(args, args.input) as rows:
        stats = Stats(parts)
        stats.read(rows)
        asked: dict[str, list[dict[str, Any]]] = {}
        if parts & set(QUERIED):
            from fyke.journeys.views import Views

            with Views(rows, memory_bytes=memory) as views:
                asked = queried(views, parts)
        _show(args, stats, asked)
    return 0


def wanted_parts(args: argparse.Namespace) -> frozenset[str]:
    """Return the parts that the options ask for. Raises UsageError."""
    from fyke.journeys.stats import COUNTED, PARTS

    if args.parts is None:
        return frozenset(PARTS if args.all or args.json else COUNTED)
    if args.all:
        raise UsageError("--all and --parts are both given", "choose one of them")
    names = [name.strip() for name in args.parts.split(",")]
    for name in names:
        if name not in PARTS:
            raise UsageError(f"there is no part '{name}'", f"parts: {PARTS_HELP}")
    return frozenset(names)


def _show(args: argparse.Namespace, stats: Any, asked: dict[str, list[dict[str, Any]]]) -> None:
    from fyke.cli.stats_text import stats_object, stats_text

    if args.json:
        import json

        sys.stdout.write(json.dumps(stats_object(stats, asked), indent=2) + "\n")
        return
    from fyke.render.screen import Screen

    with Screen(page=not args.no_pager) as screen:
        screen.write(stats_text(stats, asked).encode("utf-8", "backslashreplace"))
