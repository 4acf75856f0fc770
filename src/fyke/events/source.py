"""A source of events: what all that comes after a file knows of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fyke.errors import InputError
from fyke.events.facts import Facts

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.retis.texts import Texts


class EventSource:
    """The events of a file, of a split set of files, or of several files as one; can be read once.

    Made by `fyke.events.reader.open_events` and `fyke.events.merged.open_merged`.

    path, facts, format (see `fyke.events.recognise`), schema: as the first file has them.
    files: name and facts of every file begun so far. A batch never spans files of a split set.
    warnings: sentences for the user, grown while reading. unknown_sections: how often each section
    occurred that this version has no column for. complete: False when a file has no end marker, because the
    collection was killed or its disk was full; known after reading. endless: the names of such files.
    problem: what ended the reading early. follow: whether the files of a split set are read from `path` on.
    """

    path: str
    facts: Facts
    format: str
    schema: pa.Schema
    follow = False

    def __init__(self) -> None:
        self.files: list[tuple[str, Facts]] = []
        self.warnings: list[str] = []
        self.problem: InputError | None = None
        self.complete = True
        self.endless: list[str] = []

    @property
    def parts(self) -> Sequence[EventSource]:
        """The sources that this one is made of, or itself."""
        return (self,)

    @property
    def unknown_sections(self) -> dict[str, int]:
        """Sections that were not read, and how many events had them."""
        raise NotImplementedError

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, all of schema `schema`.

        Raises InputError at the first damaged place, after everything before it; also kept in `problem`.
        """
        raise NotImplementedError

    def keep_codes(self) -> None:
        """Have strings yielded as dictionary columns (`coded.CODED`) where a file has them so.

        Before reading begins; `schema` then says where. Where not, nothing changes.
        """

    def keep_texts(self, columns: Collection[str]) -> Texts | None:
        """Have events left as the JSON they are: the batches get a column that says where, see `texts.py`.

        Before reading begins. columns: of events that are left so, only these are made; of others, all. None
        where a file has other events, or can't be read at any place; nothing changes then. To be closed.
        """
        return None

    def again(self, columns: Collection[str] | None = None) -> EventSource:
        """Open the same once more, with these columns. Raises what opening it raised."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the files; reading to the end does it too."""
        raise NotImplementedError

    def reader(self) -> pa.RecordBatchReader:
        """Return the batches as a reader for DuckDB and others. Damage ends it quietly: see `problem`."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self._quiet_batches())

    def _quiet_batches(self) -> Iterator[pa.RecordBatch]:
        with contextlib.suppress(InputError):
            yield from self.batches()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
