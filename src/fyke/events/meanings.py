"""What the numbers of a file's dictionary columns mean, as it is told while the file is read."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.coded import Meaning, by_name, value_types, values_schema
from fyke.events.frames import MAX_BODY, Damaged, Frame

_SURELY_LITTLE = 1 << 24  # bytes


class Meanings:
    """Strings by column and number. by_name: the strings of each column, or by member those of a section's.

    schema: as it is stored. message: of it. wanted: names of columns; of others nothing is known. Raises
    ValueError, struct.error or IndexError where the message is garbled.
    """

    def __init__(self, schema: pa.Schema, message: Frame, wanted: Collection[str]) -> None:
        ids, kinds = message.dictionary_ids(), value_types(schema)
        self._ids = {name: of for name, of in by_name(schema, ids).items() if name in wanted}
        self._strings = dict.fromkeys(_flat(self._ids), pa.array([], pa.string()))
        self._begins = {n: bytes(values_schema(k).serialize()) for n, k in zip(ids, kinds, strict=True)}
        self.by_name: Mapping[str, Meaning] = self._named(self._ids)

    def learn(self, frame: Frame) -> None:
        """Take in the message of a dictionary. Raises Damaged, and what pyarrow raises for garbled bytes."""
        try:
            number, more = frame.dictionary()
            values = frame.values()
        except (struct.error, IndexError) as error:
            raise Damaged("a message is garbled") from error
        if number not in self._strings:
            return
        stream = self._begins[number] + values
        with pa.ipc.open_stream(stream, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
            batch = reader.read_next_batch()
        batch.validate(full=True)
        strings = batch.column(0).cast(pa.string())
        if strings.null_count:
            raise Damaged("a number has no meaning")
        self._strings[number] = pa.concat_arrays([self._strings[number], strings]) if more else strings
        self.by_name = self._named(self._ids)

    def check_size(self, batch: pa.RecordBatch) -> None:
        """Raise Damaged where strings in place of the numbers of a batch are more than any batch has."""
        names = batch.schema.names
        pairs = ((batch.column(n), meaning) for n, meaning in self.by_name.items() if n in names)
        if sum(_bytes(array, meaning) for array, meaning in pairs) > MAX_BODY:
            raise Damaged("a batch claims to unpack to more than any batch")

    def _named(self, ids: Mapping[str, Any]) -> dict[str, Any]:
        return {n: self._named(of) if isinstance(of, dict) else self._strings[of] for n, of in ids.items()}


def _bytes(array: pa.Array, meaning: Meaning) -> int:
    """Return the bytes of the strings of a column, or more where these are little."""
    if isinstance(meaning, pa.Array):
        most = len(array) * int(meaning.nbytes)
        return most if most < _SURELY_LITTLE else pc.sum(pc.binary_length(meaning).take(array)).as_py() or 0
    members = {field.name: i for i, field in enumerate(array.type)}
    return sum(_bytes(array.field(members[n]), m) for n, m in meaning.items() if n in members)


def _flat(ids: Mapping[str, Any]) -> list[int]:
    return [n for of in ids.values() for n in (_flat(of) if isinstance(of, dict) else [of])]
