"""Opens event files of every kind and hands out their batches: one form for all that comes after."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, Protocol

from fyke.errors import InputError
from fyke.events import progress
from fyke.events.facts import Facts
from fyke.events.recognise import ARROW, CAPTURE, PARQUET, RETIS_JSON, recognise
from fyke.events.rotation import FOLLOW, next_path, numbers, size_behind, split_number, split_path
from fyke.events.source import EventSource as EventSource

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.retis.texts import Texts

STDIN = "-"  # the path that stands for standard input
_STDIN_FILE = "/dev/stdin"
DEFAULTS = ("fyke.arrow", "retis.data")


class Part(Protocol):
    """One file of a source; see ArrowPart and RetisPart."""

    path: str
    format: str
    facts: Facts
    schema: pa.Schema
    warnings: list[str]

    @property
    def unknown_sections(self) -> Mapping[str, int]:
        """Sections without a column, and how many events had them so far."""

    @property
    def complete(self) -> bool:
        """Whether it ended as it should; known after the last batch."""

    def keep_codes(self) -> None:
        """See `EventSource`."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what it holds."""


class FileSource(EventSource):
    """The events of a file, or of a split set of files."""

    def __init__(self, path: str, follow: bool, columns: Collection[str] | None = None) -> None:
        super().__init__()
        self.path = path
        self._columns = columns
        self.follow = follow
        self._closed = False  # the file that is open held the row that ends a collection
        self._codes = False
        self._unknown: Counter[str] = Counter()
        self._files = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._bytes_before = self._bytes_after = 0  # in the other files of a split set
        self._part = self._open(path)
        self.facts = self._part.facts
        self.format = self._part.format
        self.schema = self._part.schema

    @property
    def unknown_sections(self) -> dict[str, int]:
        """Sections that were not read, and how many events had them."""
        return dict(self._unknown + Counter(self._part.unknown_sections))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, all of schema `schema`.

        Raises InputError at the first damaged place, after everything before it; also kept in `problem`.
        """
        progress.watcher.begin(self)
        try:
            while True:
                self._closed = False
                for batch in self._part.batches():
                    self._closed = self._closed or _has_closing(batch)
                    yield batch
                if not self._part.complete:
                    self.complete = False
                    self.endless.append(self._part.path)
                following = self._next()
                if following is None:
                    self._check_end()
                    return
                self._unknown.update(self._part.unknown_sections)
                self._part = following
        except InputError as error:
            self._ended_by(error)
            raise
        except OSError as error:
            problem = InputError(f"can't read on in {self._part.path}: {error.strerror}")
            self._ended_by(problem)
            raise problem from error
        finally:
            progress.watcher.end(self)
            self.close()

    def keep_codes(self) -> None:
        """Have strings yielded as dictionary columns where the files have them so."""
        self._codes = True
        self._part.keep_codes()
        self.schema = self._part.schema

    def keep_texts(self, columns: Collection[str]) -> Texts | None:
        """See `EventSource`. Those of a split set are of several files: they aren't kept."""
        if self.format != RETIS_JSON or self.follow:
            return None
        from fyke.events.retis.read import RetisPart

        assert isinstance(self._part, RetisPart)
        texts = self._part.keep_texts(columns)
        self.schema = self._part.schema
        return texts

    def position(self) -> tuple[int, int] | None:
        """Return how many bytes were read, and of how many; None where that can't be told, as of a pipe."""
        try:
            size = _size(self._file)
            if self._file is None or not size:
                return None
            here = os.lseek(self._file.fileno(), 0, os.SEEK_CUR)
        except (OSError, ValueError):  # ValueError: closed just now, by another thread
            return None
        return self._bytes_before + here, self._bytes_before + size + self._bytes_after

    def _ended_by(self, problem: InputError) -> None:
        self.problem = problem
        self.complete = False

    def again(self, columns: Collection[str] | None = None) -> FileSource:
        """Open the same once more, with these columns. Raises what opening it raised."""
        return FileSource(self.path, self.follow, columns)

    def close(self) -> None:
        """Close the files; reading to the end does it too."""
        self._files.close()

    def _open(self, path: str) -> Part:
        self._bytes_before += _size(self._file)
        self._files.close()
        self._file = file = self._files.enter_context(_open_file(path))
        self._bytes_after = size_behind(path) if self.follow else 0
        try:
            part = _part(path, file, self._columns)
            if self._codes:
                part.keep_codes()
        except BaseException:
            self._files.close()
            raise
        self.files.append((path, part.facts))
        self.warnings.extend(part.warnings)
        return part

    def _next(self) -> Part | None:
        """Return the file that follows in a split set, None at its end."""
        path = next_path(self._part.path) if self.follow else None
        if path is None:
            return None
        if self._part.facts.split_id != split_number(self._part.path):
            self.warnings.append(f"File extension does not match the rotation policy: {self._part.path}")
            return None
        if not os.path.exists(path):
            return self._behind_hole(path)
        part = self._open(path)
        if part.format != self.format or not part.schema.equals(self.schema) or _other_run(part, self.facts):
            self.files.pop()
            self.warnings.append(f"{path} is of another collection and was not read")
            return None
        return part

    def _behind_hole(self, missing: str) -> Part | None:
        """Return the first file of the collection behind one that is missing, None when there is none."""
        base = missing.rpartition(".")[0]
        first = split_number(missing) or 0
        for number in numbers(base, first + 1):
            path = split_path(base, number)
            if not self._belongs(path, number):
                continue
            if number == first + 1:
                self.warnings.append(f"{missing} is missing: what it held isn't shown")
            else:
                last = split_path(base, number - 1)
                self.warnings.append(f"{missing} to {last} are missing: what they held isn't shown")
            return self._open(path)
        return None

    def _belongs(self, path: str, number: int) -> bool:
        """Say whether a file, by its own facts, is file NUMBER of this collection."""
        if not os.path.isfile(path):
            return False
        try:
            with open_events(path) as other:
                facts = other.facts
                return (
                    other.format == self.format
                    and other.schema.equals(self.schema)
                    and facts.split_id == number
                    and facts.split_limit_bytes == self.facts.split_limit_bytes
                    and not _other_run(other, self.facts)
                    and facts.timestamp_ns >= self._part.facts.timestamp_ns  # Retis: an earlier run's is less
                )
        except InputError:
            return False

    def _check_end(self) -> None:
        """Warn when the last file of a split set that is there isn't the last that was written."""
        part = self._part
        if (
            self.follow
            and part.format == ARROW  # Retis doesn't note the end
            and part.facts.split_id is not None
            and part.facts.split_id == split_number(part.path)
            and part.complete
            and not self._closed
        ):
            self.warnings.append(f"{part.path} is the last file here, but not the end of its collection")


