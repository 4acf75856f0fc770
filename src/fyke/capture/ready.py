"""The file that tells others that events flow (`--ready-file`): its existence is the message."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from fyke.errors import UsageError


def check_ready_file(path: str) -> None:
    """See beforehand that it can be written: later, events flow and an earlier output is gone. UsageError."""
    if not path:
        raise UsageError("the name of the --ready-file is empty")
    if os.path.isdir(path):
        raise _error(path, errno.EISDIR)
    if os.path.lexists(path):
        if not os.access(path, os.W_OK):
            raise _error(path, errno.EACCES)
        return
    # Under another name: whoever waits for the file must not see it yet.
    trial = f"{path}.{os.getpid()}"
    try:
        os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.unlink(trial)
    except OSError as e:
        raise _error(path, e.errno or 0) from e


def clear_ready_file(path: str) -> None:
    """Remove one of an earlier collection. A pipe, or /dev/stderr (a link, perhaps to a file), stays."""
    if os.path.isfile(path) and not os.path.islink(path):
        with contextlib.suppress(OSError):
            os.unlink(path)


def write_ready_file(path: str) -> None:
    """Write it. Raises UsageError."""
    try:
        Path(path).write_text("ready\n")
    except OSError as e:
        raise _error(path, e.errno or 0) from e


def _error(path: str, number: int) -> UsageError:
    return UsageError(f"can't write --ready-file {path}: {os.strerror(number)}")
