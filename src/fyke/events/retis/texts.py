"""Events as a Retis file has them: left where they are while they are put in order, then copied.

A sorted file has the same events, each with its place in a journey behind its last section. So most events
needn't be made of columns again: they are copied from the file that they were read from.
"""

from __future__ import annotations

import os
import stat
from enum import IntEnum
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import InputError
from fyke.events.retis.arrays import flags_of, indices_of, numbers_of, valid
from fyke.events.retis.events import event_of
from fyke.events.retis.lines import Places
from fyke.events.retis.mapping import OWN
from fyke.events.retis.scan import Flags

COLUMN = "text"
# Where an event begins in the file, its length in bytes, and whether its last section is `fyke`.
PLACES = pa.struct([("start", pa.int64()), ("length", pa.int32()), ("inside", pa.bool_())])
# The event without the brackets that are closed at its end: its own, and `fyke`'s.
TEXTS = pa.struct([("text", pa.string()), ("inside", pa.bool_())])

_GAP = 1 << 10  # bytes between two events that are read rather than skipped
_MOST_BYTES = 1 << 30  # read with what is between them: offsets have 32 bits


class Ending(IntEnum):
    """Where an event has room for its place in a journey."""

    NOWHERE = 0
    AFTER = 1  # behind its last section
    INSIDE = 2  # in its last section, `fyke`


def ending(event: dict[str, Any], line: bytes, row: dict[str, Any]) -> Ending:
    """Return where an event has room. line: its JSON.

    Nowhere where it isn't what we would write of it: Retis might not take it, or see less of it.
    """
    own = event.get(OWN)
    if "tracking" in event or not line.startswith(b"{") or _present(event_of(row)) != _present(event):
        return Ending.NOWHERE
    if own is None and OWN not in event:
        return Ending.AFTER if line.endswith(b"}") else Ending.NOWHERE
    if isinstance(own, dict) and own and "journey" not in own and list(event)[-1] == OWN:
        return Ending.INSIDE if line.endswith(b"}}") else Ending.NOWHERE
    return Ending.NOWHERE


def _present(value: Any) -> Any:
    """Return JSON without what is null."""
    if not isinstance(value, dict):
        return value
    return {key: _present(inner) for key, inner in value.items() if inner is not None}


class Texts:
    """A file whose events are copied. Raises InputError where it has changed meanwhile, but for growing."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path = path
        self._fd = os.dup(file.fileno())  # whatever becomes of its name
        self._state = os.fstat(self._fd)

    @classmethod
    def of(cls, path: str, file: BinaryIO) -> Texts | None:
        """Return the texts of a file, None of one that can't be read at any place."""
        return cls(path, file) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None

    def size(self, batch: pa.RecordBatch) -> int:
        """Return the bytes of the texts of its rows."""
        return pc.sum(pc.struct_field(batch.column(COLUMN), "length")).as_py() or 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def fill(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch with TEXTS where it has PLACES."""
        now = os.fstat(self._fd)
        if now.st_mtime_ns != self._state.st_mtime_ns and now.st_size <= self._state.st_size:
            raise self._changed()
        column = batch.column(COLUMN)
        rows = np.flatnonzero(valid(column))
        here = column if len(rows) == len(column) else column.take(indices_of(rows))
        start, length = (
            numbers_of(pc.struct_field(here, name).cast(pa.int64())) for name in ("start", "length")
        )
        inside = pc.struct_field(here, "inside")
        texts = self._texts(start, length, flags_of(inside))
        made = pa.StructArray.from_arrays([texts, inside], fields=list(TEXTS))
        if len(rows) < len(column):
            places = np.full(len(column), -1)
            places[rows] = np.arange(len(rows))
            made = made.take(pa.array(places, mask=places < 0))
        place = batch.schema.get_field_index(COLUMN)
        return batch.set_column(place, pa.field(COLUMN, TEXTS), made)

    def _texts(self, starts: Places, lengths: Places, inside: Flags) -> pa.StringArray:
        """Return the events without the brackets at their ends."""
        if not len(starts):
            return pa.array([], pa.string())
        order = np.argsort(starts, kind="stable")
        starts, lengths = starts[order], lengths[order]
        ends = starts + lengths
        most = _GAP if ends[-1] - starts[0] < _MOST_BYTES else 0
        cuts = np.flatnonzero(starts[1:] - ends[:-1] > most) + 1
        firsts, lasts = np.append(0, cuts), np.append(cuts, len(starts)) - 1
        pieces = [
            self._read(begin, end)
            for begin, end in zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True)
        ]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        sizes = ends[lasts] - starts[firsts]
        begins = starts + np.repeat(np.cumsum(sizes) - sizes - starts[firsts], lasts + 1 - firsts)
        seen = np.frombuffer(data, np.uint8)
        if (seen[begins] != ord("{")).any() or (seen[begins + lengths - 1] != ord("}")).any():
            raise self._changed()
        offsets = np.empty(2 * len(starts) + 1, np.int32)  # every other text is what is between two
        offsets[:-1:2] = begins
        offsets[1::2] = begins + lengths - 1 - inside[order]
        offsets[-1] = len(data)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(0, 2 * len(order), 2)
        return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers).take(indices_of(places))

    def _read(self, begin: int, end: int) -> bytes:
        parts = []
        while begin < end:
            try:
                part = os.pread(self._fd, end - begin, begin)
            except OSError as error:
                raise InputError(f"can't read on in {self._path}: {error.strerror}") from error
            if not part:
                raise self._changed()
            parts.append(part)
            begin += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _changed(self) -> InputError:
        return InputError(f"{self._path} has changed while it was sorted", "sort it again")
