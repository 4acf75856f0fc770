"""fyke convert: a recording in another format."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fyke.cli.options import FILTERS, SOME_INPUTS, Option, add_options
from fyke.errors import UsageError
from fyke.export.convert import FORMATS, PERFETTO, format_of

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.cli.filtering import RecordingFilter
    from fyke.events.reader import EventSource

SUMMARY = "Write a recording in another format"

OPTIONS = (
    SOME_INPUTS,
    Option(
        ("out",),
        "file to write; its name says the format: .json, .jsonl or .data (Retis' JSON lines), .parquet, "
        ".csv, .pcapng, .perfetto.json (for ui.perfetto.dev); any other is Arrow; - is standard output",
        {"metavar": "OUT"},
    ),
    Option(("--to",), "format of OUT, whatever its name", {"choices": FORMATS}),
    Option(
        ("--tracks",),
        "what is a track of a perfetto trace: each journey, with the time of every hop, or each CPU "
        "(default: journey)",
        {"choices": ("journey", "cpu")},
    ),
    *FILTERS,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Convert a file; what is readable of a damaged one, then raise InputError."""
    from fyke.cli.reading import open_wanted
    from fyke.cli.writing import refuse_input, refuse_stdout

    refuse_stdout(args.out, format_of(args.out, args.to))
    with open_wanted(args) as (source, wanted):
        refuse_input(args.out, source, "converted", "write to another file")
        _convert(args, source, wanted)
    return 0


def _convert(args: argparse.Namespace, source: EventSource, wanted: RecordingFilter | None) -> None:
    from fyke.export.convert import CaptureFile, event_file

    kind = format_of(args.out, args.to)
    if args.tracks is not None and kind != PERFETTO:
        raise UsageError(f"--tracks is for perfetto traces, and {args.out} will be {kind}", "leave it out")
    facts = dataclasses.replace(source.facts, split_id=None, split_limit_bytes=None)
    if wanted is not None:
        facts = dataclasses.replace(facts, notes=(*facts.notes, wanted.note))
    if kind == PERFETTO:
        facts = dataclasses.replace(facts, order="time" if args.tracks == "cpu" else "journey")
    file = event_file(args.out, kind, facts, source.schema)
    try:
        with file:
            for batch in _batches(source, wanted, facts.order):
                file.write(batch)
    finally:
        if isinstance(file, CaptureFile):
            from fyke.cli.pcap import report_capture

            report_capture(file.capture, [])


def _batches(source: EventSource, wanted: RecordingFilter | None, order: str) -> Iterator[pa.RecordBatch]:
    """Return what is wanted of a source, as journeys if it is, or is to be, in that order."""
    if wanted is not None:
        return wanted.sorted(source) if order == "journey" else wanted.batches(source)
    if order == "journey" and source.facts.order != order:
        from fyke.journeys.sort import sort

        return sort(source.batches(), source.schema)
    return source.batches()
