"""A file that is there when all of it is written, and not before."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from fyke.errors import RunError, UsageError
from fyke.events.output import not_writable


@contextlib.contextmanager
def new_file(path: str) -> Iterator[IO[bytes]]:
    """Open a file to be written, which takes its name when all went well. Raises UsageError, RunError."""
    folder = os.path.dirname(path) or "."
    if not path:
        raise UsageError("the name of the output file is empty", "give the name of a file")
    if os.path.isdir(path):
        raise UsageError(f"{path} is a directory, not a file", "give the name of a file in it")
    if not os.path.isdir(folder):
        raise UsageError(
            f"there is no directory {folder} to write {os.path.basename(path)} to", "make it first"
        )
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, a device
        with _writing(path), open(path, "wb") as stream:
            yield stream
        return
    path = os.path.realpath(path)
    try:
        fd, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
    except OSError as error:
        raise not_writable(path, error) from error
    try:
        with _writing(path), open(fd, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(fd, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunError(f"writing to {path} failed: {error.strerror}", "nothing was written") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
