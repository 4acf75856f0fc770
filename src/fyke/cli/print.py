"""fyke print: the text of a recorded file."""

from __future__ import annotations

import argparse

from fyke.cli.options import EVENTS, NO_PAGER, TEXT, add_options, style

SUMMARY = "Show the events of a file as text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, (*EVENTS, *TEXT, NO_PAGER))


def run(args: argparse.Namespace) -> int:
    """Print the events of a file, sorted or not; what is readable of a damaged one, then raise InputError."""
    from fyke.cli.reading import open_wanted
    from fyke.errors import InputError
    from fyke.render.screen import Screen
    from fyke.render.text import EventText

    with open_wanted(args) as (source, wanted):
        if wanted is None:
            source.keep_codes()
        batches = source.batches() if wanted is None else wanted.batches(source)
        text = EventText(style(args, source.facts), series=source.facts.order == "journey")
        with Screen(page=not args.no_pager) as screen:
            screen.write(text.start(source.facts))
            files = len(source.files)
            try:
                for batch in batches:
                    if len(source.files) > files:
                        files = len(source.files)
                        screen.write(text.start(source.files[-1][1]))
                    for piece in text.batch(batch):
                        screen.write(piece)
            except InputError:
                screen.write(text.end())
                raise
            screen.write(text.end())
    return 0
