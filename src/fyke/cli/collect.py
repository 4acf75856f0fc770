"""fyke collect: events from the running kernel, as text or into a file."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fyke.cli import first_time
from fyke.cli.collect_options import OPTIONS, check_output, collect_options, size_of, words
from fyke.cli.collect_told import tell_end, tell_legacy, tell_started
from fyke.cli.imports import users_environment
from fyke.cli.options import add_options, style
from fyke.errors import FykeError

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.capture.plan import Options, Plan
    from fyke.capture.stopping import StopSignals
    from fyke.events.facts import Facts

SUMMARY = "Collect events from the running kernel"
log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Collect, or show the plan. Returns 130 after a second signal."""
    from fyke.kernel.view import LiveKernel

    told: list[str] = []
    if first_time.is_alone(args):
        from fyke.kernel.ancestors import inherited

        told = first_time.begin(args, inherited, terminal=os.isatty(1))
    options = collect_options(args)
    check_output(args)
    with _tracefs(args), _trace_tables(args, options) as tables:
        from fyke.capture.begin import cpus
        from fyke.capture.plan import make_plan
        from fyke.kernel.rights import rights_first

        # What a profile's conditions have read is read already, unless tracefs has come since.
        known = None if args.allow_system_changes else getattr(args, "kernel", None)
        kernel = known or LiveKernel()
        try:
            with contextlib.nullcontext() if args.dry_run else rights_first(kernel):
                plan = make_plan(options, kernel, *cpus())
        except FykeError as error:
            raise _perhaps_a_profile(error, args) from error
        if args.dry_run:
            _show(plan, kernel, args)
            return 0
        if tables and all(c.name != "nft" for c in plan.collectors):
            tables.close()
        return _collect(args, plan, kernel, told)


def _perhaps_a_profile(error: FykeError, args: argparse.Namespace) -> FykeError:
    """Return the error; its hint is another one when a probe has the name of a profile."""
    from fyke.cli.profiled import is_profile

    name = next((text for text in args.probe or () if text in str(error) and is_profile(text)), None)
    return error if name is None else type(error)(error.message, f"the profile is: fyke -p {name} collect")


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UsageError for what is wrong on any kernel; nothing is done."""
    from fyke.capture.plan import check_options

    check_options(collect_options(args))
    check_output(args)


def _tracefs(args: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    """Mount tracefs if that was allowed, and neither the mounted one nor a private one can be read."""
    from fyke.kernel import tracepoints

    if not args.allow_system_changes:
        return contextlib.nullcontext()
    with contextlib.suppress(OSError):
        tracepoints.available_events()
        return contextlib.nullcontext()
    return _mounted_tracefs()


def _trace_tables(args: argparse.Namespace, options: Options) -> contextlib.AbstractContextManager[Any]:
    """Have nftables trace packets if that was allowed."""
    if not args.allow_system_changes or args.dry_run:
        return contextlib.nullcontext()
    from fyke.capture.trace_table import trace_tables

    return trace_tables(options) or contextlib.nullcontext()


@contextlib.contextmanager
def _mounted_tracefs() -> Iterator[None]:
    from fyke.errors import Unsupported
    from fyke.kernel import tracepoints

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(tracepoints.mounted_tracefs())
        except OSError as e:
            raise Unsupported(
                f"tracefs can't be mounted: {e.strerror}",
                "run it as root, or leave --allow-system-changes out",
            ) from e
        yield


def _show(plan: Plan, kernel: Any, args: argparse.Namespace) -> None:
    import json

    from fyke.capture.describe import plan_facts, plan_text
    from fyke.capture.load import plan_filter_code, plan_layout

    code = plan_filter_code(plan, kernel)  # too long a filter is said now
    if args.dump:
        from fyke.capture.dump import dump

        print("\n".join(dump(stage, plan.filters, code) for stage in words(args.dump)))
        return
    facts = plan_facts(plan, plan_layout(plan))
    print(json.dumps(facts, indent=2) if args.json else plan_text(facts))


def _collect(args: argparse.Namespace, plan: Plan, kernel: Any, told: Sequence[str]) -> int:
    from fyke.capture.ready import clear_ready_file
    from fyke.capture.run import Run
    from fyke.capture.session import Session
    from fyke.capture.stopping import Command, StopSignals

    if args.ready_file is not None:
        clear_ready_file(args.ready_file)
    facts = _facts(plan, getattr(args, "expanded", ()))
    command = Command(args.cmd, users_environment()) if args.cmd is not None else None
    with StopSignals() as signals, contextlib.ExitStack() as stack:
        live = args.out is None or args.print
        session = stack.enter_context(Session(plan, kernel, _progress(signals)))
        # Only now: a collection that can't start leaves the file of an earlier one alone.
        sink = _sinks(args, plan, facts, signals, stack)
        tell_started(plan, session.missing, told)
        tell_legacy(plan, args.netns)
        run = Run(
            session,
            sink,
            signals,
            command=command,
            live=live,
            stop_after=args.stop_after,
            ready_file=args.ready_file,
        )
        run.go()
        tell_end(run)
        if args.save_profile is not None:
            from fyke.cli.found_profile import save_found

            save_found(args, session)
        return 130 if signals.count > 1 else 0


def _progress(signals: StopSignals) -> Callable[[int, int], None]:
    """Return what shows the progress of attaching, when it takes long and somebody looks, and can end it."""
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        if signals.count:
            raise KeyboardInterrupt
        if sys.stderr.isatty() and time.monotonic() - started > 2:
            sys.stderr.write(f"\rattaching {done} of {total}{'' if done < total else chr(10)}")
            sys.stderr.flush()

    return show


def _sinks(
    args: argparse.Namespace, plan: Plan, facts: Facts, signals: StopSignals, stack: contextlib.ExitStack
) -> Callable[[pa.RecordBatch], None]:
    """Open what events go to: a file, the text on stdout, or both."""
    takers: list[Callable[[Any], None]] = []
    if args.out is not None:
        from fyke.cli.writing import open_writer
        from fyke.events.schema import recorded_schema

        limit, schema = size_of(args.out_rotate, "--out-rotate"), recorded_schema(plan.columns)
        writer: Any = stack.enter_context(
            open_writer(args.out, facts, args.out_format, schema=schema, limit_bytes=limit)
        )
        takers.append(writer.write)
        for path in writer.removed:
            log.warning("removed %s, left by an earlier collection", path)
    if args.out is None or args.print:
        from fyke.cli.live_text import LiveText
        from fyke.render.text import EventText

        text, out = EventText(style(args, facts)), LiveText(signals)
        takers.append(lambda batch: out.write(text.batch(batch)))
        out.write([text.start(facts)])

    def sink(batch: pa.RecordBatch) -> None:
        for take in takers:
            take(batch)

    return sink


def _facts(plan: Plan, expanded: Sequence[str]) -> Facts:
    """Return the facts of the collection. expanded: what profiles added to the command line."""
    from fyke import __version__
    from fyke.capture.begin import facts_of

    return facts_of(plan, shlex.join(["fyke", *sys.argv[1:], *expanded]), __version__)
