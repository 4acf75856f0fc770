"""Reads one Retis file: JSON lines, one event a line, or one series of events a line when it is sorted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa

from fyke.errors import InputError
from fyke.events.escape import printable
from fyke.events.recognise import RETIS_JSON
from fyke.events.retis.mapping import STARTUP
from fyke.events.retis.rows import BadEvent, Row, row_of
from fyke.events.retis.startup import RETIS_VERSION, facts_of
from fyke.events.retis.versions import Fix, fixes
from fyke.events.schema import arrow_schema
from fyke.events.store import count_events

BATCH_ROWS = 10_000
MAX_LINE = 64 << 20  # bytes; a Retis event takes some 600, a series is one packet's


class RetisPart:
    """One file. Raises InputError when it is no event file; `batches` raises it at the line of damage."""

    format = RETIS_JSON
    complete = True  # such a file has no end marker

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.unknown_sections: Counter[str] = Counter()
        self.schema = arrow_schema()
        self._file = file
        self._line = 0
        self._events = 0
        self._series = 0
        self._fixes: tuple[Fix, ...] = ()
        try:
            first = self._next()
            event = first[-1] if isinstance(first, list) and first else first
            self._sorted = isinstance(first, list)
            if not isinstance(event, dict) or not isinstance(event.get(STARTUP), dict):
                raise BadEvent("it doesn't begin with a startup event")
            version = event[STARTUP].get(RETIS_VERSION)
            if not isinstance(version, str):
                raise BadEvent("there is no Retis version in its startup event")
            self._fixes = fixes(version)
            for fix in self._fixes:
                fix.apply(event)
            self.facts = facts_of(event, "journey" if self._sorted else "time")
        except ValueError as error:
            why = printable(str(error)[:200])
            raise InputError(
                f"{path} is not an event file: {why}", "files of Retis 1.5 and later can be read"
            ) from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the events, batch by batch, in the columns of `schema`."""
        rows: list[Row] = []
        lines: list[int] = []
        try:
            while (event := self._next()) is not None:
                for row in self._rows(event):
                    rows.append(row)
                    lines.append(self._line)
                if len(rows) >= BATCH_ROWS:
                    yield from self._batch(rows, lines)
                    rows, lines = [], []
        except ValueError as error:
            yield from self._batch(rows, lines)
            self._damaged(self._line, error)
        yield from self._batch(rows, lines)

    def _next(self) -> Any:
        """Return the next line's JSON, None at the end. Raises ValueError."""
        while line := self._file.readline(MAX_LINE + 1):
            self._line += 1
            if len(line) > MAX_LINE:
                raise ValueError("the line is longer than any event")
            if not line.isspace():
                return _parse(line)
        return None

    def _rows(self, item: Any) -> list[Row]:
        """Return the rows of a line. Raises BadEvent."""
        if isinstance(item, list) != self._sorted:
            raise BadEvent("sorted and unsorted events are mixed")
        events = [e for e in (item if self._sorted else [item]) if not _is_startup(e)]
        rows: list[Row] = []
        for event in events:
            if isinstance(event, dict):
                for fix in self._fixes:
                    fix.apply(event)
            rows.append(row_of(event, self.unknown_sections))
        if self._sorted and rows:
            _place_in_journey(rows, events, self._series)
            self._series += 1
        return rows

    def _batch(self, rows: list[Row], lines: list[int]) -> Iterator[pa.RecordBatch]:
        """Yield the rows as a batch; raise at the first that isn't right, after those before it."""
        if not rows:
            return
        good, batch, problem = _convert(rows, self.schema)
        if batch is not None:
            self._events += count_events(batch)
            yield batch
        if problem is not None:
            self._damaged(lines[good], problem)

    def _damaged(self, line: int, why: BaseException) -> NoReturn:
        reason = printable(str(why)[:200])
        raise InputError(
            f"{self.path} is damaged at line {line}, after {self._events} events: {reason}",
            "what comes before was read; a collection that was killed, or a full disk, can leave such a file",
        ) from why


class _Fraction:
    """Stands for a number with a fraction or an exponent: no column takes it, and Arrow would round it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_Fraction, parse_constant=_no_number)


def _parse(line: bytes) -> Any:
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


def _is_startup(event: Any) -> bool:
    """Say whether it is the head of another file that was appended to this one."""
    return isinstance(event, dict) and STARTUP in event


def _place_in_journey(rows: list[Row], events: list[Any], number: int) -> None:
    """Give each row of a series its place, unless the file says it in our own words."""
    seen: dict[Any, int] = {}
    for position, (row, event) in enumerate(zip(rows, events, strict=True)):
        if "journey" in row:
            continue
        tracking = event.get("tracking")
        index = tracking.get("idx", position) if isinstance(tracking, dict) else position
        row["journey"] = {"id": number, "index": index}
        skb = (row.get("skb_tracking") or {}).get("skb")
        if type(skb) is int:
            row["journey"]["clone"] = seen.setdefault(skb, len(seen))


def _convert(rows: list[Row], schema: pa.Schema) -> tuple[int, pa.RecordBatch | None, Exception | None]:
    """Return how many rows from the first on Arrow takes, these as a batch, what is wrong with the next."""
    batch, problem = _try(rows, schema)
    if problem is None:
        return len(rows), batch, None
    good, bad = 0, len(rows)  # rows[:good] are right, rows[:bad] are not
    while bad - good > 1:
        middle = (good + bad) // 2
        _, found = _try(rows[good:middle], schema)
        if found is None:
            good = middle
        else:
            bad = middle
    batch = _try(rows[:good], schema)[0] if good else None
    return good, batch, _named(rows[good], schema) or problem


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
