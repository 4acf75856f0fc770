"""Events as comma-separated values: a row an event, a column a value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyarrow import types as t

from fyke.export.convert_file import FileWriter
from fyke.export.pcap_packets import slices

# Two hexadecimal digits for each byte, as they stand in memory.
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


class CsvWriter(FileWriter):
    """Writes a table as CSV (RFC 4180) with a line of names: `section.column`.

    Text is quoted; what is null is nothing, unlike an empty text. Bytes are hexadecimal, lists JSON, as in
    results of `fyke query`. The facts of the collection have no place in it.
    """

    def __init__(self, path: str, schema: pa.Schema) -> None:
        empty = flat(pa.RecordBatch.from_pylist([], schema=schema))
        super().__init__(path, lambda file: pa_csv.CSVWriter(file, empty.schema))

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch."""
        for rows in slices(batch):
            self._writer.write_batch(flat(rows))


def flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch without structs, lists and bytes; names have dots."""
    columns: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        _flatten(name, column, columns)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def hexadecimal(values: pa.Array) -> pa.Array:
    """Return binary values as text of two digits a byte."""
    values = values.cast(pa.binary())
    _validity, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    content = b"" if data is None else data
    digits = _HEX[np.frombuffer(content, np.uint8)[ends[0] : ends[-1]]]
    texts = [pa.py_buffer((ends - ends[0]) * np.int32(2)), pa.py_buffer(digits)]
    made = pa.Array.from_buffers(pa.string(), len(values), [None, *texts])
    return pc.if_else(values.is_valid(), made, pa.scalar(None, pa.string())) if values.null_count else made


def _flatten(name: str, column: pa.Array, columns: dict[str, pa.Array]) -> None:
    kind = column.type
    if t.is_struct(kind):
        for i in range(kind.num_fields):
            _flatten(f"{name}.{kind.field(i).name}", pc.struct_field(column, [i]), columns)
    elif t.is_binary(kind) or t.is_large_binary(kind):
        columns[name] = hexadecimal(column)
    elif t.is_integer(kind) or t.is_boolean(kind) or t.is_string(kind) or t.is_floating(kind):
        columns[name] = column
    elif column.null_count == len(column):
        columns[name] = pa.nulls(len(column), pa.string())
    else:
        texts = [None if value is None else _text(value) for value in column.to_pylist()]
        columns[name] = pa.array(texts, pa.string())


def _text(value: Any) -> str:
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    )
