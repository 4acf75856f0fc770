"""Rows of a batch as events need them: Python values and text, made when asked for, many rows at once."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fyke.collectors.formatting import Style
from fyke.events.facts import Facts
from fyke.render.text import EventText

# Texts made at once: printing every event costs little more than `fyke print` does, and one event not much.
TEXT_ROWS = 256


class Rows:
    """A batch whose columns are read by row.

    facts: of the collection that the rows are from.
    """

    def __init__(self, batch: pa.RecordBatch, facts: Facts) -> None:
        self.batch = batch
        self.facts = facts
        self._columns: dict[str, list[Any]] = {}
        self._texts: dict[int, list[str]] = {}
        self._text: EventText | None = None

    @property
    def names(self) -> list[str]:
        """The top-level columns."""
        names: list[str] = self.batch.schema.names
        return names

    def only(self, row: int) -> pa.RecordBatch:
        """Return a batch of that row, which doesn't hold the memory of the others."""
        return self.batch.take(pa.array([row]))

    def value(self, column: str, row: int) -> Any:
        """Return a row's value in a top-level column: for a section a dict, None where the row hasn't it."""
        values = self._columns.get(column)
        if values is None:
            values = self._columns[column] = self.batch.column(column).to_pylist()
        return values[row]

    def text(self, row: int) -> str:
        """Return the text of a row as `fyke print` shows it, without an empty line after it."""
        block, place = divmod(row, TEXT_ROWS)
        texts = self._texts.get(block)
        if texts is None:
            rows = self.batch.slice(block * TEXT_ROWS, TEXT_ROWS)
            texts = self._texts[block] = self._event_text().texts(rows).to_pylist()
        return texts[place]

    def _event_text(self) -> EventText:
        if self._text is None:
            self._text = EventText(Style(), series=self.facts.order == "journey")
        return self._text
