"""fyke sort: events put together to journeys, as text or into a file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fyke.cli.options import EVENTS, NO_PAGER, OUT_FORMAT, PRINT, TEXT, Option, add_options, style

if TYPE_CHECKING:
    from fyke.cli.filtering import RecordingFilter
    from fyke.events.reader import EventSource
    from fyke.events.retis.texts import Texts

SUMMARY = "Put the events of each packet together"
log = logging.getLogger(__name__)

# A sorted file is smaller than what it was made of even so; zstd-1 takes half of that, and twice the time.
_COMPRESSION = "lz4"

OPTIONS = (
    *EVENTS,
    Option(("-o", "--out"), "write the journeys to a file; - is standard output", {"metavar": "FILE"}),
    OUT_FORMAT,
    PRINT,
    Option(
        ("--max-buffer",),
        "accepted for Retis' sake and without effect: journeys are always whole, memory is bounded otherwise",
        {"type": int, "metavar": "N"},
    ),
    *TEXT,
    NO_PAGER,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Sort a file; what is readable of a damaged one, then raise InputError."""
    from fyke.cli.reading import open_wanted
    from fyke.cli.writing import output_format, refuse_input, refuse_stdout

    if args.out is not None:
        refuse_stdout(args.out, output_format(args.out, args.out_format), printed=args.print)
    with open_wanted(args) as (source, wanted):
        if source.facts.order == "journey" and wanted is None:
            log.info("File already sorted")
            return 0
        if args.out is not None:
            refuse_input(args.out, source, "sorted", "write the journeys to another file")
        _sort(args, source, wanted)
    return 0


def _sort(args: argparse.Namespace, source: EventSource, wanted: RecordingFilter | None) -> None:
    from fyke.journeys.sort import sort_source, sorted_facts, sorted_schema

    is_sorted = source.facts.order == "journey"
    schema = source.schema if is_sorted else sorted_schema(source.schema)
    with contextlib.ExitStack() as outputs:
        texts = _texts(args, source, outputs) if wanted is None else None
        batches = sort_source(source) if wanted is None else wanted.sorted(source)
        takers: list[Callable[[Any], None]] = []
        if args.out is not None:
            from fyke.cli.writing import open_writer

            facts = sorted_facts(source.facts)
            if wanted is not None:
                facts = dataclasses.replace(facts, notes=(*facts.notes, wanted.note))
            writer = open_writer(
                args.out, facts, args.out_format, schema=schema, compression=_COMPRESSION, texts=texts
            )
            outputs.enter_context(writer)
            takers.append(writer.write)
        if args.out is None or args.print:
            takers.append(_text(args, source, outputs))
        for batch in batches:
            for take in takers:
                take(batch)


def _texts(args: argparse.Namespace, source: EventSource, outputs: contextlib.ExitStack) -> Texts | None:
    """Say how all of a source is to be read: as events that are copied, closed with the outputs; or codes."""
    from fyke.cli.writing import output_format
    from fyke.journeys.sort import LOOKED_AT

    if args.out is not None and not args.print and output_format(args.out, args.out_format) == "json":
        texts = source.keep_texts(LOOKED_AT)
        if texts is not None:
            outputs.callback(texts.close)
            return texts
    source.keep_codes()
    return None


def _text(
    args: argparse.Namespace, source: EventSource, outputs: contextlib.ExitStack
) -> Callable[[Any], None]:
    """Begin the text on stdout; return what takes batches. It is ended with the outputs."""
    from fyke.render.screen import Screen
    from fyke.render.text import EventText

    screen = outputs.enter_context(Screen(page=not args.no_pager))
    text = EventText(style(args, source.facts), series=True)
    screen.write(text.start(source.facts))
    outputs.callback(lambda: screen.write(text.end()))

    def take(batch: Any) -> None:
        for piece in text.batch(batch):
            screen.write(piece)

    return take
