"""The command: python -m bench [--quick] [--json] [NAME ...]"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import signal
import sys
import time
from types import FrameType

from fyke.cli.imports import keep_light

# name -> module whose `measure(quick=...)` yields the lines, and what it is about
MEASUREMENTS = {
    "kernel": ("kernel_cost", "BPF time per hit, against an empty program"),
    "netfilter": ("netfilter", "nft and ct: per verdict, verdicts per second, start beside many rules"),
    "ovs": ("openvswitch", "Open vSwitch: upcalls per second without loss, a burst of flows, per probe"),
    "throughput": ("throughput", "events per second without loss; CPU and memory of fyke"),
    "stages": ("stages", "where fyke's CPU goes between ring and file"),
    "file": ("file_size", "bytes per event on mixed traffic"),
    "text": ("print_sort", "print and sort, in events per CPU second"),
    "recordings": (
        "recordings",
        "what is done with files, in events per CPU second; memory, first page, size",
    ),
    "start": ("start_stop", "seconds to ready, and to stop; the generic profile; 1,500 functions"),
    "mechanisms": ("mechanisms", "what a kprobe, kprobe.multi or fentry costs the traffic"),
    "filters": ("filters", "packet filters: verdicts against libpcap, speed of the evaluation"),
}
_ANYONE = {"recordings"}  # loads nothing into the kernel, and sends nothing


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure fyke on this machine (root; traffic stays in namespaces made for it).",
        epilog="; ".join(f"{name}: {text}" for name, (_, text) in MEASUREMENTS.items()),
    )
    parser.add_argument("name", nargs="*", choices=[*MEASUREMENTS, []], help="what to measure (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="once, and little: whether it works, not how fast"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if os.geteuid() != 0 and not (options.name and _ANYONE.issuperset(options.name)):
        print("error: this loads BPF programs and makes network namespaces: run it as root", file=sys.stderr)
        return 1
    keep_light()  # as the program does: some run its loop in here
    signal.signal(signal.SIGTERM, _end)  # as Ctrl-C: everything is taken down
    for name in options.name or MEASUREMENTS:
        _measure(name, quick=options.quick, as_json=options.json)
    return 0


def _measure(name: str, *, quick: bool, as_json: bool) -> None:
    module, text = MEASUREMENTS[name]
    started = time.monotonic()
    if not as_json:
        print(f"== {name}: {text}", flush=True)
    for line in importlib.import_module(f"bench.{module}").measure(quick=quick):
        if quick:  # says nothing about how fast it is
            line = dataclasses.replace(line, at_most=None, at_least=None)
        print(json.dumps({"name": name, **line.facts()}) if as_json else f"  {line}", flush=True)
    if not as_json:
        print(f"  ({time.monotonic() - started:.0f} s)", flush=True)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
