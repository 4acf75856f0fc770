"""Results of queries as a table of text, CSV, JSON, Parquet or Arrow, batch by batch: of any size."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import IO, Any, Protocol

import pyarrow as pa
from pyarrow import types as t

from fyke.errors import UsageError
from fyke.events.escape import printable

FORMATS = ("table", "csv", "json", "parquet", "arrow")
_SUFFIXES = {
    ".txt": "table",
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
}
_BINARY = ("parquet", "arrow")
_NOTHING = "-"  # a null in a table of text
_WIDEST = 100  # characters of a column of a table to which others are aligned


class Taker(Protocol):
    """Takes the batches of one result. Without `close` the output is not whole."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""

    def close(self) -> None:
        """Write what is left."""


def output_format(path: str, asked: str | None = None) -> str:
    """Return one of FORMATS for a file: what was asked for, else what its name says. Raises UsageError."""
    if asked is not None:
        return asked
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _SUFFIXES:
        names = ", ".join(_SUFFIXES)
        raise UsageError(f"the name {path} doesn't say in which format to write", f"use {names}, or --format")
    return _SUFFIXES[suffix]


def write_table(schema: pa.Schema, batches: Iterable[pa.RecordBatch], stream: IO[bytes], kind: str) -> int:
    """Write a result to a stream of bytes in one of FORMATS; return how many rows it has.

    Table: aligned, `-` for null, control characters escaped. CSV (RFC 4180): all text quoted, null is
    nothing. JSON: an array of objects, one a line. Lists and structs are JSON in the first two, bytes
    are hexadecimal and intervals ISO 8601 in all three. Columns of one name are told apart by `_1` and so
    on, but not in the table.
    Raises UsageError for a column that the format can't hold.
    """
    if kind == "table":
        taker: Taker = _Text(schema, stream)
    else:
        schema = pa.schema([f.with_name(n) for f, n in zip(schema, _unique(schema.names), strict=True)])
        taker = _taker(schema, stream, kind)
    rows = 0
    for batch in batches:
        if kind != "table":
            batch = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        with _refusing(kind):
            taker.write(batch)
        rows += len(batch)
    with _refusing(kind):
        taker.close()
    return rows


def refuse_terminal(kind: str, stream: IO[Any]) -> None:
    """Raise UsageError for bytes that a terminal would take for commands."""
    if kind in _BINARY and stream.isatty():
        raise UsageError(f"{kind} is no text: a terminal can't show it", "write it to a file: -o FILE")


@contextlib.contextmanager
def _refusing(kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError(
            f"the result can't be written as {kind}: {why}", "cast the column to VARCHAR"
        ) from error


def _unique(names: list[str]) -> list[str]:
    """Return names of which no two are the same."""
    taken: set[str] = set()
    result = []
    for name in names:
        new, number = name, 0
        while new in taken or (new != name and new in names):
            number += 1
            new = f"{name}_{number}"
        taken.add(new)
        result.append(new)
    return result


def _taker(schema: pa.Schema, stream: IO[bytes], kind: str) -> Taker:
    with _refusing(kind):
        if kind == "csv":
            return _Csv(schema, stream)
        if kind == "json":
            return _Json(stream)
        if kind == "parquet":
            import pyarrow.parquet as pq

            return pq.ParquetWriter(_Sink(stream), schema, compression="zstd")  # type: ignore[no-any-return]
        return pa.ipc.new_stream(_Sink(stream), schema)  # type: ignore[no-any-return]


class _Sink:
    """A stream for pyarrow that it can't seek in or close, so that pipes will do."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._stream.write(view)
        self._size += len(view)
        return len(view)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Leave it open: whoever opened it closes it."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


class _Json:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._before = b"[\n"

    def write(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            self._stream.write(self._before + _json(row).encode())
            self._before = b",\n"

    def close(self) -> None:
        self._stream.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class _Csv:
    def __init__(self, schema: pa.Schema, stream: IO[bytes]) -> None:
        import pyarrow.csv as pc

        self._schema = pa.schema([f.with_type(f.type if _plain(f.type) else pa.string()) for f in schema])
        self._writer = pc.CSVWriter(_Sink(stream), self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [
            c
            if _plain(c.type)
            else pa.array([None if v is None else _text(v) for v in c.to_pylist()], pa.string())
            for c in batch.columns
        ]
        self._writer.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Text:
    """Columns as wide as the first batch needs; a longer value later pushes its line to the right."""

    def __init__(self, schema: pa.Schema, stream: IO[bytes]) -> None:
        self._schema = schema
        self._stream = stream
        self._widths: list[int] | None = None
        # DuckDB's answer to EXPLAIN is a picture.
        self._picture = schema.names == ["explain_key", "explain_value"]

    def write(self, batch: pa.RecordBatch) -> None:
        if self._picture:
            for value in batch.column(1).to_pylist():
                lines = (printable(line) for line in str(value).splitlines())
                self._stream.write("".join(f"{line}\n" for line in lines).encode())
            return
        columns = [[_cell(v) for v in column.to_pylist()] for column in batch.columns]
        if self._widths is None:
            self._begin(columns)
        for row in zip(*columns, strict=True):
            self._line(row)

    def close(self) -> None:
        if self._widths is None and not self._picture:
            self._begin([[] for _ in self._schema])

    def _begin(self, columns: list[list[str]]) -> None:
        names = [printable(name) for name in self._schema.names]
        self._widths = [
            max(len(name), min(max(map(len, column), default=0), _WIDEST))
            for name, column in zip(names, columns, strict=True)
        ]
        self._line(names)
        self._line(["-" * width for width in self._widths])

    def _line(self, cells: Iterable[str]) -> None:
        assert self._widths is not None
        parts = (
            cell.rjust(width) if _to_the_right(field.type) else cell.ljust(width)
            for cell, width, field in zip(cells, self._widths, self._schema, strict=True)
        )
        self._stream.write(f"{'  '.join(parts).rstrip()}\n".encode("utf-8", "backslashreplace"))


def _to_the_right(kind: pa.DataType) -> bool:
    return bool(t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind))


def _plain(kind: pa.DataType) -> bool:
    """Say whether pyarrow's CSV shows a type as we do."""
    return _to_the_right(kind) or t.is_boolean(kind) or t.is_string(kind) or t.is_large_string(kind)


def _cell(value: Any) -> str:
    return _NOTHING if value is None else printable(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pa.MonthDayNano):
        return f"P{value.months}M{value.days}DT{value.nanoseconds / 1e9:.9g}S"
    if isinstance(value, dict | list):
        return _json(value)
    return str(value)


def _json(value: Any) -> str:
    return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"))


def _jsonable(value: Any) -> Any:
    """Return a value in JSON's few types: what is no number there is null, exact ones stay exact."""
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, pa.MonthDayNano):
        return _text(value)
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    return _text(value)
