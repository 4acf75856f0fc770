"""One Arrow event file, read safely: every batch is checked in full before anyone sees it."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from fyke.errors import InputError
from fyke.events.coded import numbers_schema, plain_schema, with_codes
from fyke.events.conform import Conform, conformed_schema
from fyke.events.escape import printable
from fyke.events.facts import Facts
from fyke.events.filled import Arrays, is_plain
from fyke.events.frames import DICTIONARY, RECORD_BATCH, SCHEMA, Damaged, Frame, Frames, Header
from fyke.events.meanings import Meanings
from fyke.events.message import narrowed_message
from fyke.events.recognise import ARROW
from fyke.events.schema import ALWAYS, FACTS_KEY
from fyke.events.store import count_events

# What pyarrow raises for bytes that aren't what they should be.
_GARBLED = (
    *(pa.ArrowException, ValueError, TypeError, LookupError, MemoryError, OverflowError, OSError),
    struct.error,
)
_KEPT = 8  # of what is made of schemas


class ArrowPart:
    """One file. Raises InputError when it is no event file; `batches` raises it at the place of damage.

    columns: what is wanted of it; other columns may be left null, which saves decompressing them.
    """

    format = ARROW
    unknown_sections: Mapping[str, int] = MappingProxyType({})  # unknown columns are kept, not skipped

    def __init__(self, path: str, file: BinaryIO, columns: Collection[str] | None = None) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._columns = columns
        self._frames = Frames(file)
        self._events = 0
        self._iterator = iter(self._frames)
        frame = self._first()
        try:
            file_schema = pa.ipc.read_schema(pa.py_buffer(frame.data))
            self._coded_schema = file_schema
            self._stored = numbers_schema(file_schema)
            self.schema = conformed_schema(plain_schema(file_schema))
            wanted = file_schema.names if columns is None else columns
            self._meanings = Meanings(file_schema, frame, wanted)
        except _GARBLED as error:
            raise self._unreadable(error) from error
        self._metadata = file_schema.metadata or {}
        self.facts = self._facts()
        self._wanted = self._columns_wanted()
        self._chosen = np.zeros(len(self._stored), np.bool_)
        self._chosen[[place for place, _ in self._wanted]] = True
        self._arrays = Arrays(self._stored) if all(is_plain(f.type) for f in self._stored) else None
        self._conforms: deque[tuple[pa.Schema, Conform]] = deque(maxlen=_KEPT)
        self._stored_message = bytes(self._stored.remove_metadata().serialize())

    def keep_codes(self) -> None:
        """Yield dictionary columns, `coded.CODED`, where the file has them; `schema` says where."""
        self.schema = with_codes(self.schema, self._coded_schema)

    @property
    def complete(self) -> bool:
        """Whether the end marker was seen."""
        return self._frames.ended

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches with the columns of `schema`."""
        try:
            for frame in self._iterator:
                if frame.kind == DICTIONARY:
                    self._learn(frame)
                    continue
                if frame.kind != RECORD_BATCH:
                    raise Damaged("there is a message that is not a batch")
                batch = self._decode(frame)
                yield batch
                self._events += count_events(batch)
        except Damaged as damage:
            raise self._damaged(str(damage)) from damage

    def _decode(self, frame: Frame) -> pa.RecordBatch:
        try:
            batch = self._read(frame)
            batch.validate(full=True)
            self._meanings.check_size(batch)
            return self._conform(batch.schema)(batch, self._meanings.by_name)
        except _GARBLED as error:
            raise Damaged("a batch is garbled") from error

    def _conform(self, found: pa.Schema) -> Conform:
        """Return what makes batches of the schema; it is kept, since what is null seldom changes."""
        for known, conform in self._conforms:
            if found.equals(known):
                return conform
        conform = Conform(found, self.schema)
        self._conforms.appendleft((found, conform))
        return conform

    def _learn(self, frame: Frame) -> None:
        try:
            self._meanings.learn(frame)
        except _GARBLED as error:
            raise Damaged("what numbers mean is garbled") from error

    def _read(self, frame: Frame) -> pa.RecordBatch:
        header = Header.of(frame.data)
        if self._arrays is not None and header is not None and header.codec is not None:
            nodes = frame.nodes()
            if len(nodes) == self._arrays.count:
                plan = self._arrays.plan(nodes[:, 0] == nodes[:, 1], self._chosen)
                if plan.arrays.any():
                    data = narrowed_message(header.rows, header.codec, frame.data, plan)
                    return _only_batch(plan.schema_message + data)
        return self._read_columns(frame)

    def _read_columns(self, frame: Frame) -> pa.RecordBatch:
        nodes = frame.nodes().tolist()
        # Most sections of most collections are null throughout: not worth decompressing.
        included = [i for i, node in self._wanted if nodes[node][0] != nodes[node][1]]
        # Only a stream can be read in part: here one of a single batch.
        return _only_batch(self._stored_message + frame.data, included or [0])

    def _columns_wanted(self) -> list[tuple[int, int]]:
        """Return the place of each column that is wanted, and of its array among all of a batch."""
        wanted = None if self._columns is None else {*self._columns, *ALWAYS}
        places, node = [], 0
        for i, field in enumerate(self._stored):
            if wanted is None or field.name in wanted:
                places.append((i, node))
            node += _arrays(field.type)
        return places

    def _first(self) -> Frame:
        try:
            frame = next(self._iterator, None)
        except Damaged as damage:
            raise self._damaged(str(damage)) from damage
        if frame is None or frame.kind != SCHEMA:
            raise self._damaged("it doesn't begin with a schema")
        return frame

    def _facts(self) -> Facts:
        stored = self._metadata.get(FACTS_KEY)
        if stored is None:
            self.warnings.append(
                f"{self.path} holds no facts about its collection; another tool has written it"
            )
            return Facts()
        try:
            return Facts.from_json(stored)
        except ValueError as error:
            raise self._unreadable(error) from error

    def _damaged(self, how: str) -> InputError:
        return InputError(
            f"{self.path} is damaged at byte {self._frames.offset}, after {self._events} events: {how}",
            "what comes before was read; a collection that was killed, or a full disk, can leave such a file",
        )

    def _unreadable(self, error: BaseException) -> InputError:
        why = printable(str(error).partition("\n")[0][:200])
        return InputError(f"{self.path} is an Arrow stream, but not of events: {why}", "was it made by fyke?")


def _arrays(kind: pa.DataType) -> int:
    """Return how many arrays a column of this type has: itself and its children."""
    return 1 + sum(_arrays(kind.field(i).type) for i in range(kind.num_fields))


def _only_batch(stream: bytes, included: list[int] | None = None) -> pa.RecordBatch:
    """Return the batch of a stream that has one, without a thread for each CPU. included: columns."""
    options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
    with pa.ipc.open_stream(pa.py_buffer(stream), options=options) as reader:
        return reader.read_next_batch()
