"""Moves the times of events from one clock to another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# What is a time of the collection's clock, beside each row's own: section, column.
TIMES = (
    *(("skb_tracking", "timestamp_ns"), ("skb_tracking", "parent_timestamp_ns")),
    *(("ovs_upcall", "upcall_timestamp_ns"), ("ovs_recv", "batch_timestamp_ns")),
    *(("ovs_operation", "batch_timestamp_ns"), ("gap", "since_ns")),
)
_MOST = (1 << 64) - 1
Times = npt.NDArray[np.uint64]


def on_clock(batch: pa.RecordBatch, shift_ns: int) -> pa.RecordBatch | None:
    """Return a batch of events whose times are `shift_ns` later, None when one of them can't be told then.

    What a section tells of a time before the clock's beginning is the beginning.
    """
    if not shift_ns:
        return batch
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    times, outside = _shifted(columns["timestamp_ns"].to_numpy(), shift_ns)
    if outside.any():
        return None
    columns["timestamp_ns"] = pa.array(times)
    for section, name in TIMES:
        column = columns[section]
        if column.null_count < len(column):
            columns[section] = _with_times(column, name, shift_ns)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def _with_times(section: pa.StructArray, name: str, shift_ns: int) -> pa.StructArray:
    """Return a section with one of its times moved."""
    children = []
    for i in range(section.type.num_fields):
        child = section.field(i)
        if section.type.field(i).name == name:
            times, outside = _shifted(pc.fill_null(child, 0).to_numpy(), shift_ns)
            missing = child.is_null().to_numpy(zero_copy_only=False)
            child = pa.array(np.where(outside, np.uint64(0), times), mask=missing)
        children.append(child)
    mask = section.is_null() if section.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(section.type), mask=mask)


def _shifted(times: Times, shift_ns: int) -> tuple[Times, npt.NDArray[np.bool_]]:
    """Return times and a difference added up, and which of them are outside of 64 bits, whose sum is any."""
    outside = times < np.uint64(-shift_ns) if shift_ns < 0 else times > np.uint64(_MOST - shift_ns)
    return times + np.uint64(shift_ns % (1 << 64)), outside
