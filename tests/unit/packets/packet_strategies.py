"""Random packets that look like packets: right in most fields, wrong in some, cut anywhere."""

from __future__ import annotations

import struct

import frames
from hypothesis import strategies as st

BYTE = st.integers(0, 255)
_SOMETIMES = st.integers(0, 7).map(lambda n: n == 7)

_EXTENSIONS = [0, 43, 44, 60, 135, 139, 140, 253, 254]
_PROTOCOLS = [n for n in range(256) if n not in _EXTENSIONS]
"""Random bytes never follow an IPv6 extension header: they would fill a fragment header's reserved byte."""
_LENGTHS = st.one_of(st.just(0), st.integers(0, 100))
_FIRST_FRAGMENT = st.sampled_from([0, 0x2000, 0x4000, 0x4000, 0x8000, 0xE000])
"""Words of flags and offset: most packets begin with their transport header."""


_TCP_OPTIONS = ((2, 2), (3, 1), (4, 0), (5, 8), (5, 16), (6, 4), (7, 4), (8, 8), (11, 4), (12, 4), (13, 4))
_TCP_OPTIONS += ((19, 16), (20, 2), (28, 2), (29, 14), (30, 10), (34, 0), (34, 8), (254, 4))
"""Kinds and the bytes that their values have."""


@st.composite
def _tcp_option(draw: st.DrawFn) -> bytes:
    kind, size = draw(st.sampled_from(_TCP_OPTIONS))
    if draw(_SOMETIMES):
        kind = draw(BYTE)
    claimed = draw(st.integers(0, 30)) if draw(_SOMETIMES) else 2 + size
    return bytes([kind, claimed]) + draw(st.binary(min_size=size, max_size=size))


@st.composite
def _tcp_options(draw: st.DrawFn) -> bytes:
    single = st.sampled_from([b"\0", b"\1"])
    out = b"".join(draw(st.lists(st.one_of(single, _tcp_option(), _tcp_option()), max_size=6)))[:40]
    return out + bytes(-len(out) % 4)


@st.composite
def _ipv4_options(draw: st.DrawFn) -> bytes:
    out = b""
    for _ in range(draw(st.integers(0, 4)) if draw(_SOMETIMES) else 0):
        kind = draw(st.one_of(st.sampled_from([0, 1, 7, 0x44, 0x83, 0x94]), BYTE))
        size = draw(st.integers(0, 12))
        out += bytes([kind]) if kind & 0x1F < 2 else bytes([kind, size]) + bytes(max(size - 2, 0))
    out = out[:40]
    return out + bytes(-len(out) % 4)


@st.composite
def _tcp(draw: st.DrawFn) -> tuple[int, bytes]:
    fields = draw(st.binary(min_size=20, max_size=20))
    options = draw(_tcp_options())
    words = draw(st.integers(0, 15)) if draw(_SOMETIMES) else 5 + len(options) // 4
    header = fields[:12] + bytes([words << 4 | fields[12] & 15]) + fields[13:]
    return 6, header + options + draw(st.binary(max_size=12))


def _udp(depth: int) -> st.SearchStrategy[tuple[int, bytes]]:
    plain = st.tuples(st.binary(max_size=12), st.sampled_from([53, 4789, 8472, 6081]))
    if depth:
        inner = ethernets(depth - 1)
        plain = st.one_of(
            plain,
            st.tuples(st.builds(frames.vxlan, inner, flags=BYTE), st.sampled_from([4789, 8472])),
            st.tuples(_geneve(depth), st.just(6081)),
        )
    length = st.one_of(st.none(), st.none(), st.integers(0, 0xFFFF))
    return st.builds(lambda p, length: (17, frames.udp(p[0], port=p[1], length=length)), plain, length)


