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
from fyke.cli.options import FILTER, FILTER_FILE, OUT_FORMAT, PRINT, TEXT, Once, Option, add_options, style
from fyke.errors import FykeError

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.capture.filters import FilterOptions
    from fyke.capture.plan import Options, Plan
    from fyke.capture.run import Run
    from fyke.capture.session import Session
    from fyke.capture.stopping import StopSignals
    from fyke.events.facts import Facts

SUMMARY = "Collect events from the running kernel"
log = logging.getLogger(__name__)

DEFAULT_OUT = "fyke.arrow"
DUMP_STAGES = ("cbpf", "ebpf", "fields")

OPTIONS = (
    Option(
        ("-c", "--collectors"),
        "what to collect: auto (all that work here), or some of skb-tracking, skb-drop, skb, ns, dev, nft, "
        "ct; those named must work (default: auto)",
        {"metavar": "LIST", "action": "append"},
    ),
    Option(
        ("-p", "--probe"),
        "where: [TYPE:]TARGET[/OPTION]; TYPE is tp (tracepoint), k (kprobe), kr (kretprobe), fe (fentry), "
        "fx (fexit) or func (default: tp for SUBSYSTEM:NAME, else func), `*` matches, OPTION is stack; may "
        "be repeated (default: tp:net:netif_receive_skb and tp:net:net_dev_start_xmit)",
        {"metavar": "PROBE", "action": "append"},
    ),
    FILTER,
    FILTER_FILE,
    Option(
        ("--filter-inner",),
        "only packets inside VXLAN, Geneve, GRE or IP that match a filter in tcpdump's language",
        {"metavar": "EXPR", "action": Once},
    ),
    Option(
        ("-m", "--filter-meta"),
        "only packets whose kernel structures match, e.g. 'sk_buff.mark == 7'",
        {"metavar": "EXPR", "action": Once},
    ),
    Option(
        ("--pid",),
        "only what happens while this process (or thread) runs; receiving packets is mostly nobody's",
        {"metavar": "PID", "type": int, "action": Once},
    ),
    Option(
        ("--netns",), "only packets in a network namespace", {"metavar": "NAME|PATH|INODE", "action": Once}
    ),
    Option(
        ("--netif",),
        "only packets at a network device, of the namespace of --netns or of this one",
        {"metavar": "NAME", "action": Once},
    ),
    Option(
        ("--skb-sections",),
        "more of the skb: meta, dataref, gso, all",
        {"metavar": "LIST", "action": "append"},
    ),
    Option(
        ("--nft-verdicts",),
        "which verdicts of nftables: continue, break, jump, goto, return, drop, accept, stolen, queue, "
        "repeat, all (default: drop,accept)",
        {"metavar": "LIST", "action": "append"},
    ),
    Option(
        ("--ct-events",),
        "also where connections are created and destroyed, and why; with filters, those whose packets passed",
        {"action": "store_true"},
    ),
    Option(("--snaplen",), "bytes to keep of each packet (default: 256)", {"metavar": "N", "type": int}),
    Option(("--stack",), "a stack trace with every event", {"action": "store_true"}),
    Option(
        ("-o", "--out"),
        "write events to FILE, - for standard output (default when given without one: fyke.arrow)",
        {"metavar": "FILE", "nargs": "?", "const": DEFAULT_OUT},
    ),
    OUT_FORMAT,
    Option(
        ("--out-rotate",),
        "begin a new file (OUT.0, OUT.1 ...) before one grows larger than this, e.g. 100MB or 1GiB",
        {"metavar": "SIZE"},
    ),
    PRINT,
    Option(
        ("--buffer",),
        "memory for events on their way, all CPUs together (default: 1 MiB a CPU, at least 64 MiB)",
        {"metavar": "SIZE"},
    ),
    Option(("--max-probes",), "refuse more probes than this (default: 2048)", {"metavar": "N", "type": int}),
    Option(("--cmd",), "run a shell command, and stop when it ends", {"metavar": "COMMAND"}),
    Option(("--stop-after",), "stop after so many events", {"metavar": "COUNT", "type": int}),
    Option(("--ready-file",), "write this file when events flow", {"metavar": "PATH"}),
    Option(
        ("--allow-system-changes",),
        "for the time of the collection, have nftables trace the packets of the packet filter (for the "
        "collector nft; in the namespace of --netns, or in this one), and mount tracefs where it can't be "
        "read otherwise",
        {"action": "store_true"},
    ),
    Option(("--dry-run",), "show what would be done, and stop", {"action": "store_true"}),
    Option(("--json",), "show the plan of --dry-run as JSON", {"action": "store_true"}),
    Option(
        ("--dump",),
        "with --dry-run, show how filters were compiled instead of the plan: cbpf (as libpcap does it), ebpf "
        "(as the kernel runs it), fields (where each is); may be repeated",
        {"metavar": "STAGE", "action": "append"},
    ),
    *TEXT,
)


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
    options = _options(args)
    _check(args)
    with _tracefs(args), _trace_tables(args, options) as tables:
        from fyke.capture.begin import cpus
        from fyke.capture.plan import make_plan

        kernel = LiveKernel()
        try:
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

    check_options(_options(args))
    _check(args)


