"""Where text goes: stdout, through a pager when that is a terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import subprocess
from types import TracebackType
from typing import Self

from fyke.errors import RunError
from fyke.events import progress

_STDOUT = 1


class Screen:
    """Takes text as bytes. On a terminal a pager shows it: PAGER, else less; none with NOPAGER or page=False.

    Raises BrokenPipeError when the reader is gone, RunError when writing fails otherwise. On leaving the
    context it waits for the pager, so that errors are shown after it.
    """

    def __init__(self, *, page: bool = True) -> None:
        self._fd = _STDOUT
        self._pager: subprocess.Popen[bytes] | None = None
        self._terminal = os.isatty(_STDOUT)
        command = _pager_command() if page and self._terminal else None
        if command is not None:
            with contextlib.suppress(OSError):  # a pager that can't be started: plain output
                self._pager = subprocess.Popen(command, stdin=subprocess.PIPE)
        if self._pager is not None and self._pager.stdin is not None:
            self._fd = self._pager.stdin.fileno()

    def write(self, text: bytes | memoryview) -> None:
        """Write all of it."""
        rest = memoryview(text)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # stdout was made non-blocking by whoever holds its other end
                select.select([], [self._fd], [])
            except BrokenPipeError:
                raise
            except OSError as error:
                raise stdout_failed(error) from error

    def __enter__(self) -> Self:
        if self._terminal:
            progress.watcher.hush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            progress.watcher.allow()
        if self._pager is None:
            return
        if self._pager.stdin is not None:
            with contextlib.suppress(OSError):
                self._pager.stdin.close()
        while True:
            try:
                self._pager.wait()
                return
            except KeyboardInterrupt:  # Ctrl-C is the pager's: it stays until the user leaves it
                continue


def stdout_failed(error: OSError) -> RunError:
    """Return the error to raise when stdout couldn't be written to."""
    why = "it is closed" if error.errno == errno.EBADF else error.strerror
    return RunError(f"can't write to standard output: {why}")


def _pager_command() -> list[str] | None:
    if os.environ.get("NOPAGER") is not None:
        return None
    pager = os.environ.get("PAGER")
    if pager is not None:
        return ["sh", "-c", pager] if pager.strip() else None
    return ["less", "-FRX"] if shutil.which("less") else None
