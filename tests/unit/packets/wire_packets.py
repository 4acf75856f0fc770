"""Random packets that are right in every field, of all that has a dissector, tunnels in tunnels included.

What a byte may be is what the RFCs allow, so that any other dissector has to say the same of it.
"""

from __future__ import annotations

import struct
from random import Random

import frames

_PORTS = (33333, 33334, 40001, 61111)
"""Of no protocol: other dissectors shall not go on behind the transport header."""
_TEB, _RARP = 0x6558, 0x8035
_TCP_OPTIONS = (
    (2, 2), (3, 1), (4, 0), (5, 8), (5, 16), (6, 4), (7, 4), (8, 8), (11, 4), (12, 4), (13, 4), (19, 16),
    (28, 2), (34, 0), (34, 8),
)  # fmt: skip
"""Kinds and the bytes that their values have."""
_IPV4_OPTIONS = (b"", b"", b"", b"\x94\4\0\0", b"\1\1\1\1", b"\x07\7\4\0\0\0\0\0", b"\x44\x08\5\0\0\0\0\1")


def frame(random: Random, depth: int = 2) -> bytes:
    """An Ethernet frame with up to `depth` tunnels and authentication headers in it."""
    ethertype, payload = _network(random, depth)
    if random.random() < 0.1:
        ethertype, payload = 0x88E5, _macsec(random, struct.pack("!H", ethertype) + payload)
    for tag in random.choice(((), (), (), (0x8100,), (0x8100, 0x8100), (0x8100, 0x88A8))):
        payload, ethertype = struct.pack("!HH", random.getrandbits(16), ethertype) + payload, tag
    return _mac(random) + _mac(random) + struct.pack("!H", ethertype) + payload


def _network(random: Random, depth: int) -> tuple[int, bytes]:
    kinds = [_ipv4, _ipv4, _ipv4, _ipv6, _ipv6, _ipv6, _arp]
    return random.choice(kinds + [_mpls] * (depth > 0))(random, depth)


def _arp(random: Random, depth: int) -> tuple[int, bytes]:
    operation = random.randint(1, 4)
    addresses = (
        _mac(random),
        random.randbytes(4),
        random.choice((bytes(6), _mac(random))),
        random.randbytes(4),
    )
    packet = struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + b"".join(addresses)
    return _RARP if operation > 2 else 0x806, packet


def _mpls(random: Random, depth: int) -> tuple[int, bytes]:
    # Below 16 are labels with a meaning; below the stack is what the first byte says.
    words = [
        random.randint(16, 0xFFFFF) << 12 | random.getrandbits(3) << 9 | random.getrandbits(8) for _ in "123"
    ]
    words = words[: random.randint(1, 3)]
    words[-1] |= 0x100
    _, packet = random.choice((_ipv4, _ipv6))(random, depth - 1)
    return random.choice((0x8847, 0x8848)), struct.pack(f"!{len(words)}I", *words) + packet


def _ipv4(random: Random, depth: int) -> tuple[int, bytes]:
    number, payload = _transport(random, depth)
    options = random.choice(_IPV4_OPTIONS)
    fragment = random.choice((0, 0, 0, 0x4000, 0x4000, 0x8000, 0x2000, 0x2001, 0x1FFF))
    fixed = struct.pack(
        "!BBHHHBBH", 0x45 + len(options) // 4, random.getrandbits(8), 20 + len(options) + len(payload),
        random.getrandbits(16), fragment, random.getrandbits(8), number, 0,
    )  # fmt: skip
    return 0x800, fixed + _v4(random) + _v4(random) + options + payload


