"""One event of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fyke.api.rows import Rows
from fyke.api.sections import SectionValues, section_object
from fyke.events.facts import Facts
from fyke.events.schema import HEADER, sections
from fyke.events.store import note_rows

if TYPE_CHECKING:
    from fyke.api.columns import EventColumns
else:
    EventColumns = object  # the stub file columns.pyi tells type checkers what __getattr__ finds

_HEADER = frozenset(column.name for column in HEADER)
_SECTIONS = frozenset(section.name for section in sections())


class Event(EventColumns):
    """An event: a section is an attribute (`event.dev`), or an item, `event["skb-tracking"]`.

    timestamp_ns, cpu and the sections with their columns are those of docs/columns.md. A section that the
    event doesn't have is None as an attribute, and a KeyError as an item. `"dev" in event` asks for it.
    str() is the text that `fyke print` shows.

    An event keeps the batch it is from in memory; what copy.copy() makes of it doesn't.
    """

    __slots__ = ("_row", "_rows")

    def __init__(self, rows: Rows, row: int) -> None:
        self._rows = rows
        self._row = row

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            if name in self._rows.names:
                return self._get(name)
            if name in _SECTIONS:
                return None
            raise AttributeError(f"an event has no section {name}")

    def __getitem__(self, name: str) -> Any:
        plain = name.replace("-", "_")
        value = self._get(plain) if plain in self._rows.names else None
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            raise TypeError("a section's name is a string")
        plain = name.replace("-", "_")
        return plain in self._rows.names and self._rows.value(plain, self._row) is not None

    __iter__ = None  # or `in` and list() would try 0, 1, 2 ...

    def __reduce__(self) -> tuple[Any, ...]:
        return _alone, (type(self), self._rows.only(self._row), self._rows.facts)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._rows.names})

    @property
    def facts(self) -> Facts:
        """The facts of the collection that it is from."""
        return self._rows.facts

    @property
    def unix_ns(self) -> int:
        """When it was, in nanoseconds since the Unix epoch."""
        timestamp_ns: int = self._rows.value("timestamp_ns", self._row)
        return timestamp_ns + self._rows.facts.clock_monotonic_offset_ns

    def sections(self) -> list[str]:
        """Return the names of the sections it has, in the order of the file."""
        return [
            n for n in self._rows.names if n not in _HEADER and self._rows.value(n, self._row) is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return column -> value and section -> column -> value, of those that it has."""
        result: dict[str, Any] = {}
        for name in self._rows.names:
            value = self._get(name)
            if value is not None:
                result[name] = value.to_dict() if isinstance(value, SectionValues) else value
        return result

    def __str__(self) -> str:
        return self._rows.text(self._row)

    def __repr__(self) -> str:
        symbol = (self._rows.value("kernel", self._row) or {}).get("symbol")
        return f"<Event {self.timestamp_ns}{f' at {symbol}' if symbol else ''}: {', '.join(self.sections())}>"

    def _get(self, name: str) -> Any:
        value = self._rows.value(name, self._row)
        return section_object(name, value) if isinstance(value, dict) else value


def _alone(kind: type[Event], batch: pa.RecordBatch, facts: Facts, *more: Any) -> Event:
    """Return an event that was copied or pickled: the only one of its batch."""
    return kind(Rows(batch, facts), 0, *more)


def events_of(rows: Rows) -> Iterator[Event]:
    """Yield the events of a batch; rows that note a gap or the end of the collection are none."""
    notes = note_rows(rows.batch)
    for row in range(len(rows.batch)):
        if notes is None or not notes[row]:
            yield Event(rows, row)
