"""How long one waits for `fyke collect`: from exec to ready, and from Ctrl-C to its end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.collecting import collecting
from bench.report import Line, median, spread

OPTIONS = ("-c", "skb,skb-tracking,dev,ns")
AIM_READY_SECONDS = 0.8


def measure(*, quick: bool) -> Iterator[Line]:
    """Start and stop a collection some times; what the first one finds cold is not counted."""
    ready, stop = [], []
    with tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        for number in range(1 if quick else 16):
            with collecting(Path(folder), *OPTIONS) as collection:
                ended = collection.stop()
            if number or quick:
                ready.append(collection.ready_seconds)
                stop.append(ended.stop_seconds)
    yield Line("exec to ready", median(ready), "s", at_most=AIM_READY_SECONDS, note=spread(ready))
    yield Line("SIGINT to exit", median(stop), "s", note=spread(stop))
