"""The packet filter on recorded events: each distinct packet of a batch is judged once, columns at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.store import note_rows
from fyke.filters.pcap import MATCH, NO_LINK_LAYER, UNREADABLE
from fyke.filters.pcap.classic import Program
from fyke.filters.pcap.compile import PacketFilter
from fyke.filters.pcap.evaluate import verdicts

NO_PACKET = 4  # the verdict on a row without packet, beside those of fyke.filters.pcap
ETHERNET_BYTES = 14
TAG_AT = 12  # where an Ethernet frame has its VLAN tag (IEEE 802.1Q): behind the two addresses
TAG_BYTES = 4
_MATRIX_BYTES = 16 << 20  # of packets laid side by side at once

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


class EventFilter:
    """A packet filter for batches of the event table, and the counts of what it met.

    A packet is judged as the filter in the kernel judges it: from its link-layer header on, with an
    accelerated VLAN tag put into its place where the expression asks for tags; from its network header on
    when its link-layer header is made up. Retis doesn't say which it is: what it recorded is Ethernet here.

    events, matched: how many were judged, and matched. unreadable: what the filter looks at lies behind the
    bytes that were kept. no_link_layer: the packet has no link-layer header, and the expression needs one.
    no_packet: events that hold no packet. The last three don't match.
    """

    def __init__(self, packet_filter: PacketFilter) -> None:
        self.filter = packet_filter
        self.events = self.matched = self.unreadable = self.no_link_layer = self.no_packet = 0

    def mask(self, batch: pa.RecordBatch) -> Mask:
        """Say for each row whether it stays: its packet matches, or it is a note of a gap or of the end."""
        matches, notes = self.matches(batch), note_rows(batch)
        return matches if notes is None else matches | notes

    def matches(self, batch: pa.RecordBatch) -> Mask:
        """Say for each row whether its packet matches, and count. Notes never do, and are not counted."""
        judged = self._judge(batch)
        notes = note_rows(batch)
        counts = np.bincount(judged if notes is None else judged[~notes], minlength=NO_PACKET + 1)
        self.events += int(counts.sum())
        self.matched += int(counts[MATCH])
        self.unreadable += int(counts[UNREADABLE])
        self.no_link_layer += int(counts[NO_LINK_LAYER])
        self.no_packet += int(counts[NO_PACKET])
        result: Mask = judged == MATCH
        return result if notes is None else result & ~notes

    def warnings(self) -> list[str]:
        """Return what the user should know of events that could not be judged, as sentences."""
        said = []
        if self.events and self.no_packet == self.events:
            said.append("no event holds a packet, so none can match: record with the collector skb")
        if self.unreadable:
            said.append(
                f"{_events(self.unreadable)} could not be judged: what the filter looks at wasn't kept; "
                "record with a larger --snaplen (bytes in fragments of an skb are never kept)"
            )
        if self.no_link_layer:
            said.append(
                f"{_events(self.no_link_layer)} could not match: the packet had no link-layer header, and "
                f"the filter needs one ({self.filter.why_no_raw})"
            )
        return said

    def _judge(self, batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        """Return the verdict on each row; notes are judged by what they hold, as a rule nothing."""
        result = np.full(len(batch), NO_PACKET, np.uint8)
        packet = batch.column("packet")
        if packet.null_count == len(packet):
            return result
        if packet.null_count:
            here = packet.is_valid()
            batch = batch.select(["packet", "vlan_accel"]).filter(here)
            result[here.to_numpy(zero_copy_only=False)] = self._judge_packets(batch)
            return result
        return self._judge_packets(batch)

    def _judge_packets(self, batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        packets, codes = _distinct(_packets(batch, with_tags=self.filter.sees_vlan))
        judged = np.empty(len(packets.lengths), np.uint8)
        tagged = packets.own & (packets.tags >= 0)
        plain = packets.own & ~tagged
        if plain.any():
            judged[plain] = _evaluate(self.filter.ethernet, packets.pick(plain))
        if tagged.any():
            judged[tagged] = _evaluate(self.filter.ethernet, packets.pick(tagged), tagged=True)
        if not packets.own.all():
            bare = ~packets.own
            raw = self.filter.raw
            judged[bare] = NO_LINK_LAYER if raw is None else _evaluate(raw, packets.pick(bare).network())
        return judged[codes]


@dataclass(frozen=True)
class _Packets:
    """Packets of a batch. flat: bytes that hold them all, and as many more as the longest has.

    starts, lengths: where each begins, and how many bytes of it there are. wire: its whole length. own:
    whether its link-layer header is its own. tags: ethertype and TCI of an accelerated VLAN tag, 32 bits; -1
    for none.
    """

    data: pa.Array
    wire: Numbers
    own: Mask
    tags: Numbers
    flat: npt.NDArray[np.uint8]
    starts: Numbers
    lengths: Numbers

    def pick(self, which: Any) -> _Packets:
        """Return some of the packets, by a mask or an array of numbers."""
        if which.dtype == np.bool_ and which.all():
            return self
        parts = (self.wire[which], self.own[which], self.tags[which])
        return _Packets(self.data, *parts, self.flat, self.starts[which], self.lengths[which])

    def network(self) -> _Packets:
        """Return the packets without the 14 bytes of their (made-up) link-layer header."""
        skipped = np.minimum(self.lengths, ETHERNET_BYTES)
        wire = np.maximum(self.wire - ETHERNET_BYTES, 0)
        starts, lengths = self.starts + skipped, self.lengths - skipped
        return _Packets(self.data, wire, self.own, self.tags, self.flat, starts, lengths)


def _packets(batch: pa.RecordBatch, *, with_tags: bool) -> _Packets:
    """Return the packets of a batch whose rows all have one. A file may leave any column of it null."""
    packet = batch.column("packet")
    data = pc.fill_null(pc.struct_field(packet, "data"), b"")
    starts, lengths, flat = _layout(data)
    length = pc.struct_field(packet, "len")
    wire = pc.fill_null(length, 0).to_numpy().astype(np.int64)
    if length.null_count:
        wire = np.where(length.is_null().to_numpy(zero_copy_only=False), lengths, wire)
    own = pc.fill_null(pc.struct_field(packet, "link_layer"), True).to_numpy(zero_copy_only=False)
    tags = accelerated_tags(batch.column("vlan_accel")) if with_tags else np.full(len(batch), -1, np.int64)
    return _Packets(data, wire, own, tags, flat, starts, lengths)


def _layout(data: pa.Array) -> tuple[Numbers, Numbers, npt.NDArray[np.uint8]]:
    """Return where each value of a binary column starts, its length, and all bytes with room at their end."""
    _validity, offsets, values = data.buffers()
    ends = np.frombuffer(offsets, np.int32)[data.offset : data.offset + len(data) + 1].astype(np.int64)
    lengths = np.diff(ends)
    flat = np.zeros(int(ends[-1] - ends[0]) + int(lengths.max(initial=0)), np.uint8)
    if values is not None:
        flat[: ends[-1] - ends[0]] = np.frombuffer(values, np.uint8)[ends[0] : ends[-1]]
    return ends[:-1] - ends[0], lengths, flat


def accelerated_tags(section: pa.Array) -> Numbers:
    """Return each row's accelerated tag as it would stand in the packet: ethertype, then PCP, DEI and VID."""
    if section.null_count == len(section):
        return np.full(len(section), -1, np.int64)
    proto, pcp, dei, vid = (
        pc.fill_null(pc.struct_field(section, name).cast(pa.int64()), 0).to_numpy()
        for name in ("proto", "pcp", "dei", "vid")
    )
    tci = (pcp & 7) << 13 | (dei & 1) << 12 | (vid & 0xFFF)
    return np.where(section.is_valid().to_numpy(zero_copy_only=False), proto << 16 | tci, -1)


