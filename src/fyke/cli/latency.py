"""fyke latency: how long packets take from point to point."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fyke.cli.options import FILTERS, JSON_REPORT, NO_PAGER, RECORDINGS, TOP, add_options, top_of
from fyke.cli.query import MEMORY

if TYPE_CHECKING:
    from fyke.journeys.latency import Latency, Row

SUMMARY = "Show the time that packets take from point to point"

OPTIONS = (
    RECORDINGS,
    *FILTERS,
    MEMORY,
    TOP,
    JSON_REPORT,
    NO_PAGER,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Measure a recording; what is readable of a damaged one, then raise InputError."""
    from fyke.cli.viewing import open_views

    most = top_of(args)
    with open_views(args, args.input) as views:
        from fyke.journeys.latency import latency

        _write(args, latency(views, slowest=most), most)
    return 0


def _write(args: argparse.Namespace, found: Latency, top: int) -> None:
    import json

    from fyke.render.screen import Screen

    if args.json:
        print(json.dumps(found.facts(), indent=2))
        return
    with Screen(page=not args.no_pager) as screen:
        screen.write("".join(f"{line}\n" for line in _text(found, top)).encode("utf-8", "replace"))


def _text(found: Latency, top: int) -> list[str]:
    from fyke.render.report import aligned, duration, histogram, more, way

    if not found.hops:
        return ["No packet was seen at more than one point: record with the collector skb-tracking."]
    times = ("p50_ns", "p90_ns", "p99_ns", "max_ns")
    heads = ["count", "p50", "p90", "p99", "max"]
    hops = [
        [f"{row['from_symbol']} > {row['to_symbol']}", *_numbers(row, times), duration(row["total_ns"])]
        for row in found.hops[:top]
    ]
    lines = ["Hops, by the time spent in all:", *_shift(aligned(["hop", *heads, "total"], hops))]
    lines += more(len(found.hops), top, "hops")
    lines += ["", "Paths, by the number of packets:"]
    for row in found.paths[:top]:
        figures = "  ".join(f"{h} {v}" for h, v in zip(heads, _numbers(row, times), strict=True))
        lines += [f"  {figures}", f"    {way(row['path'].split(' > '))}"]
    lines += more(len(found.paths), top, "paths")
    lines += ["", "Slowest packets:"]
    slow = [
        [
            f"#{row['packet_id']}" if row["packet_id"] else f"journey {row['journey']}",
            duration(row["duration_ns"]),
            f"{duration(row['delta_ns'])} at {row['from_symbol']} > {row['to_symbol']}",
            row["tuple"] or "",
        ]
        for row in found.slowest
    ]
    lines += _shift(aligned(["packet", "time", "longest hop", "from and to"], slow, left=4))
    lines += ["", "Time of packets from first to last point:", *_shift(histogram(found.histogram))]
    uncertain = sum(row["uncertain"] for row in found.paths)
    if uncertain:
        lines += ["", f"Events may have been lost on {uncertain} packets' ways: their hops may be several."]
    return lines


def _numbers(row: Row, times: tuple[str, ...]) -> list[str]:
    from fyke.render.report import duration

    return [str(row["count"]), *(duration(row[name]) for name in times)]


def _shift(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
