"""Reads the older pcap format, in either byte order, of micro- or nanoseconds (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from fyke.events.pcapng.packets import MAX_BLOCK, NS, Damaged, Packet, checked_time, read_exactly

INTERFACE_NAME = "interface 0"  # the format has no names
# The first four bytes -> byte order, and nanoseconds in the unit of the times' fractions.
MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_HEADER = "IHHiIII"  # magic, version, time zone (unused), accuracy (unused), snaplen, link type
_RECORD = "IIII"  # seconds, fraction, bytes kept, bytes on the wire
_LINK_TYPE = 0xFFFF  # above it: the length of the frame check sequence


class RecordReader:
    """A capture in pcap. See `Reader`."""

    def __init__(self, file: BinaryIO) -> None:
        self.offset = 0
        self.texts: dict[str, str] = {}
        self._file = file

    def packets(self) -> Iterator[Packet]:
        """Yield the packets. Raises Damaged."""
        header = read_exactly(self._file, 24)
        order, unit_ns = MAGICS[header[:4]]
        major, link_type = struct.unpack(order + _HEADER, header)[1::5]
        if major != 2:
            raise Damaged(f"it is in version {major} of pcap, and only 2 is known")
        self.offset = len(header)
        record = struct.Struct(order + _RECORD)
        while head := self._file.read(record.size):
            if len(head) < record.size:
                raise Damaged("it ends inside a packet")
            seconds, fraction, kept, wire = record.unpack(head)
            if kept > MAX_BLOCK:
                raise Damaged("a packet claims to be larger than any")
            data = read_exactly(self._file, kept)
            time_ns = checked_time(seconds * NS + fraction * unit_ns)
            yield Packet(INTERFACE_NAME, link_type & _LINK_TYPE, time_ns, data, max(wire, kept))
            self.offset += record.size + kept
