"""The columns of an event, in order: the one home of names, types, units and descriptions.

`docs/columns.md` is generated from here, and so is the Arrow schema of every event file.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING

from fyke.events.column import Column, Section

if TYPE_CHECKING:
    import pyarrow as pa

# Columns outside any section.
HEADER: tuple[Column, ...] = (
    Column(
        "timestamp_ns",
        "uint64",
        "When the probe was hit, on the kernel's monotonic clock",
        "ns",
        "timestamp_ns",
    ),
    Column("cpu", "uint32", "The CPU it ran on", source="cpu"),
)

TASK = Section(
    "task",
    "The task that was running. In softirq it is whoever was interrupted, not the packet's owner.",
    (
        Column("pid", "int32", "Thread id, as the kernel's task_struct->pid", source="pid"),
        Column("tgid", "int32", "Process id, as the kernel's task_struct->tgid", source="tgid"),
        Column(
            "comm",
            "string",
            "Name of the thread; a byte that isn't UTF-8 is written \\xNN, a backslash \\\\",
            source="comm",
        ),
    ),
    in_kernel=False,  # part of the record's header
)

KERNEL = Section(
    "kernel",
    "The probe that was hit.",
    (
        Column("symbol", "string", "Function, or tracepoint as subsystem:name; of a capture, its interface"),
        Column(
            "probe_type",
            "string",
            "Mechanism: raw_tracepoint, kprobe, kprobe_multi, fentry, fexit, kretprobe, kretprobe_multi; "
            "capture: a packet of another tool's capture (its times are the wall clock's, until merged)",
        ),
        Column("stack", "list<string>", "Stack trace where asked for, innermost first, as symbol+0xoffset"),
    ),
    in_kernel=False,
)

USERSPACE = Section(
    "userspace",
    "The probe that was hit, in a user program; such events have no section `kernel`, and no packet.",
    (
        Column("probe_type", "string", "Mechanism: usdt, uprobe"),
        Column("symbol", "string", "Function, or USDT probe as provider:name"),
        Column("ip", "uint64", "Address of the instruction in the process", source="ip"),
        Column("path", "string", "The program or library, as its processes have it"),
        Column("pid", "int32", "Process id: task.tgid, by the name that Retis has for it here"),
        Column("tid", "int32", "Thread id: task.pid"),
    ),
)

ARGUMENTS = Section(
    "arguments",
    "What the probed place of a user program was given, where its arguments are known.",
    (
        Column(
            "values",
            "list<string>",
            "Each argument as a number: decimal; hexadecimal for unsigned ones of more than 32 bits, most "
            "likely addresses; ? for one that couldn't be read",
        ),
    ),
)

RETVAL = Section(
    "retval",
    "What the function returned, where its return is probed.",
    (
        Column(
            "value",
            "int64",
            "The value as the type has it; unsigned numbers of 64 bits and addresses by their bits",
            source="value",
        ),
        Column(
            "name", "string", "Its name: an error (EACCES), an enumerator, true, false, NULL; null for others"
        ),
        Column("type", "string", "The type, as C spells it"),
    ),
)

OTHER = Section(
    "other",
    "What a file of Retis has that this version of fyke has no column for.",
    (
        Column(
            "json",
            "string",
            "JSON object in the form of Retis' event, written back into JSON as it is",
        ),
    ),
    in_kernel=False,
)

GAP = Section(
    "gap",
    "Not an event: a note that events were lost between since_ns and this row's timestamp.",
    (
        Column("since_ns", "uint64", "Start of the interval in which they were lost", "ns"),
        Column(
            "cause", "string", "ring_full, recursion, missed_return, abandoned, tracking_full or stack_full"
        ),
        Column("count", "uint64", "How many events (or, for the last two causes, ids or stacks)", "events"),
    ),
    in_kernel=False,
)

CLOSING = Section(
    "closing",
    "Not an event: the last row of a collection that ended in an orderly way.",
    (
        Column("events", "uint64", "Events written", "events"),
        Column("lost", "uint64", "Events lost, all causes", "events"),
        Column("reason", "string", "Why the collection ended: signal, command, count, error"),
        Column(
            "probes",
            "string",
            "JSON list of every probe: symbol, probe_type, hits, filtered, lost; with a filter also "
            "unreadable and no_link_layer, packets that it could not judge; of a probe that --probe-stack "
            "added, added_ns: when",
        ),
    ),
    in_kernel=False,
)

JOURNEY = Section(
    "journey",
    "The event's place in its packet's journey; only in sorted files.",
    (
        Column("id", "uint64", "Number of the journey in this file, in order of first event"),
        Column("index", "uint32", "Position of the event in the journey, from 0"),
        Column("clone", "uint32", "Which skb of the packet's clones, in order of first sight, from 0"),
        Column(
            "lost", "uint64", "Events lost on the journey's CPUs while it went on (0: it is whole)", "events"
        ),
    ),
    in_kernel=False,
)

# Read whoever asks for what: they tell what is an event, and where a collection ends.
ALWAYS = ("timestamp_ns", "gap", "closing")
FACTS_KEY = b"fyke"  # schema metadata: fyke.events.facts.Facts as JSON


def sections() -> tuple[Section, ...]:
    """Return every section in file order: the fixed ones around those of the collectors."""
    from fyke.collectors import COLLECTORS

    collected = tuple(section for collector in COLLECTORS for section in collector.sections)
    return (TASK, KERNEL, USERSPACE, ARGUMENTS, RETVAL, *collected, OTHER, GAP, CLOSING, JOURNEY)


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column."""
    import pyarrow as pa

    if column.type == "list<string>":
        return pa.list_(pa.string())
    return pa.type_for_alias(column.type)


def section_type(section: Section) -> pa.StructType:
    """Return the Arrow struct type of a section."""
    import pyarrow as pa

    return pa.struct([pa.field(c.name, arrow_type(c)) for c in section.columns])


@cache
def arrow_schema() -> pa.Schema:
    """Return the Arrow schema of an event table: every column, in this order.

    Only the time is known of every row: old Retis files have no CPU, and a gap may be of all of them.
    """
    import pyarrow as pa

    header = [pa.field(c.name, arrow_type(c), nullable=c.name != "timestamp_ns") for c in HEADER]
    return pa.schema([*header, *(pa.field(s.name, section_type(s)) for s in sections())])


def recorded_schema(collected: Collection[str]) -> pa.Schema:
    """Return the columns of a collection's file: those of all, and of what is collected."""
    import pyarrow as pa

    names = {*collected, *(column.name for column in HEADER)}
    names |= {section.name for section in (TASK, KERNEL, GAP, CLOSING)}
    return pa.schema([field for field in arrow_schema() if field.name in names])
