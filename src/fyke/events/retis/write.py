"""Writes event tables as Retis' JSON lines, format 1.7, so that Retis' own tools read them."""

from __future__ import annotations

import base64
import dataclasses
import json
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fyke.events.escape import name_from_bytes, name_to_bytes
from fyke.events.facts import Facts
from fyke.events.output import Output
from fyke.events.retis.mapping import BYTES, MAPPED, NAMES, OWN, PROBE_TYPES, Mapped
from fyke.events.retis.startup import startup_event

if TYPE_CHECKING:
    import pyarrow as pa

Json = dict[str, Any]


class RetisWriter:
    """Writes a Retis file; used like `EventWriter`, and as safe on a full disk, to the last whole line.

    Facts with `order` `journey` give a sorted file: one line a journey, whose rows must be together.
    """

    def __init__(self, path: str, facts: Facts, *, limit_bytes: int | None = None) -> None:
        self.facts = facts
        self._limit = limit_bytes
        self._sorted = facts.order == "journey"
        self._journey: list[Json] = []  # the one that may go on in the next batch
        self._journey_id: int | None = None
        self._output = Output(path, self._header, limit_bytes=limit_bytes)

    @property
    def paths(self) -> list[str]:
        """The files written, in order."""
        return self._output.paths

    @property
    def removed(self) -> list[str]:
        """The files of an earlier split output that were removed."""
        return self._output.removed

    @property
    def bytes_written(self) -> int:
        """Bytes written to all files."""
        return self._output.bytes_written

    @property
    def events_written(self) -> int:
        """Events written; rows that note a gap or the end are not counted."""
        return self._output.events_written

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch. Raises RunError when the disk is full or fails."""
        events = [event_of(row) for row in _rows(batch)]
        if not self._sorted:
            self._lines([(event, _is_event(event)) for event in events])
            return
        done: list[tuple[Any, int]] = []
        for event in events:
            journey = event.setdefault(OWN, {}).setdefault("journey", None) or {}
            number = journey.get("id")
            if number is None or number != self._journey_id:
                done.extend(self._end_journey())
                self._journey_id = number
            self._journey.append(event)
        self._lines(done)

    def close(self) -> None:
        """Write what is left of the last journey and close."""
        self._lines(self._end_journey())
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._output.close(whole=False)

    def _header(self, split_id: int | None) -> bytes:
        facts = self.facts
        if split_id is not None:
            facts = dataclasses.replace(facts, split_id=split_id, split_limit_bytes=self._limit)
        event = startup_event(facts)
        return _line([event] if self._sorted else event)

    def _end_journey(self) -> list[tuple[Any, int]]:
        events, self._journey = self._journey, []
        if not events:
            return []
        first = next((e["skb-tracking"] for e in events if "skb-tracking" in e), None)
        if first is not None:
            for place, event in enumerate(events):
                journey = event[OWN]["journey"] or {}
                event["tracking"] = {"skb": first, "idx": journey.get("index", place)}
        return [(events, sum(map(_is_event, events)))]

    def _lines(self, items: list[tuple[Any, int]]) -> None:
        """Write one line an item, in blocks that the file has room for. items: (JSON, events in it)."""
        block: list[bytes] = []
        size = events = 0
        for item, count in items:
            line = _line(item)
            if block and size + len(line) > self._output.room():
                self._output.append(b"".join(block), events)
                block, size, events = [], 0, 0
            block.append(line)
            size += len(line)
            events += count
        if block:
            self._output.append(b"".join(block), events)


def event_of(row: dict[str, Any]) -> Json:
    """Return Retis' event for a row of an event table (a dict of Python values; null sections left out)."""
    rest = dict(row)
    common: Json = {"timestamp": rest.pop("timestamp_ns")}
    cpu = rest.pop("cpu", None)
    if cpu is not None:
        common["smp_id"] = cpu
    event: Json = {"common": common}
    own: Json = {}
    for mapped in MAPPED:
        values = rest.pop(mapped.section, None)
        if values is None:
            continue
        section, left = _section(mapped, values)
        if section is not None:
            _place(event, mapped.path, section)
        if section is None or left:
            own[mapped.section] = left
    for name, values in rest.items():
        own[name] = _plain(values)
    if own:
        event[OWN] = own
    return event


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch without their null sections."""
    rows: list[dict[str, Any]] = [{} for _ in range(batch.num_rows)]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count == len(column):
            continue
        for row, value in zip(rows, column.to_pylist(), strict=True):
            if value is not None:
                row[name] = value
    return rows


def _section(mapped: Mapped, values: Json) -> tuple[Json | None, Json]:
    """Return Retis' section (None when it can't be made whole), and the columns that it doesn't hold."""
    left = {column: value for column, value in values.items() if value is not None}
    whole = dict(left)
    section: Json = {}
    for key, column in mapped.keys:
        value = left.pop(column, None)
        if value is not None:
            section[key] = _as_retis_has_it(mapped.section, column, value)
        elif key not in mapped.optional:
            return None, whole
    if mapped.section == "kernel" and section["probe_type"] in PROBE_TYPES:
        left["probe_type"] = section["probe_type"]
        section["probe_type"] = PROBE_TYPES[section["probe_type"]]
    for key, column in mapped.keys:
        lossy = (mapped.section, column) in NAMES and name_from_bytes(section[key].encode()) != whole[column]
        if lossy:
            left[column] = whole[column]
    return section, left


def _as_retis_has_it(section: str, column: str, value: Any) -> Any:
    if (section, column) in NAMES:
        try:
            return name_to_bytes(value).decode()
        except UnicodeDecodeError:
            return value  # has no form in JSON but the escaped one
    if (section, column) in BYTES:
        return base64.b64encode(value).decode()
    return value


def _place(event: Json, path: tuple[str, ...], section: Json) -> None:
    *above, name = path
    node = event
    for key in above:
        node = node.setdefault(key, {})
    node[name] = section


def _plain(values: Any) -> Any:
    """Return values without nulls, for the `fyke` object."""
    if not isinstance(values, dict):
        return values
    return {column: value for column, value in values.items() if value is not None}


def _is_event(event: Json) -> int:
    own = event.get(OWN, {})
    return 0 if "gap" in own or "closing" in own else 1


def _line(item: Any) -> bytes:
    text = json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=_foreign)
    return text.encode() + b"\n"


def _foreign(value: Any) -> str:
    """Return a value of a column that is not ours in a form that JSON has."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
