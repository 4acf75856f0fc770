"""Text to standard output while a collection runs; a reader that doesn't read can't keep it from ending."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fyke.errors import RunError

if TYPE_CHECKING:
    from fyke.capture.stopping import StopSignals

log = logging.getLogger(__name__)

# After a signal, a reader has so long to take more.
PATIENCE_SECONDS = 1.0
# What a pipe that is ready for writing takes at once (pipe(7): PIPE_BUF).
_PIECE_BYTES = 4096


class LiveText:
    """Writes to standard output, and gives up where its reader waits after a signal has come."""

    def __init__(self, signals: StopSignals) -> None:
        if sys.stdout is None:
            raise RunError("can't write to standard output: it is closed", "write to a file: -o FILE")
        self._signals = signals
        self._given_up = False

    def write(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Write all. Raises BrokenPipeError when the reader is gone, RunError when it can't be written."""
        for piece in pieces:
            view = memoryview(piece)
            while view and not self._given_up:
                view = self._write_some(view)

    def _write_some(self, view: memoryview) -> memoryview:
        if not self._is_ready():
            self._given_up = True
            log.warning("nobody reads the text: what was left of it is not shown")
            return view
        try:
            return view[os.write(1, view[:_PIECE_BYTES]) :]
        except BrokenPipeError:
            raise
        except OSError as e:
            raise RunError(f"can't write to standard output: {e.strerror}") from e

    def _is_ready(self) -> bool:
        while not self._signals.count:
            _, ready, _ = select.select([self._signals.fd], [1], [])
            if ready:
                return True
        return bool(select.select([], [1], [], PATIENCE_SECONDS)[1])
