"""Random packets of the protocols that pcap-filter(7) knows: whole, with bytes changed, cut short."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, replace
from random import Random

from pcap_expressions import LABELS, MACS, PORTS, V4, V6, VLANS


@dataclass(frozen=True, slots=True)
class Packet:
    """whole: all of a packet's bytes. seen: how many can be read. network: where that header begins."""

    whole: bytes
    seen: int
    network: int

    @property
    def data(self) -> bytes:
        """The bytes that can be read."""
        return self.whole[: self.seen]

    def cut(self, seen: int) -> Packet:
        """Return the packet with only the first `seen` bytes to be read."""
        return replace(self, seen=seen)

    def from_network(self) -> Packet:
        """Return the packet without its link-layer header."""
        return Packet(self.whole[self.network :], max(0, self.seen - self.network), 0)


def packet(random: Random) -> Packet:
    """Return a packet with an Ethernet header; its network header may be missing."""
    macs = _mac(random.choice(MACS)) + _mac(random.choice(MACS))
    ethertype, payload = _network(random)
    frame, network = _framed(random, macs, ethertype, payload)
    if random.random() < 0.25:
        frame = _changed(random, frame)
    if random.random() < 0.1:
        frame += random.randbytes(random.choice((6, 30, 200)))
    seen = random.randint(0, len(frame)) if random.random() < 0.3 else len(frame)
    return Packet(frame, seen, min(network, len(frame)))


def _framed(random: Random, macs: bytes, ethertype: int, payload: bytes) -> tuple[bytes, int]:
    """Put the link layer in front: plain, tagged, labelled, PPPoE or IEEE 802.3."""
    kind = random.random()
    between = b""
    if kind < 0.55:
        pass
    elif kind < 0.75:
        for tag in random.choice(((0x8100,), (0x88A8,), (0x9100,), (0x88A8, 0x8100), (0x8100, 0x8100))):
            between += struct.pack("!HH", tag, random.choice(VLANS) | random.choice((0, 0x2000)))
    elif kind < 0.85:
        labels = random.choices(LABELS, k=random.randint(1, 2))
        stack = b"".join(
            struct.pack("!I", label << 12 | (n + 1 == len(labels)) << 8 | 64)
            for n, label in enumerate(labels)
        )
        head = macs + struct.pack("!H", 0x8847) + stack
        return head + payload, len(head)
    elif kind < 0.95:
        protocol = {0x800: 0x21, 0x86DD: 0x57}.get(ethertype, 0xC021)
        head = macs + struct.pack(
            "!HBBHHH",
            random.choice((0x8863, 0x8864)),
            0x11,
            0,
            random.choice((1, 7)),
            len(payload) + 2,
            protocol,
        )
        return head + payload, len(head)
    else:
        llc = random.choice(
            (
                b"\x42\x42\x03",
                b"\xfe\xfe\x03",
                b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", ethertype),
                b"\xe0\xe0\x03",
                b"\xf0\xf0\x03",
            )
        )
        head = macs + struct.pack("!H", len(llc) + len(payload)) + llc
        return head + payload, len(head)
    head = macs + between + struct.pack("!H", ethertype)
    return head + payload, len(head)


def _network(random: Random, depth: int = 0) -> tuple[int, bytes]:
    kind = random.random()
    if kind < 0.55:
        return 0x0800, _ipv4(random, depth)
    if kind < 0.85:
        return 0x86DD, _ipv6(random, depth)
    if kind < 0.93:
        addresses = (_v4(random), _v4(random))
        macs = (_mac(random.choice(MACS)), _mac(random.choice(MACS)))
        arp = struct.pack(
            "!HHBBH6s4s6s4s",
            1,
            0x800,
            6,
            4,
            random.choice((1, 2)),
            macs[0],
            addresses[0],
            macs[1],
            addresses[1],
        )
        return random.choice((0x0806, 0x0806, 0x8035)), arp
    return random.choice((0x88CC, 0x6004, 0x8863, 0x6003)), random.randbytes(random.randint(0, 60))


def _ipv4(random: Random, depth: int) -> bytes:
    protocol, payload = _transport(random, depth, v6=False)
    options = random.choice((b"", b"", b"", b"\x94\x04\0\0", b"\x01" * 40, random.randbytes(12)))
    fragment = random.choice((0, 0, 0, 0x4000, 0x2000, 0x0003, 0x20FF, 0x1FFF))
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45 + len(options) // 4, random.choice((0, 0xB8)), 20 + len(options) + len(payload),
        random.getrandbits(16), fragment, random.choice((1, 64)), protocol, 0, _v4(random), _v4(random),
    )  # fmt: skip
    return head + options + payload


def _ipv6(random: Random, depth: int) -> bytes:
    protocol, payload = _transport(random, depth, v6=True)
    for kind in random.choice(((), (), (), (44,), (0,), (60, 43), (0, 44), (51,))):
        if kind == 44:
            payload = struct.pack("!BBHI", protocol, 0, random.choice((0, 1, 0x0801)), 7) + payload
        else:
            payload = bytes([protocol, 1]) + random.randbytes(14) + payload
        protocol = kind
    source, target = (ipaddress.IPv6Address(random.choice(V6)).packed for _ in range(2))
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64, source, target) + payload


def _transport(random: Random, depth: int, *, v6: bool) -> tuple[int, bytes]:
    ports = struct.pack("!HH", _port(random), _port(random))
    data = random.randbytes(random.choice((0, 1, 8, 40, 160)))
    kind = random.random()
    if kind < 0.4:
        flags = random.choice((0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x20))
        return 6, ports + struct.pack("!IIBBHHH", 1, 2, 0x50, flags, 1024, 0, 0) + data
    if kind < 0.7:
        if random.random() < 0.3 and not depth:
            ports, data = struct.pack("!HH", 40000, 6081), _geneve(random)
        return 17, ports + struct.pack("!HH", 8 + len(data), 0) + data
    if kind < 0.82:
        return (58 if v6 else 1), bytes(
            [random.choice((0, 3, 8, 11, 128, 135)), random.choice((0, 1))]
        ) + random.randbytes(6) + data
    if kind < 0.9:
        return 132, ports + random.randbytes(8) + data
    return random.choice((2, 47, 50, 51, 89, 103, 112, 255)), data


def _geneve(random: Random) -> bytes:
    options = random.choice((b"", b"\0\0\0\1\1\2\3\4"))
    ethertype, payload = _network(random, depth=1)
    if random.random() < 0.5:
        payload = _framed(random, _mac(MACS[0]) + _mac(MACS[1]), ethertype, payload)[0]
        ethertype = 0x6558
    return (
        struct.pack("!BBHI", len(options) // 4, 0, ethertype, random.choice((11, 12)) << 8)
        + options
        + payload
    )


def _changed(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(min(len(changed), 64))
        changed[at] = random.choice((0, 0xFF, random.getrandbits(8), changed[at] ^ 1 << random.randrange(8)))
    return bytes(changed)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _v4(random: Random) -> bytes:
    return ipaddress.IPv4Address(random.choice(V4)).packed


def _port(random: Random) -> int:
    return random.choice((*PORTS, PORTS[0] + 1, 481, 65535))
