"""What is done with recordings: CPU of each command, beside Retis' own library; memory; first page; size."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.collecting import FYKE, environment
from bench.print_sort import replicate, run
from bench.report import Line, median, spread
from bench.retis_file import write_retis
from fyke.events.frames import Frames
from fyke.events.store import END_OF_STREAM
from fyke.journeys.sort import MEMORY_LIMIT

# Events per CPU second of Retis' program, on another machine (its sort and stats aren't in the library).
_RETIS = {"print": 144_000, "sort": 132_000, "sort -o": 169_000, "stats": 357_000}
_GROUP_BY = "SELECT kernel.symbol, count(*), max(packet.len) FROM events GROUP BY 1 ORDER BY 2 DESC"
_PAGE_LINES = 50
_MORE_BYTES = 300e6  # beside what sorting may hold
_SMALLER = 8
_LIBRARY = """
import sys
from retis import EventReader
for event in EventReader(sys.argv[1]):
    print(event)
"""


@dataclass(frozen=True)
class _Task:
    """A command. words: after the name of the program; FILE, OUT.x: the input, and an output."""

    what: str
    words: tuple[str, ...]
    at_least: float | None = None


# Of files large enough that what a process takes to start is little.
_SLOWER = (
    _Task("print", ("print", "--no-pager", "FILE"), 200_000),
    _Task("sort (text)", ("sort", "--no-pager", "FILE"), 200_000),
    _Task("latency", ("latency", "FILE")),
    _Task("convert to Retis' JSON", ("convert", "FILE", "OUT.json")),
    _Task("convert to Parquet", ("convert", "FILE", "OUT.parquet")),
)
_FASTER = (
    _Task("sort -o", ("sort", "-o", "OUT.arrow", "FILE"), 1_700_000),
    _Task("stats", ("stats", "--no-pager", "FILE"), 5_000_000),
    _Task("query, GROUP BY", ("query", _GROUP_BY, "FILE")),
)
_RETIS_JSON = {
    "print": ("print", "--no-pager", "FILE"),
    "sort": ("sort", "--no-pager", "FILE"),
    "sort -o": ("sort", "-o", "OUT.json", "FILE"),
    "stats": ("stats", "--no-pager", "FILE"),
}


def measure(*, quick: bool) -> Iterator[Line]:
    """Make the files, and run each command several times. Root isn't needed."""
    from_retis, many, more, huge, page_bytes, rounds = (
        (3_000, 5_000, 6_000, 12_000, 4_000_000, 1)
        if quick
        else (1_000_000, 1_000_000, 4_000_000, 12_000_000, 10**9, 3)
    )
    with tempfile.TemporaryDirectory(prefix="fyke-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        json, ours = folder / "retis.json", folder / "ours.arrow"
        events = write_retis(json, from_retis)
        yield from _of_retis(json, events, rounds)
        run([*FYKE, "convert", str(json), str(ours)], folder / "out")
        yield _size(ours, events)
        large = folder / "many.arrow"
        for tasks, wanted in ((_SLOWER, many), (_FASTER, more)):
            events = replicate(ours, large, wanted)
            for task in tasks:
                yield _rate(task, large, events, rounds)
        yield from _first_pages(folder, ours, json, page_bytes, rounds)
        yield _memory(ours, folder / "huge.arrow", huge)


def _of_retis(path: Path, events: int, rounds: int) -> Iterator[Line]:
    """Read Retis' file, with its library first: where its program isn't, that says how fast it would be."""
    library = [sys.executable, "-c", _LIBRARY, str(path)]
    rates = [events / run(library, path.with_name("out"))[0] for _ in range(rounds)]
    here = median(rates)
    yield Line("Retis' JSON, print by Retis' library", here, "events/CPU s", note=spread(rates))
    for what, words in _RETIS_JSON.items():
        aim = here * _RETIS[what] / _RETIS["print"]
        yield _rate(_Task(f"Retis' JSON, {what}", words, aim), path, events, rounds)
    yield _rate(
        _Task("Retis' JSON, convert to Arrow", ("convert", "FILE", "OUT.arrow")), path, events, rounds
    )


def _rate(task: _Task, path: Path, events: int, rounds: int) -> Line:
    command = [*FYKE, *(str(path) if w == "FILE" else _output(path, w) for w in task.words)]
    runs = [run(command, path.with_name("out")) for _ in range(rounds)]
    rates = [events / seconds for seconds, _ in runs]
    peak = max(peak for _, peak in runs) / 1e6
    note = f"{spread(rates)}{'; ' if len(rates) > 1 else ''}{events} events, {peak:.0f} MB"
    return Line(task.what, median(rates), "events/CPU s", at_least=task.at_least, note=note)


def _output(path: Path, word: str) -> str:
    return str(path.with_name(word)) if word.startswith("OUT.") else word


def _size(path: Path, events: int) -> Line:
    """Compare with the JSON of what is in our file: Retis' file had sections that it hasn't."""
    as_json = path.with_name("OUT.json")
    run([*FYKE, "convert", str(path), str(as_json)], path.with_name("out"))
    own, other = path.stat().st_size, as_json.stat().st_size
    note = f"{own / events:.1f} and {other / events:.0f} bytes an event"
    return Line("size, how often it is in Retis' JSON", other / own, "times", at_least=_SMALLER, note=note)


def _first_pages(folder: Path, ours: Path, json: Path, size: int, rounds: int) -> Iterator[Line]:
    with open(ours, "rb") as file:
        head = len(next(iter(Frames(file))).data)
    content = ours.read_bytes()
    first, _, lines = json.read_bytes().partition(b"\n")
    for what, parts in {
        "our file": (content[:head], content[head : -len(END_OF_STREAM)], END_OF_STREAM),
        "Retis' JSON": (first + b"\n", lines, b""),
    }.items():
        path = folder / "page"
        begin, again, end = parts
        with open(path, "wb") as out:
            out.write(begin)
            while out.tell() < size:
                out.write(again)
            out.write(end)
        times = [_first_page(path) for _ in range(rounds)]
        note = f"{spread(times)}{'; ' if rounds > 1 else ''}{path.stat().st_size / 1e6:.0f} MB, wall time"
        yield Line(f"first page of {what}", median(times), "s", at_most=1, note=note)


def _first_page(path: Path) -> float:
    """Return the seconds until a page of text is there."""
    started = time.monotonic()
    with subprocess.Popen(
        [*FYKE, "print", "--no-pager", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        for _ in range(_PAGE_LINES):
            if not process.stdout.readline():
                raise RuntimeError(f"{path} has no page of text")
        seconds = time.monotonic() - started
        process.stdout.close()
    return seconds


def _memory(ours: Path, path: Path, wanted: int) -> Line:
    """Sort what takes several times the memory that sorting may hold."""
    events = replicate(ours, path, wanted)
    seconds, peak = run(
        [*FYKE, "sort", "-o", str(path.with_name("OUT.arrow")), str(path)], path.with_name("out")
    )
    note = f"{events} events, {events / seconds:,.0f}/CPU s; {MEMORY_LIMIT / 1e6:.0f} MB are DuckDB's"
    aim = (MEMORY_LIMIT + _MORE_BYTES) / 1e6
    return Line("sort -o of what needs files, peak memory", peak / 1e6, "MB", at_most=aim, note=note)
