"""fyke schema: what an event is in JSON, or the columns of the views, for people and programs."""

from __future__ import annotations

import argparse
import json

from fyke.cli.options import Option, add_options

SUMMARY = "Show the JSON Schema of an event"

OPTIONS = (
    Option(
        ("--views",),
        "show the views of `fyke query` and their columns instead, as Markdown",
        {"action": "store_true"},
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Print the schema, or the page of the views."""
    if args.views:
        from fyke.journeys.views_columns import views_page

        print(views_page(), end="")
        return 0
    from fyke.events.json_schema import event_schema

    print(json.dumps(event_schema(), indent=2))
    return 0
