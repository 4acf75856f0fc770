"""Where event files are written: whole blocks only, into one file or a split set, safe on a full disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shlex
import stat
import sys
from collections.abc import Callable

from fyke.errors import RunError, UsageError
from fyke.events.rotation import LEAST_LIMIT, is_split_file, remove_stale, split_path

STDOUT = "-"  # the path that stands for standard output
# Bytes that are written at a time. For larger writes the kernel takes larger pages of memory, and a guest of
# a hypervisor seldom has them at hand: megabytes at once took five times as long (Linux 6.18).
PIECE = 1 << 17
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Output:
    """An output of whole blocks (a batch, a line), each on its way to the disk when `append` returns.

    path: STDOUT for standard output, which is left open.
    header: gives the first bytes of file N of a split output (None: of the only file).
    trailer: the last bytes of every file that ended as it should.
    limit_bytes: size at which a new file is begun; a block that is larger than that gets a file of its own.
    Nobody else of us writes to the same name meanwhile: a regular file is locked (flock(2)), of a split set
    also the first, until all is closed.
    Raises UsageError for a path that can't be written to, RunError when writing fails later.
    """

    def __init__(
        self,
        path: str,
        header: Callable[[int | None], bytes],
        *,
        trailer: bytes = b"",
        limit_bytes: int | None = None,
    ) -> None:
        self.path = path
        self.paths: list[str] = []
        self.removed: list[str] = []
        self.bytes_written = 0
        self.events_written = 0
        self._header = header
        self._trailer = trailer
        self._limit = limit_bytes
        self._fd = -1
        self._first = -1  # keeps the lock on the first file of a split set
        self._size = 0  # of the file that is open; always at the end of a whole block
        self._start = 0  # size of its header
        self._failed = False
        self._refuse()
        self._open()
        if limit_bytes is not None:
            self.removed = remove_stale(path)

    def fits(self, length: int) -> bool:
        """Say whether a block of this many bytes stays under the limit in a file of its own."""
        return self._limit is None or self._start + length + len(self._trailer) <= self._limit

    def room(self) -> int:
        """Return how many bytes a block may have to go into the file that is open."""
        if self._limit is None:
            return sys.maxsize
        return self._limit - self._size - len(self._trailer)

    def append(self, block: bytes | memoryview, events: int) -> None:
        """Write one block that holds this many events. Raises RunError; the file then ends before it."""
        if len(block) > self.room() and self._size > self._start:
            self._finish()
            self._open()
        self._write(block)
        self.events_written += events

    def close(self, *, whole: bool = True) -> None:
        """End the file; with its trailer unless writing failed before or the output is not whole."""
        try:
            if self._fd >= 0:
                self._finish(whole=whole)
        finally:
            if self._first >= 0:
                first, self._first = self._first, -1
                os.close(first)

    def _refuse(self) -> None:
        """Refuse, with the reason, a path that no file can be written to."""
        if self.path == STDOUT:
            if self._limit is not None:
                raise UsageError("standard output can't be split into files", "name a file with -o")
            return
        folder = os.path.dirname(self.path) or "."
        if not self.path:
            raise UsageError("the name of the output file is empty", "give the name of a file")
        if self._limit is not None and self._limit < LEAST_LIMIT:
            raise UsageError(
                f"--out-rotate {self._limit}B is too small: a file's own description takes 20 KiB and more",
                f"give at least {LEAST_LIMIT >> 10}KiB",
            )
        if os.path.isdir(self.path):
            raise UsageError(f"{self.path} is a directory, not a file", "give the name of a file in it")
        if not os.path.isdir(folder):
            raise UsageError(
                f"there is no directory {folder} to write {os.path.basename(self.path)} to",
                f"make it first: mkdir -p {shlex.quote(folder)}",
            )

    def _open(self) -> None:
        if self.path == STDOUT:
            self._begin(os.dup(1), "standard output", None)
            return
        number = None if self._limit is None else len(self.paths)
        path = self.path if number is None else split_path(self.path, number)
        if number is not None and os.path.exists(path) and os.path.getsize(path) and not is_split_file(path):
            raise UsageError(f"{path} is in the way and is no event file of ours", "write to another name")
        fd = _open_alone(path)
        if number == 0:
            self._first = os.dup(fd)  # shares the lock
        self._begin(fd, path, number)

    def _begin(self, fd: int, name: str, number: int | None) -> None:
        self._fd = fd
        self.paths.append(name)
        self._size = 0
        header = self._header(number)
        self._write(header)
        self._start = len(header)

    def _write(self, block: bytes | memoryview) -> None:
        rest = memoryview(block)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest[:PIECE]) :]
                except BlockingIOError:  # whoever holds its other end made it non-blocking
                    select.select([], [self._fd], [])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._run_error(error) from error
        finally:
            if rest:  # also where Ctrl-C came between two pieces
                self._failed = True
                self._cut()
        self._size += len(block)
        self.bytes_written += len(block)

    def _cut(self) -> None:
        """Take back what was written of a block that didn't fit."""
        if self.path == STDOUT:
            return  # others may have written to it before
        with contextlib.suppress(OSError):  # a pipe has no end to cut back to
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)

    def _run_error(self, error: OSError) -> RunError:
        what = "no space left" if error.errno in _FULL else f"writing failed ({error.strerror})"
        return RunError(
            f"{what} for {self.paths[-1]}: {self.events_written} events are safely written, no later ones",
            "the file can be read as it is; free some space or write elsewhere",
        )

    def _finish(self, *, whole: bool = True) -> None:
        try:
            if whole and not self._failed:
                self._write(self._trailer)
        finally:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:  # network file systems report a full disk here
                raise self._run_error(error) from error


def not_writable(path: str, error: OSError) -> UsageError:
    """Return what to say of a file that can't be written to."""
    hint = "write to another name"
    if error.errno in (errno.EACCES, errno.EPERM):
        place = path if os.path.exists(path) else os.path.dirname(path) or "."
        hint = f"write elsewhere, or see who may write there: ls -ld {shlex.quote(place)}"
    return UsageError(f"can't write to {path}: {error.strerror}", hint)


def _open_alone(path: str) -> int:
    """Return a descriptor of the file, emptied, that no other fyke writes to. Raises UsageError."""
    fd = -1
    try:
        if os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # else it waits for a reader
            os.set_blocking(fd, True)
            return fd
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            _lock(fd)
            # Only now: what another is writing must not be lost. Ext4 writes a file that was emptied, even if
            # it was empty, to the disk when it is closed (its mount option auto_da_alloc).
            if os.fstat(fd).st_size:
                os.ftruncate(fd, 0)
        return fd
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, BlockingIOError):
            raise UsageError(f"{path} is being written by another fyke", "choose another name") from error
        if error.errno == errno.ENXIO:
            raise UsageError(f"nobody reads the pipe {path}", "start its reader first") from error
        raise not_writable(path, error) from error


def _lock(fd: int) -> None:
    """Lock a file for this process. Raises BlockingIOError when another has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks
