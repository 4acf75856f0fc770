"""Bytes per event in the file, on traffic that isn't the same packet again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.collecting import collecting
from bench.report import Line
from bench.traffic import mixed
from bench.wire import Wire, wire
from fyke.events.reader import open_events
from fyke.events.retis.write import RetisWriter

OPTIONS = ("-c", "skb,skb-tracking,dev,ns")
AIM_BYTES = 70
VARIANTS = {"mixed TCP and UDP": False, "the same, random payload": True}


def measure(*, quick: bool) -> Iterator[Line]:
    """Record each traffic once, and write the same events as Retis' JSON."""
    exchanges = 150 if quick else 6_000
    with wire() as net, tempfile.TemporaryDirectory(prefix="fyke-bench-") as name:
        folder = Path(name)
        for what, encrypted in VARIANTS.items():
            events = record_mixed(net, folder, exchanges, encrypted=encrypted)
            size = (folder / "events.arrow").stat().st_size / events
            json_size = _as_json(folder) / events
            aim = None if encrypted else AIM_BYTES
            yield Line(f"{what}", size, "B/event", at_most=aim, note=f"{events} events")
            yield Line(
                f"{what}, as Retis JSON", json_size, "B/event", note=f"{json_size / size:.1f} times as much"
            )


def record_mixed(net: Wire, folder: Path, exchanges: int, *, encrypted: bool = False) -> int:
    """Record mixed traffic to FOLDER/events.arrow; return the number of events. Raises when any was lost."""
    with collecting(folder, *OPTIONS) as collection:
        mixed(net, exchanges, encrypted=encrypted)
        ended = collection.stop()
    if not ended.adds_up or ended.lost:
        raise RuntimeError(f"{ended.hits} hits, {ended.events} events, lost: {ended.causes}")
    return ended.events


def _as_json(folder: Path) -> int:
    """Write the events as JSON, and return the size."""
    path = folder / "events.json"
    with (
        open_events(str(folder / "events.arrow")) as source,
        RetisWriter(str(path), source.facts) as writer,
    ):
        for batch in source.batches():
            writer.write(batch)
    return path.stat().st_size