@st.composite
def _geneve(draw: st.DrawFn, depth: int) -> bytes:
    classes = st.sampled_from([0x100, 0x102, 0xFFFF])
    values = st.integers(0, 3).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))
    option = st.builds(frames.geneve_option, classes, st.sampled_from([0, 1, 0x80, 0x81]), values)
    options = b"".join(draw(st.lists(option, max_size=3)))
    ethertype, inner = draw(_networks(depth - 1))
    if draw(st.booleans()):
        ethertype, inner = 0x6558, frames.ethernet(ethertype, inner)
    packet = frames.geneve(inner, ethertype=ethertype, options=options, flags=draw(BYTE))
    return bytes([draw(BYTE)]) + packet[1:] if draw(_SOMETIMES) else packet


@st.composite
def _sctp(draw: st.DrawFn) -> tuple[int, bytes]:
    kind = st.one_of(st.integers(0, 15), BYTE)
    length = st.one_of(st.none(), st.none(), st.none(), st.integers(0, 40))
    chunk = st.builds(frames.chunk, kind, st.binary(min_size=12, max_size=20), flags=BYTE, length=length)
    return 132, draw(st.binary(min_size=12, max_size=12)) + b"".join(draw(st.lists(chunk, max_size=3)))


@st.composite
def _ah(draw: st.DrawFn, depth: int) -> tuple[int, bytes]:
    protocol, inner = draw(_transports(depth - 1))
    header = frames.ah(protocol, b"", icv=draw(st.sampled_from([b"", b"\xaa" * 12, b"\xbb" * 16])))
    return 51, (bytes([protocol, draw(BYTE)]) + header[2:] if draw(_SOMETIMES) else header) + inner


def _igmp() -> st.SearchStrategy[tuple[int, bytes]]:
    sources = st.lists(st.binary(min_size=4, max_size=4), max_size=3)
    record = st.builds(lambda kind, found: frames.igmp_record(kind, *found), st.integers(0, 7), sources)
    message = st.one_of(
        st.builds(frames.igmp, st.sampled_from([0x11, 0x12, 0x16, 0x17, 0x13, 0x22]), code=BYTE),
        st.builds(lambda found, code: frames.igmp_query(*found, code=code, bits=code), sources, BYTE),
        st.builds(lambda records: frames.igmp_report(*records), st.lists(record, max_size=3)),
    )
    return st.tuples(st.just(2), message)


@st.composite
def _gre(draw: st.DrawFn, depth: int) -> tuple[int, bytes]:
    ethertype, inner = draw(_networks(depth - 1))
    if draw(st.booleans()):
        ethertype, inner = 0x6558, frames.ethernet(ethertype, inner)
    number = st.one_of(st.none(), st.integers(0, 0xFFFFFFFF))
    rare = draw(_SOMETIMES)
    header = frames.gre(
        ethertype,
        key=draw(number),
        seq=draw(number),
        checksum=draw(st.booleans()),
        routes=draw(st.sampled_from([bytes(4), b"\x08\0\0\4abcd" + bytes(4), b"abcd"])) if rare else None,
    )
    return 47, (draw(st.binary(min_size=2, max_size=2)) + header[2:] if draw(_SOMETIMES) else header) + inner


@st.composite
def _encapsulated(draw: st.DrawFn, depth: int) -> tuple[int, bytes]:
    number = draw(st.sampled_from([4, 41, 137, 143]))
    if number == 143:
        return number, draw(ethernets(depth - 1))
    dissected = {4: _ipv4, 41: _ipv6, 137: _mpls}[number]
    return number, draw(dissected(depth - 1))[1]


@st.composite
def _mpls(draw: st.DrawFn, depth: int) -> tuple[int, bytes]:
    labels = draw(
        st.lists(st.one_of(st.sampled_from([0, 2, 16]), st.integers(0, 0xFFFFF)), min_size=1, max_size=3)
    )
    _, inner = draw(_networks(depth))
    packet = frames.mpls(*labels, inner=inner, bottom=not draw(_SOMETIMES))
    return draw(st.sampled_from([0x8847, 0x8848])), packet


