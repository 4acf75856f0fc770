"""fyke pcap: the packets of a recording as a capture for tcpdump and Wireshark."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fyke.cli.options import EVENTS, Option, add_options
from fyke.errors import UsageError
from fyke.events.output import STDOUT

if TYPE_CHECKING:
    from fyke.cli.filtering import RecordingFilter
    from fyke.events.reader import EventSource
    from fyke.export.pcap_probes import Probe, WantedProbe
    from fyke.export.pcap_write import PcapWriter, Sink

_RECORD = "record with the collector skb"
SUMMARY = "Write the packets of a file as a pcapng capture"
log = logging.getLogger(__name__)

OPTIONS = (
    *EVENTS,
    Option(
        ("-p", "--probe"),
        "only packets seen at this probe; * stands for anything; may be repeated (default: all probes)",
        {"action": "append", "default": [], "metavar": "[TYPE:]TARGET"},
    ),
    Option(("-o", "--out"), "write the capture to a file (default: standard output)", {"metavar": "FILE"}),
    Option(
        ("--schema",),
        "begin with the JSON Schema of the events, for Retis' plugin for Wireshark; other tools show it as a "
        "packet without a time",
        {"action": "store_true"},
    ),
    Option(
        ("-l", "--list-probes"),
        "list the probes at which there are packets, as -p takes them",
        {"action": "store_true"},
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Write the capture, or list the probes; what is readable of a damaged file, then raise InputError."""
    from fyke.cli.reading import open_wanted
    from fyke.cli.writing import refuse_input

    check_arguments(args)
    probes = [wanted_probe(text) for text in args.probe]
    if args.out == STDOUT:
        args.out = None
    if not args.list_probes and args.out is None and os.isatty(1):
        raise UsageError(
            "a capture is nothing for a terminal",
            "name a file with -o, or pipe it: fyke pcap | tcpdump -nr -",
        )
    columns = ("kernel", "packet") if args.list_probes else None
    with open_wanted(args, columns) as (source, wanted):
        if args.out is not None:
            refuse_input(args.out, source, "exported", "write the capture to another file")
        if args.list_probes:
            _list(source, wanted)
        else:
            _write(args, source, wanted, probes)
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UsageError for what is wrong with any recording."""
    probes = [wanted_probe(text) for text in args.probe]
    if args.list_probes and (probes or args.out is not None):
        raise UsageError("--list-probes goes with neither -p nor -o", "leave it out, or them")


def wanted_probe(text: str) -> WantedProbe:
    """Return the probe that `[TYPE:]TARGET` asks for. Raises UsageError."""
    from fyke.capture.probe_spec import TYPES
    from fyke.events.pcapng import PROBE_TYPE as CAPTURE
    from fyke.export.pcap_probes import WantedProbe

    head, colon, rest = text.partition(":")
    if head == CAPTURE and colon:
        kind, target = CAPTURE, rest
    elif colon and head in TYPES:
        kind, target = TYPES[head], rest
    elif text.count(":") == 1:
        kind, target = TYPES["tp"], text
    elif colon:
        raise UsageError(f"unknown probe type {head!r} in {text!r}", f"types: {', '.join(TYPES)}, {CAPTURE}")
    else:
        kind, target = TYPES["func"], text
    if not target:
        raise UsageError(f"probe {text!r} names no target", "`fyke pcap --list-probes` lists the probes")
    # A function's entry: whichever mechanism was taken.
    return WantedProbe(text, TYPES["k"] if kind == TYPES["func"] else kind, target)


def _list(source: EventSource, wanted: RecordingFilter | None) -> None:
    """Print the probes; for a damaged file those before the damage."""
    from fyke.errors import InputError
    from fyke.export.pcap_probes import probes_of

    found: set[Probe] = set()
    try:
        for batch in source.batches() if wanted is None else wanted.batches(source):
            found |= probes_of(batch)
    except InputError:
        _print_names(found)
        raise
    if not found:
        raise UsageError("no event holds a packet, so there are no probes to list", _RECORD)
    _print_names(found)


def _print_names(probes: set[Probe]) -> None:
    for name in sorted({probe.name for probe in probes}):
        print(name)


def _write(
    args: argparse.Namespace, source: EventSource, wanted: RecordingFilter | None, probes: list[WantedProbe]
) -> None:
    """Write the capture. A file is made only when there is something to write."""
    from fyke.errors import InputError
    from fyke.export.pcap_write import PcapWriter

    with contextlib.ExitStack() as outputs:
        writer = PcapWriter(lambda: _open(args.out, outputs), source.facts, probes, with_schema=args.schema)
        try:
            for batch in source.batches() if wanted is None else wanted.batches(source):
                writer.write(batch)
        except InputError:
            report_capture(writer, probes)
            raise
        if probes and not writer.found:
            raise UsageError("Probe not found in the events", "`fyke pcap --list-probes` lists the probes")
        writer.begin()
        report_capture(writer, probes)


def _open(out: str | None, outputs: contextlib.ExitStack) -> Sink:
    if out is None:
        return _Stdout()
    from fyke.events.output import Output

    output = Output(out, lambda _number: b"")
    outputs.callback(output.close)
    return output


class _Stdout:
    """Writes a capture to standard output."""

    def __init__(self) -> None:
        from fyke.render.screen import Screen

        self._screen = Screen(page=False)

    def append(self, block: bytes | memoryview, events: int) -> None:
        self._screen.write(block)


def report_capture(writer: PcapWriter, probes: Sequence[WantedProbe]) -> None:
    """Tell what of the events at the probes is in a capture, and what is not."""
    for probe in probes:
        if probe not in writer.found:
            log.warning(f"{probe.text}: no such probe in the events")
    log.info(f"{writer.at_probes} event(s) were processed")
    if writer.no_packet:
        log.warning(f"{writer.no_packet} of them hold no packet and were left out: {_RECORD}")
    if writer.lost:
        log.warning(f"{writer.lost} events were lost when this was recorded: packets are missing here")
