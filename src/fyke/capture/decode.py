"""Records -> Arrow batches: whole columns at a time, never an event."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.capture.layout import RecordLayout
from fyke.capture.plan import Plan
from fyke.capture.retval import ReturnValues
from fyke.capture.user_events import UserEvents
from fyke.collectors import COLLECTORS
from fyke.events import schema
from fyke.events.column import Column, Names, Section
from fyke.events.escape import name_from_bytes
from fyke.events.nulls import nulls

Records = npt.NDArray[np.void]


class Decoder:
    """Turns the records of one collection into batches of the event table."""

    def __init__(self, plan: Plan, layout: RecordLayout, names: Names) -> None:
        self._layout = layout
        self._names = names
        self._schema = schema.arrow_schema()
        self._sections = [s for c in COLLECTORS for s in c.sections if s.name in layout.bits]
        self._probes = plan.probes
        self._stacks = plan.any_stack
        self._hides_stacks = bool(plan.adds)
        self._know_probes()
        self._returns = ReturnValues(plan.probes)  # none that is added is at a return
        self._labels: dict[tuple[str, str], dict[Hashable, Any]] = {}

    def _know_probes(self) -> None:
        self._symbols = pa.array([p.symbol for p in self._probes], pa.string())
        self._probe_types = pa.array([p.mechanism for p in self._probes], pa.string())
        self._users = UserEvents(self._probes)
        self._shows_stack = np.array(["STACK" in p.flags for p in self._probes])

    def batch(self, raw: npt.NDArray[np.uint8]) -> pa.RecordBatch:
        """Decode records, shape (n, record_bytes), in the order given."""
        if len(self._symbols) < len(self._probes):
            self._know_probes()
        records: Records = raw.view(self._layout.dtype)[:, 0]
        count = len(records)
        columns: dict[str, pa.Array] = {
            "timestamp_ns": pa.array(np.ascontiguousarray(records["timestamp_ns"])),
            "cpu": pa.array(np.ascontiguousarray(records["cpu"])),
            "task": self._struct(schema.TASK, records, None),
        }
        user = self._present(records, "userspace")
        columns["kernel"] = self._kernel(records, user)
        if user.any():
            columns["userspace"] = self._users.section(records, user)
        if (here := self._present(records, "retval")).any():
            raw = records["retval"]["value"]
            columns["retval"] = self._returns.section(records["probe"], raw, here)
        if (here := self._present(records, "arguments")).any():
            columns["arguments"] = self._users.arguments(records, here)
        for section in self._sections:
            here = self._present(records, section.name)
            if here.all():
                columns[section.name] = self._struct(section, records[section.name], None)
            elif here.any():
                columns[section.name] = self._struct(section, records[section.name], here)
        arrays = [columns[f.name] if f.name in columns else nulls(count, f.type) for f in self._schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _present(self, records: Records, section: str) -> npt.NDArray[np.bool_]:
        """Say which records have a section."""
        if section not in self._layout.bits:
            return np.zeros(len(records), np.bool_)
        present: npt.NDArray[np.bool_] = records["present"] >> np.uint32(self._layout.bits[section]) & 1 != 0
        return present

    def _kernel(self, records: Records, user: npt.NDArray[np.bool_]) -> pa.StructArray:
        """Build the section of probes in the kernel. user: which records are of user programs."""
        mask = user if user.any() else None
        numbers = np.ascontiguousarray(records["probe"])
        probe = pa.array(numbers, mask=mask)
        stack = schema.KERNEL.columns[2]
        if not self._stacks:
            stacks = pa.nulls(len(records), _type(stack))
        elif self._hides_stacks:
            stacks = self._stack(np.where(self._shows_stack[numbers], records["stack_id"], -1), stack)
        else:
            stacks = self._stack(records["stack_id"], stack)
        children = [self._symbols.take(probe), self._probe_types.take(probe), stacks]
        fields = list(schema.section_type(schema.KERNEL))
        return pa.StructArray.from_arrays(
            children, fields=fields, mask=None if mask is None else pa.array(mask)
        )

    def _stack(self, ids: npt.NDArray[np.int32], column: Column) -> pa.Array:
        keep = ids >= 0
        return self._labelled(
            "kernel", column, np.where(keep, ids, -1), lambda raw: self._names.stack(int(raw))
        )

    def _struct(self, section: Section, rows: Records, here: npt.NDArray[np.bool_] | None) -> pa.StructArray:
        """Build a section; rows that don't have it are blanked, their bytes are another record's remains."""
        children = [self._column(section, column, rows, here) for column in section.columns]
        mask = None if here is None else pa.array(~here)
        return pa.StructArray.from_arrays(children, fields=list(schema.section_type(section)), mask=mask)

    def _column(
        self, section: Section, column: Column, rows: Records, here: npt.NDArray[np.bool_] | None
    ) -> pa.Array:
        if not column.source:  # made later
            return nulls(len(rows), _type(column))
        if column.type == "binary":
            return _binary(rows[column.source], rows["capture_len"], here)
        raw = rows[column.source]
        values = np.ascontiguousarray(raw) if here is None else np.where(here, raw, np.zeros((), raw.dtype))
        if column.label:
            label = column.label
            return self._labelled(section.name, column, values, lambda value: label(value, self._names))
        if column.type == "string":
            return self._labelled(section.name, column, values, name_from_bytes)
        kind = _type(column)
        if column.type == "bool":
            values = values != 0
        mask = None if column.null_if is None else values == column.null_if
        # Where -1 means "not there" the struct's member is wider than the column.
        return pa.array(values, mask=mask).cast(kind, safe=False)

    def _labelled(
        self, section: str, column: Column, values: npt.NDArray[Any], label: Callable[[Any], Any]
    ) -> pa.Array:
        """Give each distinct raw value its label once, and look it up for every row.

        What has no label now may have one later: a rule that wasn't read yet.
        """
        encoded = _fixed(values).dictionary_encode()
        known = {} if column.may_change else self._labels.setdefault((section, column.name), {})
        distinct = []
        for value in encoded.dictionary.to_pylist():
            found = known.get(value)
            if found is None:
                found = known[value] = label(value)
            distinct.append(found)
        return pa.array(distinct, _type(column)).take(encoded.indices)


def _fixed(values: npt.NDArray[Any]) -> pa.Array:
    """Wrap numbers, or fixed-width bytes (NULs and all), without a copy."""
    if values.dtype.kind != "S":
        return pa.array(values)
    width = values.dtype.itemsize
    return pa.Array.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(values)])


def _binary(
    data: npt.NDArray[np.uint8], lengths: npt.NDArray[np.uint32], here: npt.NDArray[np.bool_] | None
) -> pa.Array:
    """Cut each row of `data`, a member of each record, to its length.

    The records themselves are given to Arrow as an array of (bytes, all up to the next bytes) pairs, of which
    every second element is taken: that is the only copy, and it is Arrow's.
    """
    count, width = data.shape
    stride = data.strides[0]
    flat = np.lib.stride_tricks.as_strided(data, ((count - 1) * stride + width,), (1,), writeable=False)
    kept = lengths if here is None else np.where(here, lengths, 0)
    offsets = np.empty(2 * count, np.int64)
    offsets[0::2] = np.arange(0, count * stride, stride)
    offsets[1::2] = offsets[0::2] + np.minimum(kept, width)
    pairs = pa.Array.from_buffers(
        pa.large_binary(), 2 * count - 1, [None, pa.py_buffer(offsets), pa.py_buffer(flat)]
    )
    return pairs.take(pa.array(np.arange(0, 2 * count, 2))).cast(pa.binary())


def _type(column: Column) -> pa.DataType:
    return schema.arrow_type(column)