def open_events(path: str | None = None, columns: Collection[str] | None = None) -> EventSource:
    """Open an event file of fyke or Retis, or a capture, recognised by its content.

    path: a file, `-` for standard input; with `..` at its end (`OUT.0..`, or `OUT..` for all) the files of a
    split set that follow it are read too. None: fyke.arrow in the working directory, else the set from
    fyke.arrow.0 on, else the same of retis.data.
    columns: names of top-level columns; all others may be null in the batches, which is faster. None: all.
    Raises InputError, one sentence, when it isn't to be had or is no event file.
    """
    path = default_input() if path is None else named(path)
    follow = path.endswith(FOLLOW) and path != FOLLOW and not path.endswith("/" + FOLLOW)
    if not follow:
        return FileSource(path, follow, columns)
    path = path.removesuffix(FOLLOW)
    if not os.path.exists(path) and os.path.exists(first := split_path(path, 0)):
        path = first
    return FileSource(path, follow, columns)


def default_input() -> str:
    """Return what the reading commands read when no file is named. Raises InputError when there is none."""
    for name in DEFAULTS:
        if os.path.exists(name):
            return name
        if os.path.exists(first := split_path(name, 0)):
            return first + FOLLOW
    raise InputError(
        f"there is no {' and no '.join(DEFAULTS)} here", "name an event file, or make one: fyke collect -o"
    )


def named(path: str) -> str:
    """Return the file that a path names: standard input has a name, too."""
    return _STDIN_FILE if path == STDIN else path


def _size(file: BinaryIO | None) -> int:
    """Return the size of a file, 0 for one that is closed, or none."""
    return 0 if file is None or file.closed else os.fstat(file.fileno()).st_size


def _has_closing(batch: pa.RecordBatch) -> bool:
    place = batch.schema.get_field_index("closing")
    return place >= 0 and bool(batch.column(place).null_count < batch.num_rows)


def _other_run(part: Part | EventSource, first: Facts) -> bool:
    """Say whether an Arrow file is of another collection; Retis gives each of its files a time of its own."""
    return part.format == ARROW and part.facts.timestamp_ns != first.timestamp_ns


def _instead(path: str) -> str:
    """Return what to do when there is no such file: read what has a name like it."""
    number = split_number(path)
    base = path if number is None else path.rpartition(".")[0]
    for there in numbers(base):
        return f"there is a split set: {split_path(base, there)}{FOLLOW}"
    return f"check the name; without one, {DEFAULTS[0]} is read"


def _open_file(path: str) -> BinaryIO:
    if not path:
        raise InputError(
            "the name of the file is empty", f"name a file; without a name, {DEFAULTS[0]} is read"
        )
    try:
        return open(path, "rb", buffering=1 << 17)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", _instead(path)) from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a directory, not an event file", "name a file in it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"can't read {path}: {reason}", "check its owner and mode with ls -l") from error


def _part(path: str, file: BinaryIO, columns: Collection[str] | None) -> Part:
    try:
        head: bytes = file.peek(16)[:16]  # type: ignore[attr-defined]
        kind = recognise(path, head)
        if kind == ARROW:
            from fyke.events.arrow_part import ArrowPart

            return ArrowPart(path, file, columns)
        if kind == PARQUET:
            from fyke.events.parquet_part import ParquetPart

            return ParquetPart(path, file, columns)
        if kind == CAPTURE:
            from fyke.events.pcapng.part import CapturePart

            return CapturePart(path, file)
        from fyke.events.retis.read import RetisPart

        return RetisPart(path, file, columns)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
