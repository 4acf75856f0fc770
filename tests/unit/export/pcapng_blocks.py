"""A reader of pcapng of its own kind: strict about everything a block says of itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

Options = list[tuple[int, bytes]]


@dataclass
class Packet:
    interface: int
    time_ns: int
    data: bytes
    wire: int
    options: Options

    @property
    def comments(self) -> list[str]:
        return [value.decode() for code, value in self.options if code == 1]

    @property
    def json(self) -> str | None:
        found = [value for code, value in self.options if code == 2988]
        assert len(found) <= 1
        if not found:
            return None
        assert found[0][:4] == (70_000).to_bytes(4, "little")
        return found[0][4:].decode()


@dataclass
class Interface:
    link_type: int
    snaplen: int
    options: Options

    @property
    def name(self) -> str:
        return dict(self.options)[2].decode()

    @property
    def description(self) -> str:
        return dict(self.options)[3].decode()


@dataclass
class Capture:
    options: Options
    interfaces: list[Interface] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    customs: list[tuple[int, bytes]] = field(default_factory=list)
    order: list[int] = field(default_factory=list)


def options_of(data: bytes) -> Options:
    found, at = [], 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        at += 4
        if code == 0:
            assert length == 0
            assert at == len(data)
            return found
        value = data[at : at + length]
        assert len(value) == length
        padding = data[at + length : at + length + -length % 4]
        assert padding == bytes(-length % 4)
        at += length + len(padding)
        found.append((code, value))


def read(data: bytes) -> Capture:
    """Read a whole file, little-endian, of one section. Asserts that it is right."""
    capture, at = None, 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert at + length <= len(data)
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length
        body = data[at + 8 : at + length - 4]
        if capture is None:
            assert kind == 0x0A0D0D0A
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            capture = Capture(options_of(body[16:]))
        else:
            _take(capture, kind, body)
        capture.order.append(kind)
        at += length
    assert capture is not None
    return capture


def _take(capture: Capture, kind: int, body: bytes) -> None:
    if kind == 1:
        link_type, reserved, snaplen = struct.unpack_from("<HHI", body)
        assert reserved == 0
        capture.interfaces.append(Interface(link_type, snaplen, options_of(body[8:])))
    elif kind == 6:
        number, high, low, kept, wire = struct.unpack_from("<IIIII", body)
        interface = capture.interfaces[number]  # described before it is used
        assert kept <= min(wire, interface.snaplen)
        end = 20 + kept
        assert body[end : end + -kept % 4] == bytes(-kept % 4)
        options = options_of(body[end + -kept % 4 :])
        capture.packets.append(Packet(number, high << 32 | low, body[20:end], wire, options))
    else:
        assert kind == 0xBAD
        capture.customs.append((struct.unpack_from("<I", body)[0], body[4:]))
