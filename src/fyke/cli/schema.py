"""fyke schema: what an event is in JSON, or the views and their SQL, for people and programs."""

from __future__ import annotations

import argparse
import json

from fyke.cli.options import Option, add_options
from fyke.journeys.dialects import DIALECTS

SUMMARY = "Show the JSON Schema of an event"

OPTIONS = (
    Option(
        ("--views",),
        "show the views of `fyke query` and their columns instead, as Markdown",
        {"action": "store_true"},
    ),
    Option(
        ("--sql",),
        "show the statements that make the views, over a table `recorded`, in the SQL of an engine",
        {"choices": DIALECTS},
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Print the schema, the page of the views, or their SQL (with --views or without)."""
    if args.sql is not None:
        from fyke.journeys.dialects import views_script

        print(views_script(args.sql), end="")
        return 0
    if args.views:
        from fyke.journeys.views_columns import views_page

        print(views_page(), end="")
        return 0
    from fyke.events.json_schema import event_schema

    print(json.dumps(event_schema(), indent=2))
    return 0
