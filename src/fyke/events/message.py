"""Record batch messages of an Arrow IPC stream in which nulls cost nothing, written or read.

pyarrow compresses a null column's zeros, and most columns of most collections are null throughout, as are
members of sections. Here only the others go through it, both ways; the bytes of what is null are made once
and put between them. Strings are written by number, see coded.py.
Format: Arrow Columnar Format, "Serialization and Interprocess Communication"; Message.fbs and Schema.fbs in
FlatBuffers.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fyke.events.coded import Numbers, by_name, coded_schema, values_schema
from fyke.events.filled import Arrays, Mask, Plan, is_plain
from fyke.events.frames import DICTIONARY, METADATA_V5, RECORD_BATCH, SCHEMA, Frame, Pairs, parts

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 4096  # null columns are made for multiples of it: buffers may be longer than their array
_KEPT = 16  # how many of what is made once are kept
_CODECS = {"lz4": 0, "zstd": 1}  # enum CompressionType


class Encoder:
    """Turns batches of one schema into the bytes of their messages. codec: None for none."""

    def __init__(self, schema: pa.Schema, codec: Any) -> None:
        coded = coded_schema(schema)
        self._file_schema = coded
        ids = Frame(SCHEMA, bytes(coded.serialize()), 0).dictionary_ids()
        self._numbers = Numbers(coded, by_name(coded, ids))
        self._ids = ids
        self._schema = self._numbers.schema
        self._codec = codec
        apart = codec is not None and all(is_plain(field.type) for field in self._schema)
        self._arrays = Arrays(self._schema) if apart else None
        self._streams: dict[pa.Schema, _Stream] = {}
        self._nulls: dict[int, _Body] = {}

    def header(self, metadata: dict[bytes, bytes] | None = None) -> bytes:
        """Return what a stream begins with: the schema, and dictionaries, still empty, as readers expect."""
        schema = self._file_schema.with_metadata(metadata)
        none = np.zeros((1, 2), np.int64), np.zeros((3, 2), np.int64)
        empty = [_message(0, *none, [], None, dictionary=number) for number in self._ids]
        return b"".join((bytes(schema.serialize()), *empty))

    def forget(self) -> None:
        """Let the next batch be as the first of a stream: what was given last isn't written."""
        self._numbers.forget()

    def frame(self, batch: pa.RecordBatch) -> bytes:
        """Return the message of a batch of at most `coded.MOST` rows, with its prefix.

        Strings may be by number (`coded.CODED`). Before it are messages of what numbers mean.
        """
        numbered, meanings = self._numbers.of(batch)
        return b"".join((*itertools.starmap(self._dictionary, meanings.items()), self._frame(numbered)))

    def _dictionary(self, number: int, values: pa.Array) -> bytes:
        import pyarrow as pa

        batch = pa.RecordBatch.from_arrays([values], schema=values_schema(values.type))
        body = _Body.of(self._encoded(batch))
        codec = None if self._codec is None else _CODECS[self._codec.name]
        return _message(len(values), body.nodes, body.buffers, [body.body], codec, dictionary=number)

    def _frame(self, batch: pa.RecordBatch) -> bytes:
        nulls = None if self._arrays is None else self._arrays.nulls_of(batch)
        if self._arrays is None or nulls is None or nulls.all() or not nulls.any():
            return self._encoded(batch)
        plan = self._arrays.plan(nulls)
        own = _Body.of(self._encoded(plan.narrowed(batch)))
        none = self._null_body(-(-len(batch) // _ROWS) * _ROWS)
        nodes = np.minimum(none.nodes, len(batch))
        nodes[plan.arrays] = own.nodes
        buffers = none.buffers.copy()
        buffers[plan.buffers] = own.buffers
        lengths = none.ends - none.buffers[:, 0]
        lengths[plan.buffers] = own.ends - own.buffers[:, 0]
        buffers[:, 0] = np.cumsum(lengths) - lengths
        pieces = [source.body[start:end] for source, start, end in _runs(plan.buffers, none, own)]
        return _message(len(batch), nodes, buffers, pieces, _CODECS[self._codec.name])

    def _null_body(self, rows: int) -> _Body:
        """Return all arrays of so many rows as they are where they are null."""
        import pyarrow as pa

        if rows not in self._nulls:
            if len(self._nulls) >= _KEPT:
                self._nulls.clear()
            schema = pa.schema([field.with_nullable(True) for field in self._schema])
            batch = pa.RecordBatch.from_arrays([pa.nulls(rows, f.type) for f in schema], schema=schema)
            self._nulls[rows] = _Body.of(_Stream(schema, self._codec).encoded(batch))
        return self._nulls[rows]

    def _encoded(self, batch: pa.RecordBatch) -> bytes:
        if batch.schema not in self._streams:
            if len(self._streams) >= _KEPT:
                self._streams.clear()
            self._streams[batch.schema] = _Stream(batch.schema, self._codec)
        return self._streams[batch.schema].encoded(batch)


def narrowed_message(rows: int, codec: int, message: bytes, plan: Plan) -> bytes:
    """Return the message of some arrays of a batch: of a sound `message` that is compressed."""
    nodes, buffers, body = parts(message)
    found = buffers[plan.buffers]
    starts, lengths = found[:, 0], (found[:, 1] + 7) & ~7
    cuts = np.flatnonzero(starts[1:] != (starts + lengths)[:-1]) + 1
    pieces = []
    for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(starts)], strict=True):
        start, end = int(starts[first]), int(starts[last - 1] + lengths[last - 1])
        pieces += [body[start:end], memoryview(bytes(max(0, end - len(body))))]
    moved = np.stack((np.cumsum(lengths) - lengths, found[:, 1]), axis=1)
    return _message(rows, nodes[plan.arrays], moved, pieces, codec)


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
class _Body:
    """What a message of ours holds. nodes: length and nulls of each array. buffers: offset and size of each.

    ends: where in the body what belongs to each buffer ends.
    """

    nodes: Pairs
    buffers: Pairs
    ends: npt.NDArray[np.int64]
    body: memoryview

    @classmethod
    def of(cls, message: bytes) -> _Body:
        """Take a message apart."""
        nodes, buffers, body = parts(message)
        return cls(nodes, buffers, np.append(buffers[1:, 0], len(body)), body)


