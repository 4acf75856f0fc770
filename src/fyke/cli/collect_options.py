"""The options of fyke collect: the table, what is wrong with them on any kernel, and what they come to."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from fyke.cli.options import FILTER, FILTER_FILE, OUT_FORMAT, PRINT, TEXT, Once, Option

if TYPE_CHECKING:
    from fyke.capture.filters import FilterOptions
    from fyke.capture.plan import Options

DEFAULT_OUT = "fyke.arrow"
DUMP_STAGES = ("cbpf", "ebpf", "fields")

OPTIONS = (
    Option(
        ("-c", "--collectors"),
        "what to collect: auto (all that work here), or some of skb-tracking, skb-drop, skb, ns, dev, ovs, "
        "nft, ct; those named must work (default: auto)",
        {"metavar": "LIST", "action": "append"},
    ),
    Option(
        ("-p", "--probe"),
        "where: [TYPE:]TARGET[/OPTION]; TYPE is tp (tracepoint), k (kprobe), kr (kretprobe), fe (fentry), "
        "fx (fexit), xdp or tc (BPF programs) or func (default: tp for SUBSYSTEM:NAME, else func), `*` "
        "matches, OPTION is stack; in programs u:PATH:SYMBOL and usdt:PATH:PROVIDER:NAME; may be repeated "
        "(default: tp:net:netif_receive_skb and tp:net:net_dev_start_xmit)",
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
    Option(
        ("--ovs-enrich-flows",),
        "ask ovs-vswitchd for each flow that packets hit: the flow, and the OpenFlow rules it was made of",
        {"action": "store_true"},
    ),
    Option(
        ("--ovs-enrich-rate",),
        "how many flows to ask for in a second (default: 20)",
        {"metavar": "N", "type": int},
    ),
    Option(
        ("--ovs-track",),
        "follow packets that Open vSwitch sends to ovs-vswitchd through it and back (collector ovs)",
        {"action": "store_true"},
    ),
    Option(("--snaplen",), "bytes to keep of each packet (default: 256)", {"metavar": "N", "type": int}),
    Option(("--stack",), "a stack trace with every event", {"action": "store_true"}),
    Option(
        ("--probe-stack",),
        "follow packets that match a filter, and probe each function on their way, too, as it is found "
        "(default probes then: tp:skb:consume_skb and tp:skb:kfree_skb)",
        {"action": "store_true"},
    ),
    Option(
        ("--save-profile",),
        "with --probe-stack: remember what was found as a profile, so that `fyke -p NAME collect` probes it "
        "from the first packet on",
        {"metavar": "NAME", "action": Once},
    ),
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
    Option(
        ("--max-probes",),
        "refuse more probes than this, or with --probe-stack, add no more (default: 2048)",
        {"metavar": "N", "type": int},
    ),
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


def collect_options(args: argparse.Namespace) -> Options:
    """Return what is to be collected. Raises UsageError."""
    from fyke.capture.begin import checked_options

    return checked_options(
        collectors=words(args.collectors),
        probes=args.probe or (),
        skb_sections=words(args.skb_sections),
        nft_verdicts=words(args.nft_verdicts),
        ct_events=args.ct_events,
        ovs_enrich_flows=args.ovs_enrich_flows,
        ovs_enrich_rate=args.ovs_enrich_rate,
        ovs_track=args.ovs_track,
        stack=args.stack,
        probe_stack=args.probe_stack,
        snaplen=args.snaplen,
        buffer_bytes=size_of(args.buffer, "--buffer"),
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


def words(values: list[str] | None) -> list[str]:
    """Return the words of an option that takes lists and may be repeated."""
    return [word for value in values or () for word in value.split(",")]


def size_of(text: str | None, option: str) -> int | None:
    """Return the bytes of an option that takes a size. Raises UsageError."""
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


def check_output(args: argparse.Namespace) -> None:
    """Raise UsageError where options that say what becomes of the events don't go together."""
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
    size_of(args.out_rotate, "--out-rotate")
    if args.save_profile is not None:
        from fyke.cli.found_profile import check_save

        check_save(args)
    if args.stop_after is not None and args.stop_after < 1:
        raise UsageError(f"--stop-after {args.stop_after} is less than 1")
    if args.cmd is not None and not args.cmd.strip():
        raise UsageError("the command of --cmd is empty")
    if args.out and args.ready_file and os.path.realpath(args.out) == os.path.realpath(args.ready_file):
        raise UsageError(f"--out and --ready-file are the same file, {args.out}")
    if args.dump and not args.dry_run:
        raise UsageError("--dump goes with --dry-run")
    for stage in words(args.dump):
        if stage not in DUMP_STAGES:
            raise UsageError(f"unknown --dump stage {stage!r}", f"stages: {', '.join(DUMP_STAGES)}")
    if args.dump and args.json:
        raise UsageError("--dump has no JSON", "leave out --json or --dump")
    if args.json and not args.dry_run:
        raise UsageError("--json goes with --dry-run", "write events as JSON with -o FILE.json")
    if args.ready_file is not None:
        from fyke.capture.ready import check_ready_file

        check_ready_file(args.ready_file)
