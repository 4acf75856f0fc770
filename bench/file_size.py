"""Bytes per event in the file, on traffic that isn't the same packet again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.collecting import Ended, collecting
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
            ended = record_mixed(net, folder, exchanges, encrypted=encrypted)
            size = ended.file_bytes / ended.events
            json_size = _as_json(folder) / ended.events
            aim = None if encrypted else AIM_BYTES
            yield Line(
                f"{what}", size, "B/event", at_most=aim, note=f"{ended.events} events, {ended.lost} lost"
            )
            yield Line(
                f"{what}, as Retis JSON", json_size, "B/event", note=f"{json_size / size:.1f} times as much"
            )


def record_mixed(net: Wire, folder: Path, exchanges: int, *, encrypted: bool = False) -> Ended:
    """Record mixed traffic to FOLDER/events.arrow."""
    with collecting(folder, *OPTIONS) as collection:
        mixed(net, exchanges, encrypted=encrypted)
        ended = collection.stop()
    if not ended.adds_up:
        raise RuntimeError(f"{ended.hits} hits are not {ended.events} events and {ended.lost} lost")
    return ended


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
