"""How far reading is, as a bar on a terminal: for commands that take longer than one likes to wait."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TextIO

from fyke.events import progress
from fyke.events.progress import Reading

DELAY_S = 2.0  # so long nothing is shown
_INTERVAL_S = 0.1
_PASS_S = 0.3  # what is read in less is not worth a bar
_NAME = 30  # characters of a file's name
_NARROWEST, _WIDEST = 10, 40  # characters of the bar
_CLEAR = "\r\x1b[K"


@contextlib.contextmanager
def reading_shown() -> Iterator[None]:
    """Show how far reading is in the context, on stderr if that is a terminal; leave nothing there."""
    log = logging.getLogger("fyke")
    terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if not (terminal and log.isEnabledFor(logging.INFO) and isinstance(progress.watcher, progress.Nobody)):
        yield
        return
    nobody, bar = progress.watcher, Bar(sys.stderr)
    handlers = list(log.handlers)
    for handler in handlers:
        handler.addFilter(bar.give_way)
    progress.watcher = bar
    try:
        with bar:
            yield
    finally:
        progress.watcher = nobody
        for handler in handlers:
            handler.removeFilter(bar.give_way)


class Bar:
    """Watches reading, and draws a line that overwrites itself; in a thread while the context lasts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._readings: dict[int, Reading] = {}
        self._hushed = 0
        self._drawn = False
        self._start = self._pass = time.monotonic()  # of all, and since when something is read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._clear()

    def begin(self, reading: Reading) -> None:
        """Take notice of one more that is read."""
        with self._lock:
            if not self._readings:
                self._pass = time.monotonic()
            self._readings[id(reading)] = reading

    def end(self, reading: Reading) -> None:
        """Forget one; take the bar away after the last."""
        with self._lock:
            if self._readings.pop(id(reading), None) is not None and not self._readings:
                self._clear()

    def hush(self) -> None:
        """Take the bar away, until `allow`."""
        with self._lock:
            self._hushed += 1
            self._clear()

    def allow(self) -> None:
        """See `hush`."""
        with self._lock:
            self._hushed -= 1

    def give_way(self, _record: logging.LogRecord) -> bool:
        """Take the bar away for a message, which stays; the next one is drawn below it."""
        with self._lock:
            self._clear()
        return True

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL_S):
            now = time.monotonic()
            with self._lock:
                early = now < self._start + DELAY_S or now < self._pass + min(_PASS_S, DELAY_S)
                if self._readings and not self._hushed and not early:
                    self._draw(now)

    def _draw(self, now: float) -> None:
        positions = [p for p in (reading.position() for reading in self._readings.values()) if p is not None]
        done, size = (sum(numbers) for numbers in zip(*positions, strict=True)) if positions else (0, 0)
        if not size:
            return
        share = min(done / size, 1.0)
        left_s = (now - self._pass) * (1 - share) / share if 0 < share < 1 else None
        with contextlib.suppress(OSError):
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
            self._stream.write("\r" + line(self._name(), share, size, left_s, width - 1) + "\x1b[K")
            self._stream.flush()
            self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            self._drawn = False
            self._stream.write(_CLEAR)
            self._stream.flush()

    def _name(self) -> str:
        names = {os.path.basename(reading.path) for reading in self._readings.values()}
        if len(names) > 1:
            return f"{len(names)} files"
        name = names.pop()
        # Of others it isn't known how wide they are.
        return name if name.isascii() and name.isprintable() and len(name) <= _NAME else "the file"


def line(name: str, share: float, size: int, left_s: float | None, width: int) -> str:
    """Return the bar with what stands beside it, as much of it as there is room for in so many columns."""
    head, percent = f"reading {name} ", f" {share:4.0%}"
    of = f"{percent} of {_bytes(size)}"
    left = of if left_s is None else f"{of}, {_time(left_s)} left"
    for before, after in ((head, left), (head, of), ("", of), ("", percent)):
        room = width - len(before) - len(after) - len("[]")
        if room >= _NARROWEST:
            room = min(room, _WIDEST)
            return f"{before}[{'#' * int(room * share):.<{room}}]{after}"
    return percent[: max(width, 0)]


def _bytes(size: int) -> str:
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >> bits:
            return f"{size / (1 << bits):.1f} {unit}"
    return f"{size} bytes"


def _time(seconds: float) -> str:
    whole = min(int(seconds + 0.5), 99 * 3600)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h"
