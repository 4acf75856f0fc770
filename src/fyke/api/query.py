"""SQL over the views of a recording that may be of several files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from fyke.errors import InputError
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.journeys.views import Views
from fyke.journeys.views_rows import CHOICE_COLUMNS, Rows

if TYPE_CHECKING:
    from fyke.journeys.filtered import RecordingFilter

Choice = Callable[[], "RecordingFilter | None"]


def query(sql: str, found: tuple[str, ...], choice: Choice, memory_bytes: int | None) -> pa.Table:
    """Return the result of one statement over places as `fyke.api.places` gives them; see Recording.query."""
    with Views(_rows(found, choice), memory_bytes=memory_bytes) as views:
        table = views.table(sql)
        if views.rows.problem is not None:
            raise views.rows.problem
    return table


def _rows(found: tuple[str, ...], choice: Choice) -> Rows:
    if len(found) > 1:
        return _ManyRows(found, choice)
    chosen = choice()
    return Rows(found[0], None if chosen is None else chosen.batches)


class _ManyRows(Rows):
    """The rows of several recordings, one after another; journeys are told apart by their packets' ids."""

    def __init__(self, found: tuple[str, ...], choice: Choice) -> None:
        self._found = found
        self._choice = choice
        super().__init__(found[0])

    def _open(self, columns: Collection[str]) -> Any:
        return _Many(self._found, self._choice(), columns)


class _Many:
    """Stands for an EventSource over several places. What is damaged is told after the last one."""

    def __init__(
        self, found: tuple[str, ...], choice: RecordingFilter | None, columns: Collection[str]
    ) -> None:
        self._found = found
        self._choice = choice
        self._columns = columns if choice is None else {*columns, *CHOICE_COLUMNS}
        self.facts = Facts()  # in order of time, as far as SQL is concerned
        self.warnings: list[str] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what is chosen of all places."""
        problem: InputError | None = None
        for place in self._found:
            with open_events(place, self._columns) as source:
                try:
                    yield from source.batches() if self._choice is None else self._choice.batches(source)
                except InputError as error:
                    problem = problem or error
                self.warnings += source.warnings
        if problem is not None:
            raise problem

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
