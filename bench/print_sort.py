"""Print and sort: events per CPU second, on a large recording made of a real one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bench.collecting import FYKE, environment, watch
from bench.file_size import record_mixed
from bench.report import Line, median, spread
from bench.wire import wire
from fyke.events.reader import open_events
from fyke.events.store import EventWriter, count_events

# what -> words after the command's name and the file
COMMANDS = {
    "print": ("print", "--no-pager"),
    "print --format multi-line": ("print", "--no-pager", "--format", "multi-line"),
    "sort (text)": ("sort", "--no-pager"),
    "sort -o": ("sort", "-o", "{folder}/sorted.arrow"),
}
_LIMIT_SECONDS = 300
_TIMES = ("timestamp_ns", "parent_timestamp_ns")


def measure(*, quick: bool) -> Iterator[Line]:
    """Record, replicate, and run each command several times with its output to a file."""
    exchanges, wanted, rounds = (100, 4_000, 1) if quick else (6_000, 1_000_000, 3)
    with tempfile.TemporaryDirectory(prefix="fyke-bench-") as name:
        folder = Path(name)
        with wire() as net:
            record_mixed(net, folder, exchanges)
        path = folder / "many.arrow"
        events = replicate(folder / "events.arrow", path, wanted)
        for what, words in COMMANDS.items():
            command = [*FYKE, words[0], str(path), *(w.format(folder=folder) for w in words[1:])]
            runs = [run(command, folder / "out") for _ in range(rounds)]
            rates = [events / seconds for seconds, _ in runs]
            peak = max(peak for _, peak in runs) / 1e6
            note = f"{spread(rates)}{'; ' if len(rates) > 1 else ''}{events} events, {peak:.0f} MB"
            yield Line(what, median(rates), "events/CPU s", note=note)


def replicate(source_path: Path, path: Path, wanted: int) -> int:
    """Write the events of a recording again and again until there are `wanted`; return how many there are.

    Each replica's times, and the times in its packets' ids, are later by what the recording lasted.
    """
    with open_events(str(source_path)) as source:
        facts = source.facts
        whole = (b.filter(pc.is_null(b.column("closing"))) for b in source.batches())
        batches = [b for b in whole if b.num_rows]
    first = pc.min(batches[0].column("timestamp_ns")).as_py()
    last = pc.max(batches[-1].column("timestamp_ns")).as_py()
    with EventWriter(str(path), facts) as writer:
        events = replica = 0
        while events < wanted:
            for batch in batches:
                later = _later(batch, replica * (last - first + 1_000_000))
                writer.write(later)
                events += count_events(later)
            replica += 1
    return events


def _later(batch: pa.RecordBatch, shift_ns: int) -> pa.RecordBatch:
    shift = pa.scalar(shift_ns, pa.uint64())
    names = batch.schema.names
    tracking = batch.column("skb_tracking")
    kind = tracking.type
    members = [pc.struct_field(tracking, i) for i in range(kind.num_fields)]
    members = [pc.add(m, shift) if kind.field(i).name in _TIMES else m for i, m in enumerate(members)]
    columns = dict(zip(names, batch.columns, strict=True))
    columns["timestamp_ns"] = pc.add(columns["timestamp_ns"], shift)
    columns["skb_tracking"] = pa.StructArray.from_arrays(members, fields=list(kind), mask=tracking.is_null())
    return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=batch.schema)


def run(command: list[str], out: Path) -> tuple[float, int]:
    """Run a command; return its CPU seconds, user and system, and its peak memory in bytes."""
    log = out.with_suffix(".log")
    with open(out, "wb") as stream, open(log, "wb") as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=messages, env=environment()
        )
        usage, peak = watch(process, _LIMIT_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {log.read_text(errors='replace')}")
    return usage.ru_utime + usage.ru_stime, peak
