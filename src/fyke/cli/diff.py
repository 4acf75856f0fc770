"""fyke diff: what two recordings, or two parts of one, have in common and what not."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from fyke.cli.options import FILTERS, JSON_REPORT, NO_PAGER, TOP, Option, add_options, top_of
from fyke.cli.query import MEMORY

if TYPE_CHECKING:
    from fyke.journeys.diff import Difference, PathCount

SUMMARY = "Compare the paths and hop times of two recordings"

OPTIONS = (
    Option(
        ("left",),
        "event file of fyke or Retis, or a directory of them; FILE.. as elsewhere",
        {"metavar": "A"},
    ),
    Option(
        ("right",),
        "the other one (default: A again, seen through --left and --right)",
        {"nargs": "?", "metavar": "B"},
    ),
    *FILTERS,
    MEMORY,
    Option(("--left",), "packet filter for A alone", {"metavar": "EXPR", "dest": "left_filter"}),
    Option(("--right",), "packet filter for B alone", {"metavar": "EXPR", "dest": "right_filter"}),
    TOP,
    JSON_REPORT,
    NO_PAGER,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Compare; what is readable of a damaged recording, then raise InputError."""
    from fyke.cli.viewing import open_views
    from fyke.errors import UsageError

    most = top_of(args)
    if args.right is None and args.left_filter is None and args.right_filter is None:
        raise UsageError("there is nothing to compare with", "name another file, or give --left and --right")
    sides = [_side(args, text) for text in (args.left_filter, args.right_filter)]
    with contextlib.ExitStack() as stack:
        left = stack.enter_context(open_views(sides[0], [args.left]))
        right = stack.enter_context(open_views(sides[1], [args.right or args.left]))
        from fyke.journeys.diff import difference

        _write(args, difference(left, right), most)
    return 0


def _side(args: argparse.Namespace, own: str | None) -> argparse.Namespace:
    """Return the options with the packet filter of one side: its own, and that of both. Raises UsageError."""
    from fyke.cli.filtering import filter_text

    both = filter_text(args)
    if own is not None:
        from fyke.filters.pcap.compile import compile_packet_filter

        compile_packet_filter(own)  # its mistakes are told in its own words
        both = own if both is None else f"({both}) and ({own})"
    return argparse.Namespace(**vars(args) | {"filter_packet": both, "filter_file": None})


def _write(args: argparse.Namespace, found: Difference, top: int) -> None:
    import json

    from fyke.render.screen import Screen

    if args.json:
        print(json.dumps(asdict(found), indent=2))
        return
    with Screen(page=not args.no_pager) as screen:
        screen.write("".join(f"{line}\n" for line in _text(found, top)).encode("utf-8", "replace"))


def _text(found: Difference, top: int) -> list[str]:
    lines = [*_alone("A", found.left_only, top), "", *_alone("B", found.right_only, top), ""]
    lines += [*_shared(found, top), "", *_hops(found, top)]
    for side, lost in zip("AB", found.lost, strict=True):
        if lost:
            lines += ["", f"{lost} events were lost in {side}: paths there may be longer than they look."]
    return lines


def _alone(side: str, paths: list[PathCount], top: int) -> list[str]:
    """Return the paths of one side, each with the point at which the other side goes another way."""
    from fyke.render.report import more, way

    if not paths:
        return [f"Every path of {side} is in the other one too."]
    total = sum(p.left + p.right for p in paths)
    lines = [f"Only in {side}: {len(paths)} paths, {total} packets"]
    for path in paths[:top]:
        lines += [f"  {path.left + path.right}  {way(path.path)}", f"      {_parting(path)}"]
    return lines + more(len(paths), top, "paths")


def _parting(path: PathCount) -> str:
    from fyke.events.escape import printable

    if path.nearest is None or not path.common:
        return "begins as no path of the other one does"
    after = printable(path.path[path.common - 1])
    goes = printable(path.path[path.common]) if path.common < len(path.path) else "the end"
    other = printable(path.nearest[path.common]) if path.common < len(path.nearest) else "the end"
    return f"parts after {after}: to {goes}, in the other one to {other}"


def _shared(found: Difference, top: int) -> list[str]:
    from fyke.render.report import more, way

    if not found.both:
        return ["No path is in both."]
    rows = [[str(p.left), str(p.right), way(p.path)] for p in found.both[:top]]
    width = [max(len(cell) for cell in column) for column in zip(("A", "B", ""), *rows, strict=True)]
    lines = [f"In both: {len(found.both)} paths", f"  {'A':>{width[0]}}  {'B':>{width[1]}}  path"]
    lines += [f"  {left:>{width[0]}}  {right:>{width[1]}}  {path}" for left, right, path in rows]
    return lines + more(len(found.both), top, "paths")


def _hops(found: Difference, top: int) -> list[str]:
    from fyke.render.report import aligned, duration, more

    if not found.hops:
        return ["No hop is in both."]
    heads = ["hop", "A count", "B count", "A p50", "B p50", "A p99", "B p99", "B/A"]
    rows = [
        [
            f"{hop.from_symbol} > {hop.to_symbol}",
            str(hop.left_count),
            str(hop.right_count),
            *(duration(ns) for ns in (hop.left_p50_ns, hop.right_p50_ns, hop.left_p99_ns, hop.right_p99_ns)),
            f"{hop.ratio:.2f}",
        ]
        for hop in found.hops[:top]
    ]
    lines = ["Time per hop, those first that moved most in all:"]
    return [*lines, *(f"  {line}" for line in aligned(heads, rows)), *more(len(found.hops), top, "hops")]