def _runs(filled: Mask, none: _Body, own: _Body) -> Iterator[tuple[_Body, int, int]]:
    """Yield where the buffers of a message are, in parts: in which body, from where to where."""
    cuts = [0, *(np.flatnonzero(np.diff(filled)) + 1).tolist(), len(filled)]
    before = np.concatenate(([0], np.cumsum(filled))).tolist()  # filled ones before each
    for first, last in itertools.pairwise(cuts):
        if filled[first]:
            yield own, int(own.buffers[before[first], 0]), int(own.ends[before[last] - 1])
        else:
            yield none, int(none.buffers[first, 0]), int(none.ends[last - 1])


def _message(
    rows: int,
    nodes: Pairs,
    buffers: Pairs,
    pieces: list[memoryview],
    codec: int | None,
    *,
    dictionary: int | None = None,
) -> bytes:
    metadata = _metadata(rows, nodes, buffers, sum(map(len, pieces)), codec, dictionary)
    prefix = struct.pack("<Ii", 0xFFFFFFFF, len(metadata))
    return b"".join((prefix, metadata, *pieces))


def _metadata(
    rows: int, nodes: Pairs, buffers: Pairs, body: int, codec: int | None, dictionary: int | None
) -> bytes:
    """Return a Message of a RecordBatch, or of a DictionaryBatch of this id.

    Each table stands behind its vtable (its size, the table's, places of the fields in the table); offsets
    count from where they stand themselves.
    """
    more = 0 if dictionary is None else 24  # bytes of the table of a DictionaryBatch
    message, batch, compression, vector = 20, 52 + more, 84 + more, 92 + more
    header, kind = (batch, RECORD_BATCH) if dictionary is None else (48, DICTIONARY)
    nodes_end = vector + 4 + nodes.nbytes
    outer = (
        ()
        if dictionary is None
        else (
            # DictionaryBatch: id, data
            struct.pack("<4H", 8, 16, 8, 4),
            struct.pack("<iIq", 8, batch - (48 + 4), dictionary),
        )
    )
    return b"".join(
        (
            # Message: version, header_type, header, bodyLength
            struct.pack("<I6H4x", message, 12, 20, 16, 18, 12, 4),
            struct.pack("<iqIhBx", message - 4, body, header - (message + 12), METADATA_V5, kind),
            *outer,
            # RecordBatch: length, nodes, buffers, compression (0: there is none)
            struct.pack("<6H", 12, 24, 4, 12, 16, 0 if codec is None else 20),
            struct.pack("<iq", 12, rows),
            struct.pack("<II", vector - (batch + 12), nodes_end + 4 - (batch + 16)),
            struct.pack("<I", compression - (batch + 20)),
            # BodyCompression: codec
            struct.pack("<3H2x", 6, 8, 4),
            struct.pack("<ib3x", 8, codec or 0),
            struct.pack("<I", len(nodes)),
            nodes.astype("<i8").tobytes(),
            struct.pack("<4xI", len(buffers)),
            buffers.astype("<i8").tobytes(),
        )
    )
