"""The standard streams of the program: a stdout that can't be written to is an error, stderr never is one."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Stdout(io.FileIO):
    """Raises RunError when writing fails, and only once: what is still buffered then goes nowhere."""

    failed = False

    def write(self, data: ReadableBuffer) -> int:
        if self.failed:
            return memoryview(data).nbytes
        try:
            while (count := super().write(data)) is None:  # whoever holds its other end made it non-blocking
                select.select([], [self], [])
        except BrokenPipeError:
            self.failed = True
            raise
        except OSError as error:
            from fyke.render.screen import stdout_failed

            self.failed = True
            raise stdout_failed(error) from error
        return count


class _Stderr(io.FileIO):
    """Drops what can't be written."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            count = super().write(data)
        except OSError:
            count = None
        return memoryview(data).nbytes if count is None else count


def use_streams() -> None:
    """Replace sys.stdout and sys.stderr.

    Where descriptors 0 to 2 are closed they are taken, or the next file opened would be one of them: 1 by
    one that can't be written to, so that text meant for it is an error.
    """
    for fd, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest that is free
    sys.stdout = _text(_Stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Stderr(2, "w", closefd=False), sys.stderr, always_lines=True)


def _text(raw: io.FileIO, like: TextIO | None, always_lines: bool = False) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if like is None else like.encoding,
        errors="backslashreplace" if like is None else like.errors,
        line_buffering=always_lines or raw.isatty(),
    )
