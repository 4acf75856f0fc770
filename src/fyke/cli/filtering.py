"""What -f, -F and --journeys ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fyke.errors import UsageError

if TYPE_CHECKING:
    from fyke.filters.pcap.compile import PacketFilter
    from fyke.journeys.filtered import RecordingFilter as RecordingFilter


def filter_text(args: argparse.Namespace) -> str | None:
    """Return the expression of FILTER or FILTER_FILE, None when there is none. Raises UsageError."""
    text: str | None = args.filter_packet
    if args.filter_file is not None:
        if text is not None:
            raise UsageError(
                "-f and -F are both given", "join the two expressions with `and`, in one of them"
            )
        from fyke.filters.pcap.compile import read_filter_file

        text = read_filter_file(args.filter_file)
    return text


def packet_filter(args: argparse.Namespace) -> PacketFilter | None:
    """Return the compiled filter of these options, None when there is none. Raises UsageError."""
    text = filter_text(args)
    if text is None:
        return None
    from fyke.filters.pcap.compile import compile_packet_filter

    return compile_packet_filter(text)


def recording_filter(args: argparse.Namespace) -> RecordingFilter | None:
    """Return what is asked for of a recording, None when all of it is. Raises UsageError."""
    compiled = packet_filter(args)
    if compiled is not None:
        from fyke.journeys.filtered import RecordingFilter

        return RecordingFilter(compiled, journeys=args.journeys)
    if args.journeys:
        raise UsageError("--journeys needs a packet filter", "say which packets: -f EXPR, or -F FILE")
    return None
