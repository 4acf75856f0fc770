"""SQL over the views of a recording that may be of several files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from fyke.events.source import EventSource
from fyke.journeys.views import Views
from fyke.journeys.views_many import recorded_rows

if TYPE_CHECKING:
    from fyke.journeys.filtered import RecordingFilter

Choice = Callable[[], "RecordingFilter | None"]


def query(sql: str, found: tuple[str, ...], choice: Choice, memory_bytes: int | None) -> pa.Table:
    """Return the result of one statement over what `fyke.events.places` finds; see Recording.query."""

    def chosen(source: EventSource) -> Iterator[pa.RecordBatch]:
        wanted = choice()
        assert wanted is not None
        return wanted.rows(source)

    rows = recorded_rows(found, None if choice() is None else chosen)
    with Views(rows, memory_bytes=memory_bytes) as views:
        table = views.table(sql)
        if views.rows.problem is not None:
            raise views.rows.problem
    return table