def _transports(depth: int) -> st.SearchStrategy[tuple[int, bytes]]:
    kinds = [
        _tcp(),
        _udp(depth),
        st.tuples(st.sampled_from([1, 58]), st.binary(max_size=8)),
        st.tuples(st.just(50), st.binary(max_size=12)),
        _sctp(),
        _igmp(),
        st.tuples(st.sampled_from(_PROTOCOLS), st.binary(max_size=24)),
    ]
    return st.one_of(*kinds, *([_ah(depth), _gre(depth), _encapsulated(depth)] if depth > 0 else []))


@st.composite
def _ipv4(draw: st.DrawFn, depth: int) -> tuple[int, bytes]:
    protocol, payload = draw(_transports(depth))
    rare = draw(_SOMETIMES)
    return 0x800, frames.ipv4(
        protocol,
        payload,
        tos=draw(BYTE),
        fragment=draw(st.integers(0, 0xFFFF) if draw(_SOMETIMES) else _FIRST_FRAGMENT),
        options=draw(_ipv4_options()),
        words=draw(st.integers(0, 15)) if rare else None,
        length=draw(_LENGTHS) if draw(_SOMETIMES) else None,
    )


@st.composite
def _ipv6(draw: st.DrawFn, depth: int) -> tuple[int, bytes]:
    protocol, payload = draw(_transports(depth))
    for kind in draw(st.lists(st.sampled_from(_EXTENSIONS), max_size=3)):
        body = draw(st.binary(min_size=6, max_size=6))
        if kind != 44:
            body += bytes(8 * draw(st.integers(0, 2)))
        elif not draw(_SOMETIMES):
            body = bytes([0, body[1] & 7]) + body[2:]
        payload = frames.extension(protocol, body, second=0 if kind == 44 else None) + payload
        protocol = kind
    zeros = draw(st.sampled_from([b"", bytes(4), bytes(10), bytes(10) + b"\xff\xff", bytes(12), bytes(14)]))
    return 0x86DD, frames.ipv6(
        protocol,
        payload,
        traffic_class=draw(BYTE),
        label=draw(st.integers(0, 0xFFFFF)),
        length=draw(_LENGTHS) if draw(_SOMETIMES) else None,
        source=zeros + draw(st.binary(min_size=16 - len(zeros), max_size=16 - len(zeros))),
    )


def _arp() -> st.SearchStrategy[tuple[int, bytes]]:
    target = st.sampled_from([bytes(6), b"\xff" * 6])
    ethertype = st.sampled_from([0x806, 0x806, 0x8035])
    return st.builds(
        lambda number, op, target: (number, frames.arp(op, target=target)),
        ethertype,
        st.integers(0, 5),
        target,
    )


def _networks(depth: int) -> st.SearchStrategy[tuple[int, bytes]]:
    other = st.tuples(st.sampled_from([0x888E, 0x8847, 0x1234, 0x0030]), st.binary(max_size=8))
    noise = st.tuples(st.sampled_from([0x800, 0x806, 0x88E5, 0x8100, 0x88A8, 0x9100]), st.binary(max_size=60))
    kinds = [_ipv4(depth), _ipv4(depth), _ipv6(depth), _ipv6(depth), _arp(), other, noise]
    return st.one_of(*kinds, *([_mpls(depth - 1)] if depth > 0 else []))


@st.composite
def ethernets(draw: st.DrawFn, depth: int = 2) -> bytes:
    """A frame with up to `depth` tunnels or authentication headers in it."""
    ethertype, payload = draw(_networks(depth))
    if draw(_SOMETIMES):
        control = draw(BYTE)
        sci = b"scisci\0\1" if control & 0x20 else b""
        payload = frames.macsec(
            struct.pack("!H", ethertype) + payload, control=control, short=draw(BYTE), sci=sci
        )
        ethertype = 0x88E5
    for tag in (
        draw(st.lists(st.sampled_from([0x8100, 0x88A8, 0x9100]), max_size=3)) if draw(_SOMETIMES) else ()
    ):
        payload = struct.pack("!HH", draw(st.integers(0, 0xFFFF)), ethertype) + payload
        ethertype = tag
    return frames.ethernet(ethertype, payload)
