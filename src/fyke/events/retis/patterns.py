"""Event tables -> JSON, many rows at a time: rows with values in the same columns share a pattern.

What a pattern is like is not known here: the exact way (`events.py`) writes one row whose values are
numbered, and where the numbers land in its JSON the columns' values go.
"""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.retis.arrays import indices_of
from fyke.events.retis.events import event_in_series, event_of, json_text, rows_of
from fyke.events.retis.lines import Places
from fyke.events.retis.series import Series, series_of
from fyke.events.retis.values import (
    ADDRESSES,
    FOREIGN,
    MARK,
    PROBE,
    SHAPING,
    TRACKING_INDEX,
    TRACKING_SKB,
    Key,
    Values,
)
from fyke.events.schema import HEADER, sections

_FIRST = 10**30  # stands for the first value of a row: no column holds it


def lines_of(batch: pa.RecordBatch, begins: Places | None) -> tuple[memoryview, Places]:
    """Return the lines of a file that a batch is, and where each ends.

    begins: where journeys begin (the first row does), each of which is a line; None: a row is.
    """
    found = texts(batch, None if begins is None else series_of(batch, begins))
    if begins is None:
        whole = pc.binary_join_element_wise(found, pa.scalar("\n"), pa.scalar(""))
        last = np.arange(batch.num_rows)
    else:
        last = np.append(begins[1:], batch.num_rows) - 1
        before, after = np.zeros(batch.num_rows, np.int64), np.full(batch.num_rows, 2)
        before[begins], after[last] = 1, 3
        around = pa.array(["", "[", ",", "]\n"])
        whole = pc.binary_join_element_wise(
            around.take(indices_of(before)), found, around.take(indices_of(after)), pa.scalar("")
        )
    offsets = np.frombuffer(whole.buffers()[1], np.int32)[whole.offset : whole.offset + len(whole) + 1]
    data = memoryview(whole.buffers()[2])[offsets[0] : offsets[-1]]
    return data, (offsets[last + 1] - offsets[0]).astype(np.int64)


def texts(batch: pa.RecordBatch, series: Series | None) -> pa.StringArray:
    """Return each row's event as JSON, which is exactly what `events.py` makes of it."""
    table = Values(batch, series)
    groups, rows = _groups(table)
    parts, places = [], []
    for pattern, members in zip(groups, rows, strict=True):
        if pattern is None:
            parts.append(_exact(batch.take(indices_of(members)), members, series))
        else:
            parts.append(_joined(table, pattern, members, batch.num_rows))
        places.append(members)
    whole = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
    if len(parts) < 2:
        return whole
    order = np.empty(batch.num_rows, np.int64)
    order[np.concatenate(places)] = np.arange(batch.num_rows)
    return whole.take(indices_of(order))


@dataclass(frozen=True)
class _Pattern:
    """The JSON of rows: literals[0] value literals[1] ... literals[-1]; keys: which columns' values."""

    literals: list[str]
    keys: list[Key]


def _groups(table: Values) -> tuple[list[_Pattern | None], list[Places]]:
    """Return the patterns of the rows, and the rows of each; None for rows to be written the exact way."""
    rows = len(table.probe)
    if not rows:
        return [], []
    flags = [f for f in (*table.there.values(), *table.present.values()) if not f.all()]
    codes = table.probe
    for number in (*flags, *table.shaping.values()):
        width = int(number.max()) + 1
        if int(codes.max()) >= (1 << 62) // width:
            codes = np.unique(codes, return_inverse=True)[1]
        codes = codes * width + number
    codes = np.where(table.exact, -1, codes)
    order = np.argsort(codes, kind="stable")
    _, firsts = np.unique(codes[order], return_index=True)
    members = np.split(order, firsts[1:])
    return [None if table.exact[m[0]] else _pattern(table, int(m[0])) for m in members], members


def _pattern(table: Values, place: int) -> _Pattern:
    """Return the pattern of a row."""
    keys: list[Key] = []
    row: dict[str, Any] = {name: {} for name, present in table.present.items() if present[place]}
    for key, there in table.there.items():
        if not there[place] or key[0] == "tracking":
            continue
        if key == PROBE and table.probe[place]:
            value: Any = FOREIGN[table.probe[place] - 1]
        elif key in SHAPING:
            value = table.value(key, place)
        else:
            value = _mark(key, len(keys), version_6=key in ADDRESSES and bool(table.shaping[key][place]))
            keys.append(key)
        if key[0]:
            row[key[0]][key[1]] = value
        else:
            row[key[1]] = value
    if table.series is None:
        event = event_of(row)
    else:
        tracking = None
        if table.there[TRACKING_SKB][place]:
            tracking = {"skb": _FIRST + len(keys), "idx": _FIRST + len(keys) + 1}
            keys += [TRACKING_SKB, TRACKING_INDEX]
        event = event_in_series(row, tracking)
    literals, used, end = [], [], 0
    text = json_text(event)
    for match in MARK.finditer(text):
        literals.append(text[end : match.start()])
        used.append(keys[int(match[1] or match[2])])
        end = match.end()
    return _Pattern([*literals, text[end:]], used)


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


def _joined(table: Values, pattern: _Pattern, members: Places, rows: int) -> pa.StringArray:
    pieces: list[Any] = []
    indices = indices_of(members)
    for literal, key in zip(pattern.literals, [*pattern.keys, None], strict=True):
        pieces.append(pa.scalar(literal))
        if key is not None:
            text = table.text(key)
            pieces.append(text if len(members) == rows else text.take(indices))
    return pc.binary_join_element_wise(*pieces, pa.scalar(""))


def _exact(batch: pa.RecordBatch, members: Places, series: Series | None) -> pa.StringArray:
    rows = rows_of(batch)
    if series is None:
        return pa.array([json_text(event_of(row)) for row in rows], pa.string())
    found = []
    for row, place in zip(rows, members.tolist(), strict=True):
        skb, index = series.tracking[place].as_py(), series.index[place].as_py()
        tracking = None if skb is None else {"skb": json.loads(skb), "idx": json.loads(index)}
        found.append(json_text(event_in_series(row, tracking)))
    return pa.array(found, pa.string())