def _distinct(packets: _Packets) -> tuple[_Packets, Numbers]:
    """Return the packets that differ in anything a filter looks at, and for each packet which one it is."""
    codes = packets.data.dictionary_encode().indices.to_numpy().astype(np.int64)
    for other in (packets.wire << 1 | packets.own, packets.tags):
        if (other != other[0]).any():
            numbers = _numbered(other)
            # Both factors are at most the number of rows: no overflow of 64 bits.
            codes = _numbered(codes * (int(numbers.max()) + 1) + numbers)
    first = np.empty(int(codes.max()) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return packets.pick(first), codes


def _numbered(values: Numbers) -> Numbers:
    """Return each value's number among the distinct ones, from 0."""
    return pa.array(values).dictionary_encode().indices.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _evaluate(program: Program, packets: _Packets, *, tagged: bool = False) -> npt.NDArray[np.uint8]:
    """Return the program's verdicts on packets. tagged: each has a tag, to be put into its place."""
    result = np.empty(len(packets.lengths), np.uint8)
    for which in _portions(packets.lengths):
        some = packets.pick(which)
        data, lengths, wire = _matrix(some), some.lengths, some.wire
        if tagged:
            data = _with_tags(data, some.tags)
            # A tag behind the end of what was kept can't be read either.
            lengths = np.where(lengths >= TAG_AT, lengths + TAG_BYTES, lengths)
            wire = wire + TAG_BYTES
        result[which] = verdicts(program, data, lengths, wire)
    return result


def _portions(lengths: Numbers) -> list[Numbers]:
    """Split packets, short ones first, so that no portion's matrix is too large (but for one packet's)."""
    if len(lengths) * int(lengths.max()) <= _MATRIX_BYTES:
        return [np.arange(len(lengths))]
    order = np.argsort(lengths, kind="stable")
    portions = []
    while len(order):
        sizes = lengths[order] * np.arange(1, len(order) + 1)
        count = max(1, int(np.searchsorted(sizes, _MATRIX_BYTES, side="right")))
        portions.append(order[:count])
        order = order[count:]
    return portions


def _matrix(packets: _Packets) -> npt.NDArray[np.uint8]:
    """Lay packets side by side, shape (n, longest); behind the end of a shorter one is anything."""
    width = int(packets.lengths.max())
    if not width:
        return np.zeros((len(packets.lengths), 0), np.uint8)
    return np.lib.stride_tricks.sliding_window_view(packets.flat, width)[packets.starts]


def _with_tags(data: npt.NDArray[np.uint8], tags: Numbers) -> npt.NDArray[np.uint8]:
    wide = np.zeros((len(data), max(data.shape[1], TAG_AT) + TAG_BYTES), np.uint8)
    before = min(data.shape[1], TAG_AT)
    wide[:, :before] = data[:, :before]
    wide[:, TAG_AT : TAG_AT + TAG_BYTES] = tags.astype(">u4").view(np.uint8).reshape(-1, TAG_BYTES)
    wide[:, TAG_AT + TAG_BYTES :] = data[:, TAG_AT:]
    return wide


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"
