"""One capture as a file of events; see the package's docstring for what is where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import pyarrow as pa

from fyke.errors import InputError
from fyke.events.facts import CAPTURED_WITH, Facts
from fyke.events.nulls import nulls
from fyke.events.pcapng import PROBE_TYPE
from fyke.events.pcapng.blocks import BlockReader
from fyke.events.pcapng.classic import MAGICS, RecordReader
from fyke.events.pcapng.links import frame
from fyke.events.pcapng.packets import Damaged, Packet, Reader
from fyke.events.recognise import CAPTURE
from fyke.events.schema import arrow_schema

_BATCH_ROWS = 8_192
_BATCH_BYTES = 16 << 20
_MAX_TEXT = 4096  # characters of a text about the capture


class CapturePart:
    """One capture. `batches` raises InputError at the place of damage.

    unknown_sections: link types that can't be read; their packets are events without a packet.
    """

    format = CAPTURE
    complete = True  # such a file has no end marker

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.unknown_sections: Counter[str] = Counter()
        self.schema = arrow_schema()
        classic = file.peek(4)[:4] in MAGICS  # type: ignore[attr-defined]
        self._reader: Reader = RecordReader(file) if classic else BlockReader(file)
        self._events = 0
        self._packets = self._reader.packets()
        self._damage: Damaged | None = None
        try:
            self._first = next(self._packets, None)
        except Damaged as damage:
            if self._reader.offset == 0:  # not even its beginning is right
                raise self._error(damage) from damage
            self._first, self._damage = None, damage
        self.facts = self._facts()

    def keep_codes(self) -> None:
        """Change nothing: these files have no codes."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the packets as events."""
        rows = _Rows(self.unknown_sections)
        damage = self._damage
        try:
            for packet in chain((self._first,), self._packets) if self._first is not None else ():
                rows.add(packet)
                if rows.full:
                    self._events += len(rows.times)
                    yield rows.batch(self.schema)
                    rows = _Rows(self.unknown_sections)
        except Damaged as error:
            damage = error
        self._events += len(rows.times)
        if rows.times:
            yield rows.batch(self.schema)
        if damage is not None:
            raise self._error(damage) from damage

    def _error(self, damage: Damaged) -> InputError:
        where = f"at byte {self._reader.offset}, after {self._events} packets"
        return InputError(
            f"{self.path} is damaged {where}: {damage}",
            "what comes before was read; a full disk or a killed capture can leave such a file",
        )

    def _facts(self) -> Facts:
        said = {name: text[:_MAX_TEXT] for name, text in self._reader.texts.items()}
        return Facts(
            timestamp_ns=min(self._first.time_ns, (1 << 63) - 1) if self._first is not None else 0,
            kernel_release=said.get("os", ""),
            hardware_name=said.get("hardware", ""),
            extra={CAPTURED_WITH: said.get("application", "another tool")},
        )


class _Rows:
    """Packets that will be a batch."""

    def __init__(self, unknown: Counter[str]) -> None:
        self.times: list[int] = []
        self._names: list[str] = []
        self._data: list[bytes | None] = []
        self._wire: list[int | None] = []
        self._own: list[bool | None] = []
        self._bytes = 0
        self._unknown = unknown

    @property
    def full(self) -> bool:
        return len(self.times) >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES

    def add(self, packet: Packet) -> None:
        self.times.append(packet.time_ns)
        self._names.append(packet.interface)
        self._bytes += len(packet.data) + len(packet.interface)
        made = frame(packet.link_type, packet.data)
        if made is None:
            self._unknown[f"link type {packet.link_type}"] += 1
            values: tuple[bytes | None, int | None, bool | None] = (None, None, None)
        else:
            values = made.data, min(packet.wire + made.longer, 0xFFFFFFFF), made.own
        self._data.append(values[0])
        self._wire.append(values[1])
        self._own.append(values[2])

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the rows as a batch of the event table."""
        count = len(self.times)
        data = pa.array(self._data, pa.binary())
        sections = {
            "kernel": {
                "symbol": pa.array(self._names, pa.string()),
                "probe_type": pa.repeat(PROBE_TYPE, count),
            },
            "packet": {
                "len": pa.array(self._wire, pa.uint32()),
                "capture_len": pa.array([None if d is None else len(d) for d in self._data], pa.uint32()),
                "data": data,
                "link_layer": pa.array(self._own, pa.bool_()),
            },
        }
        masks = {"packet": data.is_null()}
        columns = [pa.array(self.times, pa.uint64())]
        for field in list(schema)[1:]:
            values = sections.get(field.name)
            if values is None:
                columns.append(nulls(count, field.type))
                continue
            children = [
                values.get(field.type.field(i).name, nulls(count, field.type.field(i).type))
                for i in range(field.type.num_fields)
            ]
            columns.append(
                pa.StructArray.from_arrays(children, fields=list(field.type), mask=masks.get(field.name))
            )
        return pa.RecordBatch.from_arrays(columns, schema=schema)
