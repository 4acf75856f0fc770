"""fyke doctor: what this machine can do, and for what is missing: what is lost, and what to do."""

from __future__ import annotations

import argparse
import json
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from fyke.events.escape import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fyke.kernel.features import Answer, Feature
    from fyke.kernel.machine import Machine
    from fyke.kernel.nfnetlink import Table

    Leftovers = Sequence[tuple[str, Table]]

SUMMARY = "Say what this machine can do, and what it lacks"

_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask the kernel everything and print it. Returns 0 when a collection can work here, else 1."""
    from fyke.capture.trace_table import all_leftovers
    from fyke.kernel.features import FEATURES, Features
    from fyke.kernel.machine import machine

    features = Features()
    answers = [
        (feature, features[feature.name])
        for feature in FEATURES
        if not feature.part_of or features[feature.part_of].state != "no"
    ]
    works = all(answer for feature, answer in answers if feature.needed)
    left = all_leftovers()
    if args.json:
        print(json.dumps({**to_json(machine(), answers, works), "leftovers": left_json(left)}, indent=2))
    else:
        print("\n".join([*to_text(machine(), answers, works), *left_text(left)]))
    return 0 if works else 1


def to_json(facts: Machine, answers: Sequence[tuple[Feature, Answer]], works: bool) -> dict[str, Any]:
    """Return the answers as JSON values; `lost` and `fix` are null where nothing is missing."""
    from fyke import __version__

    return {
        "fyke_version": __version__,
        "kernel_release": facts.kernel_release,
        "hardware_name": facts.hardware_name,
        "works": works,
        "features": [
            {
                "name": feature.name,
                "title": feature.title,
                "state": answer.state,
                "why": answer.why or None,
                "needed": feature.needed,
                "since": feature.since or None,
                "lost": None if answer else feature.lost,
                "fix": None if answer else feature.fix,
            }
            for feature, answer in answers
        ],
    }


def to_text(facts: Machine, answers: Sequence[tuple[Feature, Answer]], works: bool) -> list[str]:
    """Return the lines to print: the verdict, what is there, what is missing, what could not be told."""
    lines = [f"Linux {facts.kernel_release} on {facts.hardware_name}: {_verdict(answers, works)}"]
    there = [(feature, answer) for feature, answer in answers if answer.state == "yes"]
    missing = [(feature, answer) for feature, answer in answers if answer.state == "no"]
    untold: dict[str, list[str]] = {}
    for feature, answer in answers:
        if answer.state == "unknown":
            untold.setdefault(answer.why, []).append(feature.title)
    if there:
        lines += ["", "This works:"]
        lines += [f"  {feature.title}{_why(answer)}" for feature, answer in there]
    if missing:
        lines += ["", "This is missing:"]
        for feature, answer in missing:
            lines.append(f"  {feature.title}{_why(answer)}")
            lines += _indented("lost: ", feature.lost)
            lines += _indented("fix:  ", feature.fix)
    for why, titles in untold.items():
        lines += ["", f"This could not be told: {why}", *(f"  {title}" for title in titles)]
    return lines


def left_json(left: Leftovers) -> list[dict[str, str | None]]:
    """Return tables that a collection left as JSON values; netns is null for the namespace we are in."""
    return [
        {
            "netns": name or None,
            "family": table.family,
            "table": table.name.decode(),
            "fix": _delete(name, table),
        }
        for name, table in left
    ]


def left_text(left: Leftovers) -> list[str]:
    """Return the lines to print about them."""
    if not left:
        return []
    lines = ["", "A collection that was killed left this:"]
    for name, table in left:
        place = f"in the network namespace {printable(name)}" if name else "in this network namespace"
        lines.append(f"  the nftables table {table.family} {table.name.decode()} {place}")
        lines.append(f"      fix:  {_delete(name, table)}")
    return lines


def _delete(name: str, table: Table) -> str:
    command = f"nft delete table {table.family} {table.name.decode()}"
    return f"ip netns exec {shlex.quote(printable(name))} {command}" if name else command


def _verdict(answers: Sequence[tuple[Feature, Answer]], works: bool) -> str:
    if not works:
        feature, answer = next((f, a) for f, a in answers if f.needed and not a)
        return f"fyke can't collect here: {answer.why or 'no ' + feature.title}."
    missing = sum(answer.state == "no" for _, answer in answers)
    if missing:
        return f"fyke can collect here, but {missing} thing{'s are' if missing > 1 else ' is'} missing."
    return "fyke can collect here."


def _why(answer: Answer) -> str:
    return f": {answer.why}" if answer.why else ""


def _indented(label: str, text: str) -> list[str]:
    first = " " * 6 + label
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first))
