"""Event tables -> JSON, many rows at a time: rows with values in the same columns share a pattern.

What a pattern is like is not known here: the exact way (`events.py`) writes one row whose values are
numbered, and where the numbers land in its JSON the columns' values go.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fyke.events.retis.arrays import indices_of
from fyke.events.retis.events import event_in_series, event_of, json_text, rows_of
from fyke.events.retis.fragments import Pattern, joined
from fyke.events.retis.lines import Places
from fyke.events.retis.mapping import OWN
from fyke.events.retis.series import AFTER, BEFORE, add_series
from fyke.events.retis.texts import COLUMN
from fyke.events.retis.values import (
    ADDRESSES,
    COPIED,
    FOREIGN,
    MARK,
    PROBE,
    SHAPING,
    TRACKING_INDEX,
    TRACKING_SKB,
    Coded,
    Key,
    Values,
)
from fyke.events.schema import HEADER, sections

_EXACT = ("exact", "text")  # the whole text of rows that are written the exact way
_KEPT = 1024  # patterns; a row's columns and values may be anything
_FIRST = 10**30  # stands for the first value of a row: no column holds it


@dataclass(frozen=True)
class Learned:
    """What was found out in earlier batches. patterns: by what they depend on. varied: see `fragments.py`."""

    patterns: dict[Hashable, Pattern] = field(default_factory=dict)
    varied: dict[Key, bool] = field(default_factory=dict)


def lines_of(
    batch: pa.RecordBatch, begins: Places | None, learned: Learned | None = None
) -> tuple[memoryview, Places]:
    """Return the lines of a file that a batch is, and where each ends.

    begins: where journeys begin (the first row does), each of which is a line; None: a row is.
    With journeys there may be a column of `texts.TEXTS`: these rows are copied.
    learned: the same for all batches of a file.
    """
    copied = batch.column(COLUMN) if COLUMN in batch.schema.names else None
    values = Values(batch if copied is None else batch.drop_columns([COLUMN]))
    if begins is not None:
        add_series(values, batch, begins)
    if copied is not None:
        values.copy(copied)
    whole = _texts(values, batch, "\n" if begins is None else None, learned or Learned())
    last = np.arange(batch.num_rows) if begins is None else np.append(begins[1:], batch.num_rows) - 1
    offsets = np.frombuffer(whole.buffers()[1], np.int32)[whole.offset : whole.offset + len(whole) + 1]
    data = memoryview(whole.buffers()[2])[offsets[0] : offsets[-1]]
    return data, (offsets[last + 1] - offsets[0]).astype(np.int64)


def texts(batch: pa.RecordBatch) -> pa.StringArray:
    """Return each row's event as JSON, which is exactly what `events.py` makes of it."""
    return _texts(Values(batch), batch, "", Learned())


def _texts(values: Values, batch: pa.RecordBatch, end: str | None, learned: Learned) -> pa.StringArray:
    """Return each row's text. end: what stands after it; None in sorted files."""
    if not batch.num_rows:
        return pa.array([], pa.string())
    patterns: list[Pattern] = []
    which = np.empty(batch.num_rows, np.int64)
    for members in _groups(values):
        which[members] = len(patterns)
        if values.exact[members[0]]:
            made = _exact(values, batch.take(indices_of(members)), members, is_sorted=end is None)
            values.set(_EXACT, Coded(np.arange(1, len(members) + 1), made), members)
            patterns.append(_around(Pattern(("", ""), (_EXACT,)), end))
            continue
        place = int(members[0])
        key = _identity(values, place)
        if key not in learned.patterns:
            if len(learned.patterns) >= _KEPT:
                learned.patterns.clear()
            learned.patterns[key] = _around(_pattern(values, place, is_sorted=end is None), end)
        patterns.append(learned.patterns[key])
    return joined(values, patterns, which, learned.varied)


def _around(pattern: Pattern, end: str | None) -> Pattern:
    """Put around an event what stands around it."""
    if end is None:
        return Pattern(("", *pattern.literals, ""), (BEFORE, *pattern.keys, AFTER))
    return Pattern((*pattern.literals[:-1], pattern.literals[-1] + end), pattern.keys)


