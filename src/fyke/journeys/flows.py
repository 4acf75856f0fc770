"""What Open vSwitch's daemon told of flows (rows of `ovs_detrace`), put beside the look-ups that met them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TOLD = "ovs_detrace"
_LOOKUP = "ovs_lookup"
_NAMES = ("ufid", "flow", "sf_acts")  # together they name a flow at one time
_TEXTS = ("dpflow", "ofpflows")


class Flows:
    """Flows by name; of one that was told twice, the later text."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, Any]] = {}

    def learn(self, batch: pa.RecordBatch) -> None:
        """Take what a batch tells of flows."""
        column = _column(batch, TOLD)
        if column is None:
            return
        column = column.drop_null()
        for name, row in zip(_names(column).to_pylist(), column.to_pylist(), strict=True):
            if name is not None:
                self._texts[name] = row

    def fill(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch with the texts of the flows that were met."""
        column = _column(batch, _LOOKUP) if self._texts else None
        if column is None:
            return batch
        met = _names(column).dictionary_encode()
        known = [self._texts.get(name, {}) for name in met.dictionary.to_pylist()]
        fields = list(column.type)
        children = [pc.struct_field(column, field.name) for field in fields]
        for at, field in enumerate(fields):
            if field.name in _TEXTS:
                told = pa.array([row.get(field.name) for row in known], field.type).take(met.indices)
                # What the file says already, stays: a sorted one was filled before.
                children[at] = pc.coalesce(children[at], told)
        mask = column.is_null() if column.null_count else None
        filled = pa.StructArray.from_arrays(children, fields=fields, mask=mask)
        place = batch.schema.get_field_index(_LOOKUP)
        return batch.set_column(place, batch.schema.field(place), filled)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """Return a section's column; None where it is in no row."""
    if name not in batch.schema.names:
        return None
    column = batch.column(name)
    return column if column.null_count < len(column) else None


def _names(column: pa.Array) -> pa.Array:
    """Return a text for each row that names its flow; null where it has none."""
    parts = [pc.cast(pc.struct_field(column, name), pa.string()) for name in _NAMES]
    return pc.binary_join_element_wise(*parts, "/")
