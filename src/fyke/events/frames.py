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

MAX_METADATA = 64 << 20  # a schema with its facts; a batch of 100 columns takes some 5 kB
MAX_BODY = 2 << 30  # of one batch, compressed or not: our writer makes 256 MiB at most
SCHEMA, RECORD_BATCH = 1, 3  # union MessageHeader in Message.fbs (Schema, DictionaryBatch, RecordBatch ...)
_CONTINUATION = 0xFFFFFFFF


class Damaged(Exception):
    """The stream ends or goes wrong inside a message; str() says how."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: what kind it is, its bytes as pyarrow wants them, and where in the file it starts."""

    kind: int
    data: bytes
    offset: int

    def nodes(self) -> list[tuple[int, int]]:
        """Return length and nulls of each array of a batch: a column's own, then those of its children."""
        return _lengths(self.data[8:])[1:]


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
        kind, body_length, claimed = _look_into(metadata)
        if claimed > MAX_BODY:
            raise Damaged("a message claims to be larger than any batch")
        body = self._read(body_length, MAX_BODY, used=8 + length)
        if kind == RECORD_BATCH and _uncompressed(metadata, body) > MAX_BODY:
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


def _look_into(metadata: bytes) -> tuple[int, int, int]:
    """Return a message's kind, the length of its body, and that of all its buffers together."""
    try:
        root = _Table.root(metadata)
        kind = root.scalar(1, "<B")
        body = root.scalar(3, "<q")
        batch = kind == RECORD_BATCH
        buffers = _buffers(metadata) if batch else []
        lengths = _lengths(metadata) if batch else []
    except (struct.error, IndexError) as error:
        raise Damaged("a message is garbled") from error
    if (
        body < 0
        or any(offset < 0 or size < 0 or offset + size > body for offset, size in buffers)
        or any(not 0 <= nulls <= length <= MAX_BODY for length, nulls in lengths)
    ):
        raise Damaged("a message is garbled")
    return kind, body, sum(size for _, size in buffers)


def _lengths(metadata: bytes) -> list[tuple[int, int]]:
    """Return length and nulls of a batch and of each of its arrays; pyarrow aborts on a negative one."""
    batch = _Table.root(metadata).table(2)
    return [(batch.scalar(0, "<q"), 0), *batch.structs(1, "<qq")]


def _uncompressed(metadata: bytes, body: bytes) -> int:
    """Return how many bytes the buffers of a batch say they unpack to (each starts with that number)."""
    if not _Table.root(metadata).table(2).has(3):  # RecordBatch.compression
        return 0
    total = 0
    for offset, size in _buffers(metadata):
        if size >= 8:
            total += max(0, struct.unpack_from("<q", body, offset)[0])  # -1: this buffer is not compressed
    return total


def _buffers(metadata: bytes) -> list[tuple[int, int]]:
    """Return offset and length of each buffer in a batch's body."""
    return _Table.root(metadata).table(2).structs(2, "<qq")


@dataclass(frozen=True, slots=True)
class _Table:
    """A FlatBuffers table, as far as a message needs it. struct.error or IndexError when garbled."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _slot(self, field: int) -> int:
        """Return where a field's value is, 0 when the table doesn't have it."""
        vtable = self.at - int(struct.unpack_from("<i", self.data, self.at)[0])
        if vtable < 0:
            raise IndexError("vtable")
        size = struct.unpack_from("<H", self.data, vtable)[0]
        place = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, vtable + place)[0] if place + 2 <= size else 0
        return self.at + offset if offset else 0

    def has(self, field: int) -> bool:
        return self._slot(field) != 0

    def scalar(self, field: int, form: str) -> int:
        slot = self._slot(field)
        return int(struct.unpack_from(form, self.data, slot)[0]) if slot else 0

    def table(self, field: int) -> _Table:
        slot = self._slot(field)
        if not slot:
            raise IndexError("no such table")
        return _Table(self.data, slot + int(struct.unpack_from("<I", self.data, slot)[0]))

    def structs(self, field: int, form: str) -> list[tuple[int, int]]:
        slot = self._slot(field)
        if not slot:
            return []
        start = slot + int(struct.unpack_from("<I", self.data, slot)[0])
        count = struct.unpack_from("<I", self.data, start)[0]
        width = struct.calcsize(form)
        if start + 4 + count * width > len(self.data):
            raise IndexError("vector")
        return [struct.unpack_from(form, self.data, start + 4 + i * width) for i in range(count)]