def _groups(values: Values) -> list[Places]:
    """Return the rows of each pattern, and those to be written the exact way."""
    flags = {id(f): f for f in (*values.there.values(), *values.present.values())}.values()
    codes = values.probe
    for number in (*(f for f in flags if not f.all()), *values.shaping.values()):
        width = int(number.max()) + 1
        if int(codes.max()) >= (1 << 62) // width:
            codes = np.unique(codes, return_inverse=True)[1]
        codes = codes * width + number
    codes = np.where(values.exact, -1, codes)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _identity(values: Values, place: int) -> Hashable:
    """Return all that the pattern of a row depends on."""
    return (
        tuple(key for key, there in values.there.items() if there[place]),
        tuple(name for name, present in values.present.items() if present[place]),
        tuple(values.value(k, place) for k in values.shaping if k in SHAPING and values.there[k][place]),
        tuple(key for key in values.shaping if key in ADDRESSES and values.shaping[key][place]),
        int(values.probe[place]),
    )


def _pattern(values: Values, place: int, *, is_sorted: bool) -> Pattern:
    """Return the pattern of a row."""
    copied = next((key for key in COPIED if key in values.there and values.there[key][place]), None)
    keys: list[Key] = [] if copied is None else [copied]
    row: dict[str, Any] = {name: {} for name, present in values.present.items() if present[place]}
    for key, there in values.there.items():
        if not there[place] or key == TRACKING_SKB or key in COPIED:
            continue
        if key == PROBE and values.probe[place]:
            value: Any = FOREIGN[values.probe[place] - 1]
        elif key in SHAPING:
            value = values.value(key, place)
        else:
            value = _mark(key, len(keys), version_6=key in ADDRESSES and bool(values.shaping[key][place]))
            keys.append(key)
        if key[0]:
            row[key[0]][key[1]] = value
        else:
            row[key[1]] = value
    if not is_sorted:
        event = event_of(row)
    else:
        tracking = None
        if values.there[TRACKING_SKB][place]:
            tracking = {"skb": _FIRST + len(keys), "idx": _FIRST + len(keys) + 1}
            keys += [TRACKING_SKB, TRACKING_INDEX]
        event = event_in_series(row if copied is None else {"timestamp_ns": 0, **row}, tracking)
    literals, used, end = [], [], 0
    text = json_text(event) if copied is None else _continued(event, copied)
    for match in MARK.finditer(text):
        literals.append(text[end : match.start()])
        used.append(keys[int(match[1] or match[2])])
        end = match.end()
    return Pattern((*literals, text[end:]), tuple(used))


def _continued(event: dict[str, Any], copied: Key) -> str:
    """Return the JSON of an event that begins as it is in a file, the first value."""
    own = event[OWN]
    rest = {key: value for key, value in event.items() if key not in ("common", OWN)}
    inside = "" if copied == COPIED[1] else f'"{OWN}":{{'
    after = "," + json_text(rest)[1:] if rest else "}"
    return f"{_FIRST},{inside}{json_text(own)[1:]}{after}"


_TYPES = {
    **{("", column.name): column.type for column in HEADER},
    **{(section.name, column.name): column.type for section in sections() for column in section.columns},
}


def _mark(key: Key, number: int, *, version_6: bool) -> Any:
    """Return what stands for a value: `MARK` finds it in JSON, whatever the exact way does with it."""
    if _TYPES[key] == "binary":
        return binascii.a2b_base64(f"FYKE{number:08}")
    if version_6:
        return f"FYKE:{number:08}"
    return f"FYKE{number:08}" if _TYPES[key] == "string" else _FIRST + number


def _exact(values: Values, batch: pa.RecordBatch, members: Places, *, is_sorted: bool) -> pa.StringArray:
    """Return the texts of rows. batch: these rows; members: their numbers."""
    rows = rows_of(batch)
    if not is_sorted:
        return pa.array([json_text(event_of(row)) for row in rows], pa.string())
    found = []
    has_skb = values.there[TRACKING_SKB]
    for row, place in zip(rows, members, strict=True):
        tracking = None
        if has_skb[place]:
            skb, index = (values.texts(key, place[None])[0].as_py() for key in (TRACKING_SKB, TRACKING_INDEX))
            tracking = {"skb": json.loads(skb), "idx": json.loads(index)}
        found.append(json_text(event_in_series(row, tracking)))
    return pa.array(found, pa.string())