def _options(args: argparse.Namespace) -> Options:
    from fyke.capture.begin import checked_options

    return checked_options(
        collectors=_words(args.collectors),
        probes=args.probe or (),
        skb_sections=_words(args.skb_sections),
        nft_verdicts=_words(args.nft_verdicts),
        ct_events=args.ct_events,
        stack=args.stack,
        snaplen=args.snaplen,
        buffer_bytes=_size(args.buffer, "--buffer"),
        max_probes=args.max_probes,
        filters=_filters(args),
    )


def _filters(args: argparse.Namespace) -> FilterOptions:
    from fyke.capture.filters import FilterOptions
    from fyke.cli.filtering import filter_text

    return FilterOptions(
        packet=filter_text(args),
        inner=args.filter_inner,
        fields=args.filter_meta,
        pid=args.pid,
        netns=args.netns,
        netif=args.netif,
    )


def _words(values: list[str] | None) -> list[str]:
    return [word for value in values or () for word in value.split(",")]


def _size(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    from fyke.errors import UsageError
    from fyke.events.rotation import parse_size

    try:
        size = parse_size(text)
    except UsageError as e:
        raise UsageError(f"{option}: {e.message}", e.hint) from e
    if size <= 0:
        raise UsageError(f"{option} {text} is nothing")
    return size


def _check(args: argparse.Namespace) -> None:
    from fyke.errors import UsageError

    if args.out is None:
        for option, value in (("--out-rotate", args.out_rotate), ("--out-format", args.out_format)):
            if value is not None:
                raise UsageError(f"{option} needs --out")
        if args.print:
            raise UsageError("--print needs --out", "without --out, events are printed anyway")
    else:
        from fyke.cli.writing import output_format, refuse_stdout

        refuse_stdout(args.out, output_format(args.out, args.out_format), printed=args.print)
    _size(args.out_rotate, "--out-rotate")
    if args.stop_after is not None and args.stop_after < 1:
        raise UsageError(f"--stop-after {args.stop_after} is less than 1")
    if args.cmd is not None and not args.cmd.strip():
        raise UsageError("the command of --cmd is empty")
    if args.out and args.ready_file and os.path.realpath(args.out) == os.path.realpath(args.ready_file):
        raise UsageError(f"--out and --ready-file are the same file, {args.out}")
    if args.dump and not args.dry_run:
        raise UsageError("--dump goes with --dry-run")
    for stage in _words(args.dump):
        if stage not in DUMP_STAGES:
            raise UsageError(f"unknown --dump stage {stage!r}", f"stages: {', '.join(DUMP_STAGES)}")
    if args.dump and args.json:
        raise UsageError("--dump has no JSON", "leave out --json or --dump")
    if args.json and not args.dry_run:
        raise UsageError("--json goes with --dry-run", "write events as JSON with -o FILE.json")
    if args.ready_file is not None:
        from fyke.capture.ready import check_ready_file

        check_ready_file(args.ready_file)


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

        print("\n".join(dump(stage, plan.filters, code) for stage in _words(args.dump)))
        return
    facts = plan_facts(plan, plan_layout(plan))
    print(json.dumps(facts, indent=2) if args.json else plan_text(facts))


def _collect(args: argparse.Namespace, plan: Plan, kernel: Any, told: Sequence[str]) -> int:
    import pyarrow as pa

    from fyke.capture.ready import clear_ready_file
    from fyke.capture.run import Run
    from fyke.capture.session import Session
    from fyke.capture.stopping import Command, StopSignals

    # Arrow's own pool keeps what batches used: 70 MB more than the C library's.
    pa.set_memory_pool(pa.system_memory_pool())
    if args.ready_file is not None:
        clear_ready_file(args.ready_file)
    facts = _facts(plan, getattr(args, "expanded", ()))
    command = Command(args.cmd) if args.cmd is not None else None
    with StopSignals() as signals, contextlib.ExitStack() as stack:
        live = args.out is None or args.print
        session = stack.enter_context(Session(plan, kernel, _progress(signals)))
        # Only now: a collection that can't start leaves the file of an earlier one alone.
        sink = _sinks(args, plan, facts, signals, stack)
        _tell_started(plan, session.missing, told)
        _tell_legacy(args, plan)
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
        _tell_end(run)
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

        limit, schema = _size(args.out_rotate, "--out-rotate"), recorded_schema(plan.sections)
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


def _tell_started(plan: Plan, missing: dict[str, str], told: Sequence[str]) -> None:
    for note in plan.notes:
        log.info(note)
    asked = [p.symbol for p in plan.probes if not p.internal]
    left_out = sorted(missing.keys() & set(asked))
    log.info(
        "Collector(s) started: %s; %d probe(s) attached",
        ", ".join(c.name for c in plan.collectors),
        len(asked) - len(left_out),
    )
    if left_out:
        names = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
        log.warning("%d functions of a pattern can't be probed: %s", len(left_out), names)
    for line in told:
        log.info("%s", line)


def _tell_legacy(args: argparse.Namespace, plan: Plan) -> None:
    """Say which rules nft can't see, where somebody may look for them."""
    if all(c.name != "nft" for c in plan.collectors):
        return
    from fyke.filters.fields.everyday import resolve_netns
    from fyke.kernel.xtables import legacy_tables

    inode = resolve_netns("/proc/self/ns/net" if args.netns is None else args.netns)
    if tables := legacy_tables(inode):
        log.info(
            "nft doesn't see the rules of iptables-legacy, which is in use (tables %s); it does those of "
            "iptables-nft",
            ", ".join(tables),
        )


def _tell_end(run: Run) -> None:
    """Say one line of truth: written, lost, hit and never hit."""
    if run.command and run.command.failure:
        log.warning("the command %s", run.command.failure)
    session = run.session
    totals = session.loss.totals
    lost = session.loss.lost_events
    words = [f"{run.events} event(s) written", f"{lost} lost"]
    if totals:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(totals.items()))
        places = zip(session.plan.probes, session.loss.lost(), strict=True)
        by_probe = ", ".join(f"{p.symbol} {count}" for p, count in places if count)
        words[-1] += f" ({causes}; by probe: {by_probe})" if by_probe else f" ({causes})"
    asked = [
        (p, hits)
        for p, hits in zip(session.plan.probes, session.loss.hits(), strict=True)
        if not p.internal and p.symbol not in session.missing
    ]
    never = [p.symbol for p, hits in asked if not hits]
    words.append(f"{len(asked) - len(never)} of {len(asked)} probe(s) hit")
    if never:
        words.append("never hit: " + ", ".join(never[:8]) + (" ..." if len(never) > 8 else ""))
    log.info("%s", "; ".join(words))
    _tell_unjudged(session)
    if any(not hits and "nft" in p.asked for p, hits in asked):
        from fyke.capture.trace_table import UNTRACED

        log.info(UNTRACED)


def _tell_unjudged(session: Session) -> None:
    """Say which packets a filter could not judge, and where; they are not in the file."""
    symbols = [p.symbol for p in session.plan.probes]
    for counts, what in (
        (session.loss.unreadable(), "what the filter looks at is not in the packet's linear area"),
        (session.loss.no_link_layer(), "the filter looks at link-layer headers, and they have none yet"),
    ):
        if total := sum(counts):
            places = ", ".join(f"{symbol} {n}" for symbol, n in zip(symbols, counts, strict=True) if n)
            log.warning("%d packet(s) did not pass because %s (by probe: %s)", total, what, places)
