"""Record batch messages of an Arrow IPC stream whose null columns cost nothing to write.

pyarrow compresses a null column's zeros, and most columns of most collections are null throughout. Here only
the others go through it; the bytes of null columns are made once and put between them. Format: Arrow Columnar
Format, "Serialization and Interprocess Communication"; Message.fbs and Schema.fbs in FlatBuffers.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fyke.events.frames import Pairs, parts

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 4096  # null columns are made for multiples of it: buffers may be longer than their array
_KEPT = 16  # how many of what is made once are kept
_CODECS = {"lz4": 0, "zstd": 1}  # enum CompressionType
_METADATA_V5, _RECORD_BATCH = 4, 3  # enum MetadataVersion, union MessageHeader


class Encoder:
    """Turns batches of one schema into the bytes of their messages. codec: None for none."""

    def __init__(self, schema: pa.Schema, codec: Any) -> None:
        self._schema = schema
        self._codec = codec
        self._all = tuple(range(len(schema)))
        self._apart = codec is not None and all(_is_plain(field.type) for field in schema)
        self._buffers = [_buffer_counts(field.type) for field in schema] if self._apart else []
        self._streams: dict[tuple[int, ...], _Stream] = {}
        self._nulls: dict[int, list[_Column]] = {}

    def frame(self, batch: pa.RecordBatch) -> bytes:
        """Return the message of a batch, with its prefix."""
        rows = len(batch)
        filled = tuple(i for i in self._all if batch.column(i).null_count < rows)
        if not self._apart or not filled or len(filled) == len(self._all):
            return self._encoded(self._all, batch)
        columns = [column.cut(rows) for column in self._null_columns(-(-rows // _ROWS) * _ROWS)]
        message = self._encoded(filled, batch.select(list(filled)))
        own = _columns(message, [self._buffers[i] for i in filled])
        for place, column in zip(filled, own, strict=True):
            columns[place] = column
        return _message(rows, columns, _CODECS[self._codec.name])

    def _null_columns(self, rows: int) -> list[_Column]:
        """Return all columns of so many rows as they are where they are null."""
        import pyarrow as pa

        if rows not in self._nulls:
            if len(self._nulls) >= _KEPT:
                self._nulls.clear()
            schema = pa.schema([field.with_nullable(True) for field in self._schema])
            batch = pa.RecordBatch.from_arrays([pa.nulls(rows, f.type) for f in schema], schema=schema)
            self._nulls[rows] = _columns(_Stream(schema, self._codec).encoded(batch), self._buffers)
        return self._nulls[rows]

    def _encoded(self, which: tuple[int, ...], batch: pa.RecordBatch) -> bytes:
        if which not in self._streams:
            if len(self._streams) >= _KEPT:
                self._streams.clear()
            self._streams[which] = _Stream(batch.schema, self._codec)
        return self._streams[which].encoded(batch)


class _Stream:
    """pyarrow's own writer."""

    def __init__(self, schema: pa.Schema, codec: Any) -> None:
        import pyarrow as pa

        self._sink = _Sink()
        # On one thread: several take 20 to 30 MB more, and CPU of the machine that is being looked at.
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self._stream = pa.ipc.new_stream(self._sink, schema, options=options)
        # pyarrow puts its own schema message before the first batch: let it pass.
        self._stream.write_batch(pa.RecordBatch.from_pylist([], schema=schema))
        self._sink.take()

    def encoded(self, batch: pa.RecordBatch) -> bytes:
        """Return the message of a batch."""
        self._stream.write_batch(batch)
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Collects what pyarrow writes, so that a batch reaches the file in one call."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)


@dataclass(frozen=True, eq=False)
class _Column:
    """A column of a message. nodes: length and nulls of its arrays. buffers: offset in `body` and size."""

    nodes: Pairs
    buffers: Pairs
    body: memoryview

    def cut(self, rows: int) -> _Column:
        """Return the first rows of a column that is null, and so has no lists."""
        return _Column(np.minimum(self.nodes, rows), self.buffers, self.body)

    def moved(self, offset: int) -> Pairs:
        """Return offset and size of its buffers in a body in which it stands at an offset."""
        moved = self.buffers.copy()
        moved[:, 0] += offset
        return moved


def _columns(message: bytes, counts: list[list[int]]) -> list[_Column]:
    """Take apart the message of a batch. counts: `_buffer_counts` of each of its columns."""
    nodes, buffers, body = parts(message)
    found = []
    node = buffer = 0
    for own in counts:
        node_end, buffer_end = node + len(own), buffer + sum(own)
        start = int(buffers[buffer, 0])
        end = int(buffers[buffer_end, 0]) if buffer_end < len(buffers) else len(body)
        column = _Column(nodes[node:node_end], buffers[buffer:buffer_end], body[start:end])
        found.append(dataclasses.replace(column, buffers=column.moved(-start)))
        node, buffer = node_end, buffer_end
    return found


def _message(rows: int, columns: list[_Column], codec: int) -> bytes:
    """Put columns together to a message."""
    nodes = np.concatenate([column.nodes for column in columns])
    starts = [0, *itertools.accumulate(len(column.body) for column in columns)]
    buffers = np.concatenate([column.moved(start) for column, start in zip(columns, starts, strict=False)])
    metadata = _metadata(rows, nodes, buffers, starts[-1], codec)
    prefix = struct.pack("<Ii", 0xFFFFFFFF, len(metadata))
    return b"".join((prefix, metadata, *(column.body for column in columns)))


def _metadata(rows: int, nodes: Pairs, buffers: Pairs, body: int, codec: int) -> bytes:
    """Return a Message of a RecordBatch. Each table stands behind its vtable (its size, the table's, places
    of the fields in the table); offsets count from where they stand themselves."""
    message, batch, compression, vector = 20, 52, 84, 92
    nodes_end = vector + 4 + nodes.nbytes
    return b"".join(
        (
            # Message: version, header_type, header, bodyLength
            struct.pack("<I6H4x", message, 12, 20, 16, 18, 12, 4),
            struct.pack("<iqIhBx", message - 4, body, batch - (message + 12), _METADATA_V5, _RECORD_BATCH),
            # RecordBatch: length, nodes, buffers, compression
            struct.pack("<6H", 12, 24, 4, 12, 16, 20),
            struct.pack("<iq", 12, rows),
            struct.pack("<II", vector - (batch + 12), nodes_end + 4 - (batch + 16)),
            struct.pack("<I", compression - (batch + 20)),
            # BodyCompression: codec
            struct.pack("<3H2x", 6, 8, 4),
            struct.pack("<ib3x", 8, codec),
            struct.pack("<I", len(nodes)),
            nodes.astype("<i8").tobytes(),
            struct.pack("<4xI", len(buffers)),
            buffers.astype("<i8").tobytes(),
        )
    )


def _buffer_counts(kind: pa.DataType) -> list[int]:
    """Return how many buffers each array of a column has: its own, and those of its children."""
    from pyarrow import types as t

    if t.is_struct(kind) or t.is_list(kind):
        counts = [1 if t.is_struct(kind) else 2]
        for i in range(kind.num_fields):
            counts += _buffer_counts(kind.field(i).type)
        return counts
    return [3 if t.is_string(kind) or t.is_binary(kind) else 2]


def _is_plain(kind: pa.DataType) -> bool:
    """Say whether a type is of those that `_buffer_counts` knows."""
    from pyarrow import types as t

    if t.is_struct(kind) or t.is_list(kind):
        return all(_is_plain(kind.field(i).type) for i in range(kind.num_fields))
    return any(is_it(kind) for is_it in (t.is_integer, t.is_boolean, t.is_string, t.is_binary))
