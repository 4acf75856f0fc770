"""Rows that are of one of several packets, nobody can say of which: which rows, and how many packets."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.ovs import STEPS

COLUMN = "candidates"  # of each section of a step, uint16
_MOST = 0xFFFF


class Marks:
    """Rows by number, in any order, each of a group that says how many candidates there are in the end."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._groups = array("q")
        self._candidates = array("I")

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self) -> int:
        """Return the number of a new group."""
        self._candidates.append(0)
        return len(self._candidates) - 1

    def mark(self, row: int, group: int, candidates: int) -> None:
        """Say that a row is of a group, and how many candidates that has now."""
        self._rows.append(row)
        self._groups.append(group)
        self._candidates[group] = candidates

    def fill(self, batch: pa.RecordBatch, numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
        """Return a batch with the marks of its rows. numbers: of the rows."""
        if not self._rows:
            return batch
        rows, groups, candidates = (
            np.frombuffer(values, kind)
            for values, kind in ((self._rows, "q"), (self._groups, "q"), (self._candidates, "I"))
        )
        order = np.argsort(rows)
        places = np.searchsorted(rows, numbers, sorter=order)
        places[places == len(rows)] = 0
        which = order[places]
        here = rows[which] == numbers
        if not here.any():
            return batch
        counts = pa.array(np.minimum(candidates[groups[which]], _MOST).astype(np.uint16), mask=~here)
        for name in STEPS:
            batch = _filled(batch, name, counts)
        return batch


def _filled(batch: pa.RecordBatch, name: str, counts: pa.Array) -> pa.RecordBatch:
    place = batch.schema.get_field_index(name)
    if place < 0 or batch.column(place).null_count == len(batch):
        return batch
    column = batch.column(place)
    fields = list(column.type)
    children = [
        pc.coalesce(counts, pc.struct_field(column, f.name))
        if f.name == COLUMN
        else pc.struct_field(column, f.name)
        for f in fields
    ]
    mask = column.is_null() if column.null_count else None
    filled = pa.StructArray.from_arrays(children, fields=fields, mask=mask)
    return batch.set_column(place, batch.schema.field(place), filled)


def count_marked(batch: pa.RecordBatch) -> int:
    """Return how many rows have a mark."""
    return sum(
        len(batch) - pc.struct_field(batch.column(name), COLUMN).null_count
        for name in STEPS
        if name in batch.schema.names and batch.column(name).null_count < len(batch)
    )