def _ipv6(random: Random, depth: int) -> tuple[int, bytes]:
    number, payload = _transport(random, depth)
    number, payload = (58, _icmp(random, (128, 129))) if number in (1, 2) else (number, payload)
    for kind in random.choice(((), (), (), (0,), (43,), (44,), (60,), (60, 0), (60, 44, 43, 0))):
        words = random.randint(0, 2) if kind != 44 else 0
        pad = struct.pack("!BB", 1, 4 + 8 * words) + bytes(4 + 8 * words)
        if kind == 44:
            pad = struct.pack("!HI", random.choice((0, 1, 8, 0x801)), random.getrandbits(32))
        elif kind == 43:
            pad, words = bytes([253, 0]) + bytes(4), 0  # an experiment's, nothing left to visit
        payload, number = bytes([number, words]) + pad + payload, kind
    first = 6 << 28 | random.getrandbits(28)
    fixed = struct.pack("!IHBB", first, len(payload), number, random.getrandbits(8))
    return 0x86DD, fixed + _v6(random) + _v6(random) + payload


def _transport(random: Random, depth: int) -> tuple[int, bytes]:
    kinds = [_tcp, _tcp, _udp, _udp, _ping, _sctp, _sctp, _igmp, _igmp, _esp]
    if depth > 0:
        kinds += [_vxlan, _geneve, _gre, _pptp, _ah, _ip_in_ip]
    return random.choice(kinds)(random, depth)


def _tcp(random: Random, depth: int) -> tuple[int, bytes]:
    options = b""
    for kind, size in random.sample(_TCP_OPTIONS, random.randint(0, 4)):
        option = bytes([kind, 2 + size]) + random.randbytes(size)
        option = random.choice((b"", b"\1")) + (b"\3\3\x07" if kind == 3 else option)
        options += option if len(options) + len(option) <= 40 else b""
    options += bytes(-len(options) % 4)
    bits = (5 + len(options) // 4) << 12 | random.getrandbits(9)
    seq, ack = random.getrandbits(32), random.getrandbits(32)
    fixed = struct.pack("!IIHHHH", seq, ack, bits, random.getrandbits(16), 0, 0)
    return 6, _ports(random) + fixed + options + _data(random)


def _udp(random: Random, depth: int) -> tuple[int, bytes]:
    data = _data(random)
    return 17, _ports(random) + struct.pack("!HH", 8 + len(data), 0) + data


def _ping(random: Random, depth: int) -> tuple[int, bytes]:
    return 1, _icmp(random, (0, 8, 13, 14))


def _icmp(random: Random, kinds: tuple[int, ...]) -> bytes:
    return bytes([random.choice(kinds), random.getrandbits(8)]) + bytes(2) + random.randbytes(20)


def _sctp(random: Random, depth: int) -> tuple[int, bytes]:
    word = random.getrandbits
    out = _ports(random) + struct.pack("!II", word(32), 0)
    for _ in range(random.randint(0, 3)):
        kind = random.choice((0, 0, 1, 2, 3, 4, 7, 8, 10, 11, 14))
        flags, body = 0, b""
        if kind == 0:
            flags, body = (
                word(3),
                struct.pack("!IHHI", word(32), word(16), word(16), 0) + _data(random) + b"d",
            )
        elif kind in (1, 2):
            body = struct.pack("!IIHHI", word(32), word(32), word(16), word(16), word(32))
        elif kind == 3:
            gaps = word(1)
            body = struct.pack("!IIHH", word(32), word(32), gaps, 0) + b"\0\2\0\3" * gaps
        elif kind in (4, 10):
            body = b"\0\1\0\x08abcd"
        elif kind == 7:
            body = struct.pack("!I", word(32))
        out += frames.chunk(kind, body, flags=flags)
    return 132, out


def _igmp(random: Random, depth: int) -> tuple[int, bytes]:
    group, kind = bytes([random.randint(224, 239)]) + random.randbytes(3), random.randint(0, 5)
    if kind < 4:
        number = (0x11, 0x12, 0x16, 0x17)[kind]
        return 2, frames.igmp(number, code=random.randint(1, 127) if kind == 0 else 0, group=group)
    sources = [_v4(random) for _ in range(random.randint(0, 3))]
    if kind == 4:
        code, interval = random.randint(1, 255), random.randint(0, 255)
        return 2, frames.igmp_query(*sources, code=code, bits=random.getrandbits(4), interval=interval)
    auxiliary = bytes(random.choice((0, 0, 4)))
    record = frames.igmp_record(random.randint(1, 6), *sources, group=group, auxiliary=auxiliary)
    return 2, frames.igmp_report(*[record] * random.randint(0, 3))


def _esp(random: Random, depth: int) -> tuple[int, bytes]:
    return 50, random.randbytes(8) + random.randbytes(40)


def _vxlan(random: Random, depth: int) -> tuple[int, bytes]:
    inner = struct.pack("!II", 8 << 24, random.getrandbits(24) << 8) + frame(random, depth - 1)
    port = random.choice((4789, 4789, 8472))
    return 17, struct.pack("!HHHH", random.choice(_PORTS), port, 8 + len(inner), 0) + inner


def _geneve(random: Random, depth: int) -> tuple[int, bytes]:
    ethertype, inner = _inner(random, depth)
    options = b"".join(
        frames.geneve_option(
            random.getrandbits(16), random.getrandbits(8), random.randbytes(4 * random.randint(0, 3))
        )
        for _ in range(random.randint(0, 3))
    )
    flags, vni = random.choice((0, 0x40, 0x80, 0xC0)), random.getrandbits(24)
    head = struct.pack("!BBHI", len(options) // 4, flags, ethertype, vni << 8) + options
    return 17, frames.udp(head + inner, port=6081)


def _gre(random: Random, depth: int) -> tuple[int, bytes]:
    ethertype, inner = _inner(random, depth)
    key, seq = (random.choice((None, random.getrandbits(32))) for _ in range(2))
    return 47, frames.gre(ethertype, inner, key=key, seq=seq, checksum=random.random() < 0.3)


def _pptp(random: Random, depth: int) -> tuple[int, bytes]:
    seq, ack = (random.choice((None, random.getrandbits(32))) for _ in range(2))
    payload = b"\xff\x03\xc0\x21\1\1\0\4" if seq is not None else b""
    key = len(payload) << 16 | random.getrandbits(16)
    return 47, frames.gre(0x880B, payload, key=key, seq=seq, ack=ack, version=1)


def _inner(random: Random, depth: int) -> tuple[int, bytes]:
    """What GRE and Geneve carry: a frame, or a packet without one."""
    ethertype, packet = _network(random, depth - 1)
    if ethertype == _RARP or random.random() < 0.5:
        return _TEB, frame(random, depth - 1)
    return ethertype, packet


def _ah(random: Random, depth: int) -> tuple[int, bytes]:
    number, inner = _transport(random, depth - 1)
    icv = random.randbytes(random.choice((12, 16)))
    return 51, struct.pack(
        "!BBHII", number, 1 + len(icv) // 4, 0, *struct.unpack("!II", random.randbytes(8))
    ) + icv + inner


def _ip_in_ip(random: Random, depth: int) -> tuple[int, bytes]:
    number = random.choice((4, 41, 137, 143))
    if number == 143:
        return number, frame(random, depth - 1)
    dissected = {4: _ipv4, 41: _ipv6, 137: _mpls}[number]
    return number, dissected(random, depth - 1)[1]


def _macsec(random: Random, inner: bytes) -> bytes:
    control = random.choice((0x00, 0x20, 0x40, 0x2C, 0x0C)) | random.getrandbits(2)
    sci = random.randbytes(8) if control & 0x20 else b""
    return struct.pack("!BBI", control, 0, random.getrandbits(32)) + sci + inner + random.randbytes(16)


def _ports(random: Random) -> bytes:
    return struct.pack("!HH", random.choice(_PORTS), random.choice(_PORTS))


def _data(random: Random) -> bytes:
    return bytes(random.choice((0, 1, 10, 100)))


def _mac(random: Random) -> bytes:
    return b"\2" + random.randbytes(5)


def _v4(random: Random) -> bytes:
    return bytes([random.choice((10, 100, 172, 192))]) + random.randbytes(3)


def _v6(random: Random) -> bytes:
    kept = random.randint(0, 14)
    return random.choice((b"\x20\1", b"\xfd\0", b"\xfe\x80")) + bytes(14 - kept) + random.randbytes(kept)
