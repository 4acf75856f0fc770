"""fyke inspect: what can be probed here, by which mechanism, and what collectors get there."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from fyke.cli.options import Option, add_options
from fyke.events.escape import printable

if TYPE_CHECKING:
    from fyke.capture.probeable import Probeable

SUMMARY = "List what can be probed here"

OPTIONS = (
    Option(
        ("-p", "--probe"),
        "functions and tracepoints that match [TYPE:]PATTERN and give some collector data; TYPE is tp, k, "
        "kr, fe, fx or func, `*` matches anything; of programs, those of u:PATH:PATTERN, "
        "usdt:PATH:PATTERN:PATTERN, xdp:PATTERN and tc:PATTERN; may be repeated (default when given without "
        "one: *)",
        {"metavar": "PATTERN", "nargs": "?", "const": "*", "action": "append"},
    ),
    Option(
        ("-c", "--collectors"),
        "only where one of these collectors gets data (default: all that work here)",
        {"metavar": "LIST", "action": "append"},
    ),
    Option(
        ("-l", "--long"),
        "a table: mechanisms, collectors, and by which argument they get what they take",
        {"action": "store_true"},
    ),
    Option(
        ("--all",),
        "functions, too, where this kernel has no way to probe them",
        {"action": "store_true"},
    ),
    Option(("--json",), "everything as one JSON object", {"action": "store_true"}),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Print the places, sorted, each once; what is to be said of them goes to stderr."""
    from fyke.errors import UsageError

    if not args.probe:
        raise UsageError(
            "inspect needs to know what to look for", "give -p PATTERN, or -p alone for everything"
        )
    from fyke.capture.probeable import Inspection
    from fyke.cli.collect_options import words
    from fyke.kernel.view import LiveKernel

    inspection = Inspection(LiveKernel(), words(args.collectors), everything=args.all)
    places = {one.probe: one for text in args.probe for one in inspection.find(text)}
    found = [places[probe] for probe in sorted(places)]
    if args.json:
        print(json.dumps({"probes": [_facts(one) for one in found], "notes": inspection.notes}, indent=1))
        return 0
    print("\n".join(_table(found) if args.long else [printable(one.probe) for one in found]))
    for note in inspection.notes:
        sys.stderr.write(f"note: {printable(note)}\n")
    return 0


def _facts(one: Probeable) -> dict[str, Any]:
    return {
        "probe": one.probe,
        "type": one.type,
        "symbol": one.symbol,
        "module": one.module or None,
        "mechanisms": list(one.mechanisms),
        "collectors": list(one.collectors),
        "arguments": [{"name": param.name or None, "type": param.type} for param in one.params],
        "found": one.found,
    }


def _table(found: list[Probeable]) -> list[str]:
    """Return lines of columns as wide as what is in them; the last is free."""
    rows = [("PROBE", "MECHANISMS", "COLLECTORS", "FROM")]
    for one in found:
        ways = ", ".join(f"{kind}: {way}" for kind, way in one.found.items())
        module = f" [{one.module}]" if one.module else ""
        mechanisms = ",".join(one.mechanisms) or "none here"
        rows.append((printable(one.probe + module), mechanisms, ",".join(one.collectors), printable(ways)))
    probe, mechanism, collector = (max(len(row[column]) for row in rows) for column in range(3))
    return [f"{a:{probe}}  {b:{mechanism}}  {c:{collector}}  {d}" for a, b, c, d in rows]
