"""Reads pcapng block by block, in either byte order (IETF draft-ietf-opsawg-pcapng); trusts no length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fyke.events.escape import name_from_bytes
from fyke.events.pcapng import format as ng
from fyke.events.pcapng.packets import MAX_BLOCK, NS, Damaged, Packet, checked_time, read_exactly

_MICROSECONDS = 1_000_000  # ticks a second where an interface doesn't say
_MAX_INTERFACES = 1 << 16
_LEAST_BLOCK = 12  # type, length, length
_TEXTS = {ng.SHB_HARDWARE: "hardware", ng.SHB_OS: "os", ng.SHB_USERAPPL: "application"}


@dataclass(frozen=True, slots=True)
class _Interface:
    """name: as events have it. ticks: a second. offset_ns: to be added to times. snaplen: 0 for none."""

    name: str
    link_type: int
    snaplen: int
    ticks: int
    offset_ns: int


class BlockReader:
    """A capture in pcapng. See `Reader`."""

    def __init__(self, file: BinaryIO) -> None:
        self.offset = 0
        self.texts: dict[str, str] = {}
        self._file = file
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._time_ns = 0  # of the last packet: some blocks have none

    def packets(self) -> Iterator[Packet]:
        """Yield the packets of all sections. What is no packet is passed over. Raises Damaged."""
        while head := self._file.read(8):
            if len(head) < 8:
                raise Damaged("it ends inside a block")
            kind, body = self._block(head)
            try:
                packet = self._take(kind, body)
            except struct.error as error:
                raise Damaged("a block is too short for what it is") from error
            if packet is not None:
                yield packet
            self.offset += len(body) + _LEAST_BLOCK

    def _block(self, head: bytes) -> tuple[int, bytes]:
        """Return type and body of a block, read to its end."""
        begun = b""
        if head[:4] == ng.SECTION_HEADER_MAGIC:  # its byte order is its own
            begun = read_exactly(self._file, 4)
            self._order = _byte_order(begun)
        kind, length = struct.unpack(self._order + "II", head)
        if length % 4 or length < _LEAST_BLOCK + len(begun):
            raise Damaged(f"a block can't have a length of {length} bytes")
        if length > MAX_BLOCK:
            raise Damaged("a block claims to be larger than any")
        rest = read_exactly(self._file, length - 8 - len(begun))
        if struct.unpack(self._order + "I", rest[-4:])[0] != length:
            raise Damaged("a block's two lengths differ")
        return kind, begun + rest[:-4]

    def _take(self, kind: int, body: bytes) -> Packet | None:
        if kind == ng.PACKET:
            number, high, low, kept, wire = struct.unpack_from(self._order + "IIIII", body)
            return self._packet(number, high << 32 | low, body, 20, kept, wire)
        if kind == ng.SECTION_HEADER:
            self._section(body)
        elif kind == ng.INTERFACE:
            self._interface(body)
        elif kind == ng.SIMPLE_PACKET:
            (wire,) = struct.unpack_from(self._order + "I", body)
            kept = min(wire, len(body) - 4, self._at(0).snaplen or wire)
            return self._packet(0, None, body, 4, kept, wire)
        elif kind == ng.OBSOLETE_PACKET:
            number, _drops, high, low, kept, wire = struct.unpack_from(self._order + "HHIIII", body)
            return self._packet(number, high << 32 | low, body, 20, kept, wire)
        return None

    def _packet(
        self, number: int, ticks: int | None, body: bytes, start: int, kept: int, wire: int
    ) -> Packet:
        interface = self._at(number)
        if start + kept > len(body):
            raise Damaged("a packet is longer than its block")
        if ticks is not None:
            self._time_ns = checked_time(ticks * NS // interface.ticks + interface.offset_ns)
        data = body[start : start + kept]
        return Packet(interface.name, interface.link_type, self._time_ns, data, max(wire, kept))

    def _at(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise Damaged(f"a packet is of interface {number}, which isn't described before it")
        return self._interfaces[number]

    def _section(self, body: bytes) -> None:
        _magic, major, _minor, _length = struct.unpack_from(self._order + "IHHq", body)
        if major != 1:
            raise Damaged(f"it is in version {major} of pcapng, and only 1 is known")
        self._interfaces = []
        for code, value in self._options(body, 16):
            if code in _TEXTS:
                self.texts.setdefault(_TEXTS[code], value.decode(errors="backslashreplace"))

    def _interface(self, body: bytes) -> None:
        if len(self._interfaces) >= _MAX_INTERFACES:
            raise Damaged("it has more interfaces than any capture")
        link_type, _reserved, snaplen = struct.unpack_from(self._order + "HHI", body)
        name, ticks, offset_ns = f"interface {len(self._interfaces)}", _MICROSECONDS, 0
        for code, value in self._options(body, 8):
            if code == ng.IF_NAME and value:
                name = name_from_bytes(value)
            elif code == ng.IF_TSRESOL and value:
                ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == ng.IF_TSOFFSET:
                offset_ns = struct.unpack(self._order + "q", value)[0] * NS
        self._interfaces.append(_Interface(name, link_type, snaplen, ticks, offset_ns))

    def _options(self, body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            at += 4
            if code == ng.END_OF_OPTIONS:
                return
            if at + length > len(body):
                raise Damaged("an option is longer than its block")
            yield code, body[at : at + length]
            at += length + -length % 4


def _byte_order(magic: bytes) -> str:
    for order in "<>":
        if struct.unpack(order + "I", magic)[0] == ng.BYTE_ORDER_MAGIC:
            return order
    raise Damaged("its byte order isn't known")
