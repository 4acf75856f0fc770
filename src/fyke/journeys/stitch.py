"""Packets that went through ovs-vswitchd, in files that don't say so: what comes back is what went there.

Our own collections follow a packet on its way, so that it keeps its id. Retis notes numbers: an upcall is
named by its time and CPU, a message by the hash of what is in it, and what comes back carries that hash.
These are read in the order of the file. An event that was lost costs the stitch that it was needed for,
nothing else. Where a hash means messages of several packets that are on their way at a time, none is
stitched: their events stay journeys of their own, and are marked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.ovs import ENQUEUE, RETURN, STEPS, UPCALL
from fyke.events.reader import EventSource
from fyke.events.recognise import ARROW
from fyke.journeys.ambiguous import Marks

_MOST_WAITING_NS = 10_000_000_000  # a message that nobody received by then was lost, or its reception
_MOST_HANDLED_NS = 1_000_000_000  # one that was received, and from which nothing has come back by then, won't
_TRACKING = "skb_tracking"

Id = tuple[int, int]  # timestamp_ns, orig_head
Row = dict[str, Any]


@dataclass
class _Message:
    """What a number stands for. packets: those that it may be of. waiting: messages not received yet.

    since_ns: when the last one was sent or received. is_back: nothing more is to come. row: of the event that
    it was sent. group: in the marks, once there are several packets.
    """

    packets: list[Id]
    waiting: int
    since_ns: int
    row: int
    is_back: bool = False
    group: int | None = None

    def is_on_its_way(self, now_ns: int) -> bool:
        passed_ns = now_ns - self.since_ns
        if self.waiting:
            return passed_ns < _MOST_WAITING_NS
        return not self.is_back and passed_ns < _MOST_HANDLED_NS


def is_unstitched(source: EventSource) -> bool:
    """Say whether packets of a recording weren't followed through user space: Retis', converted or not."""
    return source.format != ARROW or "retis_version" in source.facts.extra


@dataclass
class Stitches:
    """What was found so far. marks: the rows of messages that can't be told from others."""

    marks: Marks = field(default_factory=Marks)
    _rows: int = 0
    _upcalls: dict[tuple[int, int], Id] = field(default_factory=dict)
    _messages: dict[int, _Message] = field(default_factory=dict)
    _packets: dict[Id, Id] = field(default_factory=dict)  # what came back -> what went

    def tracking(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the column skb_tracking of the next batch, as it would be had packets been followed."""
        column = batch.column(_TRACKING)
        found = self._found(batch)
        self._rows += len(batch)
        if not found and not self._packets:
            return column
        return self._replaced(column, found)

    def _found(self, batch: pa.RecordBatch) -> dict[int, Id]:
        """Return the packet of each row that is of a packet on its way, or has just come back."""
        columns = {name: batch.column(name) for name in STEPS if name in batch.schema.names}
        there = [
            pc.struct_field(column, "queue_id").is_valid() if name == "ovs_action" else column.is_valid()
            for name, column in columns.items()
            if column.null_count < len(column)
        ]
        if not there:
            return {}
        mask = there[0]
        for other in there[1:]:
            mask = pc.or_(mask, other)
        numbers = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        names = ("timestamp_ns", "cpu", _TRACKING, *STEPS)
        rows = batch.select([n for n in names if n in batch.schema.names]).take(pa.array(numbers)).to_pylist()
        found = {}
        for number, row in zip(numbers.tolist(), rows, strict=True):
            packet = self._packet(row, self._rows + number)
            if packet is not None:
                found[number] = packet
        return found

    def _packet(self, row: Row, number: int) -> Id | None:
        if upcall := row.get("ovs_upcall"):
            return self._upcall(row, upcall, number)
        if recv := row.get("ovs_recv"):
            return self._received(recv.get("queue_id"), row["timestamp_ns"], number)
        if operation := row.get("ovs_operation"):
            return self._known(operation.get("queue_id"), number)
        action = row.get("ovs_action") or {}
        packet = self._known(action.get("queue_id"), number)
        if packet is not None:
            self._messages[action["queue_id"]].is_back = True
        own = _id(row)
        if packet is not None and own is not None and own != packet:
            self._packets[own] = packet
        return packet

    def _upcall(self, row: Row, upcall: Row, number: int) -> Id | None:
        event, own = upcall["event"], _id(row)
        if own is not None:
            own = self._packets.get(own, own)
        if event == UPCALL:
            if own is not None:
                self._upcalls[row["timestamp_ns"], upcall["upcall_cpu"]] = own
            return own
        key = upcall["upcall_timestamp_ns"], upcall["upcall_cpu"]
        packet = self._upcalls.get(key, own)
        if event == RETURN:
            self._upcalls.pop(key, None)
        if event == ENQUEUE and packet is not None and upcall["queue_id"]:
            self._sent(upcall["queue_id"], packet, row["timestamp_ns"], number)
        return packet

    def _sent(self, queue_id: int, packet: Id, now_ns: int, number: int) -> None:
        message = self._messages.get(queue_id)
        if message is None or not message.is_on_its_way(now_ns):
            self._messages[queue_id] = _Message([packet], 1, now_ns, number)
            return
        message.waiting += 1
        message.since_ns = now_ns
        if packet not in message.packets:
            message.packets.append(packet)
            if message.group is None:
                message.group = self.marks.begin()
                self._mark(message, message.row)
        self._mark(message, number)

    def _received(self, queue_id: int | None, now_ns: int, number: int) -> Id | None:
        if message := self._messages.get(queue_id or 0):
            message.waiting = max(0, message.waiting - 1)
            message.since_ns = now_ns
        return self._known(queue_id, number)

    def _known(self, queue_id: int | None, number: int) -> Id | None:
        message = self._messages.get(queue_id or 0)
        if message is None:
            return None
        self._mark(message, number)
        return message.packets[0] if message.group is None else None

    def _mark(self, message: _Message, number: int) -> None:
        if message.group is not None:
            self.marks.mark(number, message.group, len(message.packets))

    def _replaced(self, column: pa.Array, found: dict[int, Id]) -> pa.Array:
        """Give rows the ids that were found, and rows of packets that came back those of what went."""
        fields = {f.name: pc.struct_field(column, f.name) for f in column.type}
        times, heads = (fields[name].fill_null(0).to_numpy() for name in ("timestamp_ns", "orig_head"))
        times, heads = times.copy(), heads.copy()
        has_id = column.is_valid().to_numpy(zero_copy_only=False)
        if self._packets:
            returned = np.fromiter((time for time, _ in self._packets), np.uint64, len(self._packets))
            for place in np.flatnonzero(np.isin(times, returned) & has_id).tolist():
                packet = self._packets.get((int(times[place]), int(heads[place])))
                if packet:
                    times[place], heads[place] = packet
        for place, packet in found.items():
            times[place], heads[place] = packet
            has_id[place] = True
        made = {"timestamp_ns": pa.array(times), "orig_head": pa.array(heads)}
        children = [made.get(name, values) for name, values in fields.items()]
        return pa.StructArray.from_arrays(children, fields=list(column.type), mask=pa.array(~has_id))


def _id(row: Row) -> Id | None:
    tracking = row.get(_TRACKING)
    if not tracking or tracking["timestamp_ns"] is None or tracking["orig_head"] is None:
        return None
    return tracking["timestamp_ns"], tracking["orig_head"]
