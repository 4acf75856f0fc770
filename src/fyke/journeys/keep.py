"""Whole journeys of which some event is chosen: found in one pass over a recording, shown in a second."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import InputError, UsageError
from fyke.events.reader import EventSource
from fyke.events.store import note_rows

Mask = npt.NDArray[np.bool_]
_ID = np.dtype("S16")  # two big-endian halves: NumPy orders and compares these, NULs and all
_GATHERED = 1 << 16  # ids found before they are merged with those known


def whole_journeys(source: EventSource, chosen: Callable[[pa.RecordBatch], Mask]) -> Iterator[pa.RecordBatch]:
    """Return the batches of a source, not begun yet, with only the rows of journeys of which a row is chosen.

    A journey is the events of one tracking id, or, in a sorted file, of one `journey.id`; an event with none
    is a journey of its own. Notes of gaps and of the end stay. Rows keep their order.

    The input is read to its end before this returns, and a second time by the result. What is written to the
    file between the two is left out. Damage raises InputError after what came before it, as
    `source.batches()` does. Raises UsageError for an input that can't be read twice.
    """
    by_place = source.facts.order == "journey"
    hint = "write it to a file" if by_place else "`fyke sort --journeys` reads it once; or write it to a file"
    for part in source.parts:
        _refuse_streams(part.path, hint)
    kept = _Journeys(by_place=by_place)
    # Damage is met again in the second pass.
    with source.again() as first, contextlib.suppress(InputError):
        for batch in first.batches():
            kept.add(batch, chosen(batch))
    for name, _ in first.files:
        _refuse_streams(name, hint)
    kept.finish()
    return _second_pass(source, first, kept)


def _second_pass(source: EventSource, first: EventSource, kept: _Journeys) -> Iterator[pa.RecordBatch]:
    row = 0
    for batch in source.batches():
        more = row + len(batch) > kept.rows
        batch = batch.slice(0, kept.rows - row)
        yield batch.filter(pa.array(kept.mask(batch, row)))
        row += len(batch)
        if more:  # the file has grown
            break
    else:
        return
    source.close()
    source.endless.extend(first.endless)
    if first.problem is not None:
        raise first.problem


def renumbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield rows of a sorted file, of which some were left out, with `journey.id` and `index` without holes.

    `clone` and `lost` stay: they say what they say of the whole journey.
    """
    number, index, before = -1, -1, -1  # of the last row that belongs to a journey; its old id
    for batch in batches:
        journey = batch.column("journey")
        old = pc.struct_field(journey, "id")
        there = old.is_valid().to_numpy(zero_copy_only=False)
        if not there.any():
            yield batch
            continue
        ids = old.drop_null().to_numpy()
        begins = np.empty(len(ids), np.bool_)
        begins[1:] = ids[1:] != ids[:-1]
        begins[0] = before < 0 or int(ids[0]) != before
        places = np.arange(len(ids))
        starts = np.maximum.accumulate(np.where(begins, places, -1))
        new_ids = number + np.cumsum(begins)
        new_indices = np.where(starts < 0, index + 1 + places, places - starts)
        number, index, before = int(new_ids[-1]), int(new_indices[-1]), int(ids[-1])
        yield _with_places(batch, there, new_ids, new_indices)


def _with_places(batch: pa.RecordBatch, there: Mask, ids: Any, indices: Any) -> pa.RecordBatch:
    place = batch.schema.get_field_index("journey")
    field = batch.schema.field(place)
    new = {"id": ids, "index": indices}
    children = []
    for i in range(field.type.num_fields):
        inner = field.type.field(i)
        child = pc.struct_field(batch.column(place), [i])
        if inner.name in new:
            values = np.zeros(len(batch), np.uint64)
            values[there] = new[inner.name]
            child = pa.array(values, mask=~there).cast(inner.type)
        children.append(child)
    inners = [field.type.field(i) for i in range(field.type.num_fields)]
    mask = batch.column(place).is_null()
    return batch.set_column(place, field, pa.StructArray.from_arrays(children, fields=inners, mask=mask))


class _Journeys:
    """The journeys to keep: ids in order, and numbers of the rows that have none.

    by_place: they are told by `journey.id`, not by the tracking id. rows: rows seen.
    """

    def __init__(self, *, by_place: bool) -> None:
        self._by_place = by_place
        self._ids: npt.NDArray[Any] = np.empty(0, np.uint64 if by_place else _ID)
        self._found: list[npt.NDArray[Any]] = []
        self._found_count = 0
        self._alone: list[npt.NDArray[np.int64]] = []
        self._alone_rows: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.rows = 0

    def add(self, batch: pa.RecordBatch, chosen: Mask) -> None:
        """Take the next batch in, and which of its rows are chosen."""
        if chosen.any():
            places = np.flatnonzero(chosen)
            ids, has_id = self._id(batch.filter(pa.array(chosen)))
            self._alone.append(self.rows + places[~has_id])
            self._found.append(np.unique(ids[has_id]))
            self._found_count += len(self._found[-1])
            # In proportion, so that merging costs little in all and memory is that of the ids, twice.
            if self._found_count > max(_GATHERED, len(self._ids)):
                self._merge()
        self.rows += len(batch)

    def finish(self) -> None:
        """Make ready for `mask`, after the last batch."""
        self._merge()
        self._alone_rows = np.concatenate([self._alone_rows, *self._alone])

    def mask(self, batch: pa.RecordBatch, row: int) -> Mask:
        """Say which rows of a batch stay. row: the number of its first."""
        ids, has_id = self._id(batch)
        stays = _among(ids, self._ids) & has_id
        low, high = np.searchsorted(self._alone_rows, [row, row + len(batch)])
        stays[self._alone_rows[low:high] - row] = True
        notes = note_rows(batch)
        return stays if notes is None else stays | notes

    def _merge(self) -> None:
        self._ids = np.unique(np.concatenate([self._ids, *self._found]))
        self._found, self._found_count = [], 0

    def _id(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[Any], Mask]:
        """Return each row's id, and whether it has one."""
        if self._by_place:
            number = pc.struct_field(batch.column("journey"), "id")
            return pc.fill_null(number, 0).to_numpy(), number.is_valid().to_numpy(zero_copy_only=False)
        tracking = batch.column("skb_tracking")
        head = pc.struct_field(tracking, "orig_head")
        # What has a head and no time is taken for first seen here, as when sorting.
        time = pc.coalesce(pc.struct_field(tracking, "timestamp_ns"), batch.column("timestamp_ns"))
        pairs = np.empty((len(batch), 2), ">u8")
        pairs[:, 0] = time.to_numpy()
        pairs[:, 1] = pc.fill_null(head, 0).to_numpy()
        return pairs.view(_ID)[:, 0], head.is_valid().to_numpy(zero_copy_only=False)


def _among(values: npt.NDArray[Any], ordered: npt.NDArray[Any]) -> Mask:
    """Say which values are among ordered ones."""
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[places] == values  # type: ignore[no-any-return]


def _refuse_streams(path: str, hint: str) -> None:
    """Raise UsageError for what can be read once only."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return  # gone since: reading it again says so
    if not regular:
        raise UsageError(f"{path} can't be read twice, as --journeys needs here", hint)
