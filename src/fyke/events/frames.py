"""Reads an Arrow IPC stream message by message, trusting no length in it.

pyarrow's own stream reader allocates what a damaged length asks for; here every length is held against
the file first. Format: Arrow Columnar Format, "Serialization and Interprocess Communication"; Message.fbs.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

MAX_METADATA = 64 << 20  # a schema with its facts; a batch of 100 columns takes some 5 kB
MAX_BODY = 2 << 30  # of one batch, compressed or not: our writer makes 256 MiB at most
SCHEMA, DICTIONARY, RECORD_BATCH = 1, 2, 3  # union MessageHeader in Message.fbs
_CONTINUATION = 0xFFFFFFFF
METADATA_V5 = 4  # enum MetadataVersion

Pairs = npt.NDArray[np.int64]  # of two columns
_NONE = np.zeros((0, 2), np.int64)


class Damaged(Exception):
    """The stream ends or goes wrong inside a message; str() says how."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: what kind it is, its bytes as pyarrow wants them, and where in the file it starts."""

    kind: int
    data: bytes
    offset: int

    def nodes(self) -> Pairs:
        """Return length and nulls of each array of a batch: a column's own, then those of its children."""
        return _nodes(_batch(_Table.root(memoryview(self.data)[8:])))

    def dictionary(self) -> tuple[int, bool]:
        """Return the id of a dictionary, and whether it continues what was said before of it.

        Raises struct.error or IndexError when garbled.
        """
        table = _Table.root(memoryview(self.data)[8:]).table(2)
        return table.scalar(0, "<q"), bool(table.scalar(2, "<B"))

    def values(self) -> bytes:
        """Return the message of a batch with the values of a dictionary. Raises as `dictionary`."""
        data = bytearray(self.data)
        metadata = memoryview(data)[8:]
        root = _Table.root(metadata)
        kind, header = root.slot(1), root.slot(2)
        # It is inside the DictionaryBatch, and is made the message's own.
        struct.pack_into("<I", metadata, header, _batch(root).at - header)
        struct.pack_into("<B", metadata, kind, RECORD_BATCH)
        return bytes(data)

    def dictionary_ids(self) -> list[int]:
        """Return the ids of the dictionary columns of a schema, in order. Raises as `dictionary`."""
        fields = _Table.root(memoryview(self.data)[8:]).table(2).tables(1)
        return [number for field in fields for number in _dictionary_ids(field)]


@dataclass(frozen=True, slots=True)
class Header:
    """What a batch's message says beside its arrays. codec: as in Schema.fbs, None of one not compressed."""

    rows: int
    codec: int | None

    @classmethod
    def of(cls, message: bytes) -> Header | None:
        """Return it; None for one of another version, compressed in another way, or garbled."""
        try:
            root = _Table.root(memoryview(message)[8:])
            batch = root.table(2)
            compression = batch.table(3) if batch.has(3) else None
            if root.scalar(0, "<h") != METADATA_V5 or (compression and compression.scalar(1, "<b")):
                return None
            return cls(batch.scalar(0, "<q"), compression.scalar(0, "<b") if compression else None)
        except (struct.error, IndexError, OverflowError):
            return None


class Frames:
    """The messages of a stream, in order. After iteration, `ended` says whether there was an end marker."""

    def __init__(self, file: BinaryIO) -> None:
        """file: at the start of the stream; a pipe will do."""
        self._file = file
        self.offset = 0
        self.ended = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the messages. Raises Damaged (`offset` is then that of the message that went wrong)."""
        while (frame := self._next()) is not None:
            yield frame
            self.offset += len(frame.data)

    def _next(self) -> Frame | None:
        prefix = self._file.read(8)
        if not prefix:
            return None
        if len(prefix) < 8:
            raise Damaged("it ends inside a message")
        marker, length = struct.unpack("<II", prefix)
        if marker != _CONTINUATION:
            raise Damaged("this is not the start of a message")
        if length == 0:
            self.ended = True
            if self._file.read(1):
                raise Damaged("it goes on after its end marker")
            return None
        metadata = self._read(length, MAX_METADATA, used=8)
        kind, body_length, buffers = _look_into(metadata)
        if body_length > MAX_BODY or buffers[:, 1].sum() > MAX_BODY:
            raise Damaged("a message claims to be larger than any batch")
        body = self._read(body_length, MAX_BODY, used=8 + length)
        if kind in (DICTIONARY, RECORD_BATCH) and _uncompressed(metadata, body, buffers) > MAX_BODY:
            raise Damaged("a batch claims to unpack to more than any batch")
        return Frame(kind, b"".join((prefix, metadata, body)), self.offset)

    def _read(self, length: int, most: int, used: int) -> bytes:
        if length > most:
            raise Damaged("a message claims to be larger than any batch")
        state = os.fstat(self._file.fileno())  # asked each time: the file may be growing
        if stat.S_ISREG(state.st_mode) and self.offset + used + length > state.st_size:
            raise Damaged("it ends inside a message")
        data = self._file.read(length)
        if len(data) < length:
            raise Damaged("it ends inside a message")
        return data


def parts(message: bytes) -> tuple[Pairs, Pairs, memoryview]:
    """Return the nodes (see `Frame.nodes`), offset and size of the buffers, and the body of a sound batch."""
    view = memoryview(message)
    length = struct.unpack_from("<I", message, 4)[0]
    batch = _batch(_Table.root(view[8 : 8 + length]))
    return _nodes(batch), batch.pairs(2), view[8 + length :]


def _look_into(metadata: bytes) -> tuple[int, int, Pairs]:
    """Return a message's kind, the length of its body, and offset and size of each buffer in it."""
    try:
        root = _Table.root(metadata)
        kind = root.scalar(1, "<B")
        body = root.scalar(3, "<q")
        batch = _batch(root) if kind in (DICTIONARY, RECORD_BATCH) else None
        buffers = _NONE if batch is None else batch.pairs(2)
        # pyarrow aborts on a negative length.
        lengths = _NONE if batch is None else np.vstack(([batch.scalar(0, "<q"), 0], _nodes(batch)))
    except (struct.error, IndexError, OverflowError) as error:
        raise Damaged("a message is garbled") from error
    if body < 0 or (buffers < 0).any() or (buffers > body).any() or (buffers.sum(axis=1) > body).any():
        raise Damaged("a message is garbled")
    if (lengths[:, 0] > MAX_BODY).any() or (lengths[:, 1] < 0).any() or (lengths[:, 1] > lengths[:, 0]).any():
        raise Damaged("a message is garbled")
    return kind, body, buffers


