"""One line of a Retis file -> rows, then a batch: the exact way, which says what is wrong with which line."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa

from fyke.events.retis.bad_event import BadEvent
from fyke.events.retis.mapping import STARTUP
from fyke.events.retis.rows import Row, row_of
from fyke.events.retis.versions import Fix


@dataclass(frozen=True, slots=True)
class Converter:
    """What lines of one file are read with. sorted: a line is a series of events, not one event."""

    sorted: bool
    fixes: tuple[Fix, ...]

    def rows(self, line: bytes, unknown: Counter[str]) -> list[Row]:
        """Return the rows of a line; of a blank one none. unknown: grows by sections without a column.

        Raises ValueError; `unknown` has then not changed.
        """
        item = None if line.isspace() else parse(line)
        if item is None:
            return []
        if isinstance(item, list) != self.sorted:
            raise BadEvent("sorted and unsorted events are mixed")
        events = [e for e in (item if self.sorted else [item]) if not is_startup(e)]
        found: Counter[str] = Counter()
        rows = [self.row(event, found) for event in events]
        if self.sorted:
            _place_in_journey(rows, events)
        unknown.update(found)
        return rows

    def row(self, event: Any, unknown: Counter[str]) -> Row:
        """Return the row of one event. Raises BadEvent."""
        if isinstance(event, dict):
            for fix in self.fixes:
                fix.apply(event)
        return row_of(event, unknown)


class Fraction:
    """Stands for a number with a fraction or an exponent: no column takes it, and Arrow would round it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def no_number(text: str) -> NoReturn:
    """Refuse NaN and infinity, which Python's reader takes for numbers."""
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=Fraction, parse_constant=no_number)


def parse(line: bytes) -> Any:
    """Return the JSON of a line. Raises ValueError."""
    try:
        text = line.decode()
        item = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start} of the line") from error
    except json.JSONDecodeError as error:
        if not line.endswith(b"\n"):
            raise ValueError("it ends inside an event") from error
        raise ValueError(f"not JSON at column {error.colno} ({error.msg})") from error
    if item is None:
        raise ValueError("an event is not a JSON object")
    return item


def is_startup(event: Any) -> bool:
    """Say whether it is the head of another file that was appended to this one."""
    return isinstance(event, dict) and STARTUP in event


PLACED_BY_US = 0  # the id of a journey until the number of the series in the file is known


def _place_in_journey(rows: list[Row], events: list[Any]) -> None:
    """Give each row of a series its place, but for the series' number, unless it is told."""
    seen: dict[Any, int] = {}
    for position, (row, event) in enumerate(zip(rows, events, strict=True)):
        if "journey" in row:
            continue
        tracking = event.get("tracking")
        index = tracking.get("idx", position) if isinstance(tracking, dict) else position
        row["journey"] = Placed(id=PLACED_BY_US, index=index)
        skb = (row.get("skb_tracking") or {}).get("skb")
        if type(skb) is int and skb != 0:
            row["journey"]["clone"] = seen.setdefault(skb, len(seen))


class Placed(dict[str, Any]):
    """A place in a journey that is not the file's own words."""


def number_series(rows: list[Row], number: int) -> None:
    """Give the rows of a series its number."""
    for row in rows:
        if isinstance(row["journey"], Placed):
            row["journey"]["id"] = number


def to_batch(rows: list[Row], schema: pa.Schema) -> tuple[pa.RecordBatch, Exception | None]:
    """Return the rows from the first on that Arrow takes, and what is wrong with the next."""
    batch, problem = _try(rows, schema)
    if batch is not None:
        return batch, None
    good, bad = 0, len(rows)  # rows[:good] are right, rows[:bad] are not
    while bad - good > 1:
        middle = (good + bad) // 2
        if _try(rows[good:middle], schema)[0] is not None:
            good = middle
        else:
            bad = middle
    batch = _try(rows[:good], schema)[0]
    assert batch is not None
    return batch, _named(rows[good], schema) or problem


def _named(row: Row, schema: pa.Schema) -> Exception | None:
    """Return what is wrong with a row that Arrow doesn't take, with the name of the column."""
    for section in schema:
        value = row.get(section.name)
        for name, item in value.items() if isinstance(value, dict) else ():
            _, problem = _try([{section.name: {name: item}, "timestamp_ns": 0}], schema)
            if problem is not None:
                return BadEvent(f"{section.name}.{name}: {problem}")
    return None


def _try(rows: list[Row], schema: pa.Schema) -> tuple[pa.RecordBatch | None, Exception | None]:
    try:
        return pa.RecordBatch.from_pylist(rows, schema=schema), None
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        return None, error