def _batch(root: _Table) -> _Table:
    """Return the RecordBatch of a message, which may be that of a DictionaryBatch."""
    header = root.table(2)
    return header.table(1) if root.scalar(1, "<B") == DICTIONARY else header


def _dictionary_ids(field: _Table) -> list[int]:
    if field.has(4):  # Field.dictionary
        return [field.table(4).scalar(0, "<q")]
    return [number for child in field.tables(5) for number in _dictionary_ids(child)]


def _nodes(batch: _Table) -> Pairs:
    return batch.pairs(1)


def _uncompressed(metadata: bytes, body: bytes, buffers: Pairs) -> int:
    """Return how many bytes the buffers of a batch say they unpack to (each starts with that number)."""
    if not _batch(_Table.root(metadata)).has(3):  # RecordBatch.compression
        return 0
    places = buffers[buffers[:, 1] >= 8, 0]
    if not len(places):
        return 0
    words = np.ndarray((len(body) - 7,), np.dtype("<i8"), body, strides=(1,))  # at any place
    claims = words[places]
    # -1: this buffer is not compressed. Sums are Python's: they don't overflow.
    return sum(claims[claims > 0].tolist())


@dataclass(frozen=True, slots=True)
class _Table:
    """A FlatBuffers table, as far as a message needs it. struct.error or IndexError when garbled."""

    data: bytes | memoryview
    at: int

    @classmethod
    def root(cls, data: bytes | memoryview) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def slot(self, field: int) -> int:
        """Return where a field's value is, 0 when the table doesn't have it."""
        vtable = self.at - int(struct.unpack_from("<i", self.data, self.at)[0])
        if vtable < 0:
            raise IndexError("vtable")
        size = struct.unpack_from("<H", self.data, vtable)[0]
        place = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, vtable + place)[0] if place + 2 <= size else 0
        return self.at + offset if offset else 0

    def has(self, field: int) -> bool:
        return self.slot(field) != 0

    def scalar(self, field: int, form: str) -> int:
        slot = self.slot(field)
        return int(struct.unpack_from(form, self.data, slot)[0]) if slot else 0

    def table(self, field: int) -> _Table:
        slot = self.slot(field)
        if not slot:
            raise IndexError("no such table")
        return _Table(self.data, slot + int(struct.unpack_from("<I", self.data, slot)[0]))

    def tables(self, field: int) -> list[_Table]:
        """Return a vector of tables."""
        slot = self.slot(field)
        if not slot:
            return []
        start = slot + int(struct.unpack_from("<I", self.data, slot)[0])
        count = struct.unpack_from("<I", self.data, start)[0]
        places = range(start + 4, start + 4 + 4 * count, 4)
        if places.stop > len(self.data):
            raise IndexError("vector")
        return [_Table(self.data, at + int(struct.unpack_from("<I", self.data, at)[0])) for at in places]

    def pairs(self, field: int) -> Pairs:
        """Return a vector of structs of two int64 each."""
        slot = self.slot(field)
        if not slot:
            return _NONE
        start = slot + int(struct.unpack_from("<I", self.data, slot)[0])
        count = struct.unpack_from("<I", self.data, start)[0]
        if start + 4 + count * 16 > len(self.data):
            raise IndexError("vector")
        return np.frombuffer(self.data, "<i8", 2 * count, start + 4).reshape(-1, 2)
