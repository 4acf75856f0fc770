"""Builds packets for the tests, field by field; every length and offset can be made wrong."""

from __future__ import annotations

import struct

MACS = bytes.fromhex("ffeeddccbbaa 001122334455")


def ethernet(ethertype: int, payload: bytes = b"") -> bytes:
    return MACS + struct.pack("!H", ethertype) + payload


def arp(operation: int, *, target: bytes = bytes.fromhex("0a0b0c0d0e0f")) -> bytes:
    fixed = struct.pack("!HHBBH", 1, 0x800, 6, 4, operation)
    return fixed + bytes.fromhex("010203040506 0a000001") + target + bytes.fromhex("0a000002")


def ipv4(
    protocol: int,
    payload: bytes = b"",
    *,
    tos: int = 0,
    fragment: int = 0,
    options: bytes = b"",
    words: int | None = None,
    length: int | None = None,
) -> bytes:
    """`fragment` is the word of flags and offset, `words` the header length."""
    words = 5 + len(options) // 4 if words is None else words
    length = 20 + len(options) + len(payload) if length is None else length
    fixed = struct.pack("!BBHHHBBH", 4 << 4 | words, tos, length, 7, fragment, 64, protocol, 0)
    return fixed + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + options + payload


def ipv6(
    protocol: int,
    payload: bytes = b"",
    *,
    traffic_class: int = 0,
    label: int = 0,
    length: int | None = None,
    source: bytes = bytes(15) + b"\1",
) -> bytes:
    length = len(payload) if length is None else length
    fixed = struct.pack("!IHBB", 6 << 28 | traffic_class << 20 | label, length, protocol, 64)
    return fixed + source + bytes(15) + b"\2" + payload


def extension(protocol: int, body: bytes = bytes(6), *, second: int | None = None) -> bytes:
    """An IPv6 extension header before `protocol`; `second` is the byte that mostly holds its length."""
    return bytes([protocol, (len(body) - 6) // 8 if second is None else second]) + body


def fragment(protocol: int, payload: bytes, *, offset: int) -> bytes:
    """An IPv6 fragment header before `payload`; `offset` in bytes, more fragments follow."""
    return extension(protocol, struct.pack("!HI", offset | 1, 7), second=0) + payload


def jumbo(protocol: int, length: int) -> bytes:
    """IPv6 hop-by-hop options that give the payload's length."""
    return extension(protocol, struct.pack("!BBI", 0xC2, 4, length))


def tcp(
    payload: bytes = b"",
    *,
    flags: int = 0x10,
    seq: int = 100,
    options: bytes = b"",
    words: int | None = None,
) -> bytes:
    """`flags` has nine bits, AE (NS) the highest; `words` is the data offset."""
    words = 5 + len(options) // 4 if words is None else words
    return struct.pack("!HHIIHHHH", 10, 20, seq, 5, words << 12 | flags, 1000, 0, 0) + options + payload


def udp(payload: bytes = b"", *, port: int = 20, length: int | None = None) -> bytes:
    length = 8 + len(payload) if length is None else length
    return struct.pack("!HHHH", 10, port, length, 0) + payload


def vxlan(inner: bytes, *, flags: int = 8) -> bytes:
    return struct.pack("!II", flags << 24, 5 << 8) + inner


def geneve(inner: bytes, *, ethertype: int = 0x6558, options: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("!BBHI", len(options) // 4, flags, ethertype, 0xABCDEF << 8) + options + inner


def geneve_option(cls: int, kind: int, value: bytes = b"") -> bytes:
    return struct.pack("!HBB", cls, kind, len(value) // 4) + value


def ah(protocol: int, inner: bytes, *, icv: bytes = b"\xaa" * 12) -> bytes:
    return struct.pack("!BBHII", protocol, (12 + len(icv)) // 4 - 2, 0, 0x11, 0x22) + icv + inner


def esp(body: bytes = b"") -> bytes:
    return struct.pack("!II", 0xDEAD, 300) + body


def macsec(inner: bytes, *, control: int = 0, short: int = 0, sci: bytes = b"") -> bytes:
    """`control` is the whole byte of tag control information and association number."""
    return struct.pack("!BBI", control, short, 7) + sci + inner


def sctp(*chunks: bytes) -> bytes:
    return struct.pack("!HHII", 10, 20, 0x1234, 0) + b"".join(chunks)


def chunk(kind: int, body: bytes = b"", *, flags: int = 0, length: int | None = None) -> bytes:
    length = 4 + len(body) if length is None else length
    raw = struct.pack("!BBH", kind, flags, length) + body
    return raw + bytes(-len(raw) % 4)


def gre(
    ethertype: int,
    inner: bytes = b"",
    *,
    key: int | None = None,
    seq: int | None = None,
    ack: int | None = None,
    checksum: bool = False,
    routes: bytes | None = None,
    version: int = 0,
) -> bytes:
    """`routes` are those of RFC 1701 with the empty one that ends them; `ack` is PPTP's."""
    bits = checksum << 15 | (routes is not None) << 14 | (key is not None) << 13 | (seq is not None) << 12
    head = struct.pack("!HH", bits | (ack is not None) << 7 | version, ethertype)
    if checksum or routes is not None:
        head += bytes(4)
    words = [struct.pack("!I", word) for word in (key, seq, ack) if word is not None]
    return head + b"".join(words) + (routes or b"") + inner


def mpls(*labels: int, inner: bytes = b"", bottom: bool = True) -> bytes:
    """A stack whose entries have traffic class 5 and a TTL of 64."""
    words = [label << 12 | 5 << 9 | 64 for label in labels]
    if bottom:
        words[-1] |= 0x100
    return struct.pack(f"!{len(words)}I", *words) + inner


GROUP = bytes([239, 1, 2, 3])


def igmp(kind: int, *, code: int = 0, group: bytes = GROUP, more: bytes = b"") -> bytes:
    return struct.pack("!BBH", kind, code, 0) + group + more


def igmp_query(*sources: bytes, code: int = 100, bits: int = 2, interval: int = 125) -> bytes:
    """A query of version 3; `bits` are suppress flag and robustness."""
    more = struct.pack("!BBH", bits, interval, len(sources)) + b"".join(sources)
    return igmp(0x11, code=code, more=more)


def igmp_record(kind: int, *sources: bytes, group: bytes = GROUP, auxiliary: bytes = b"") -> bytes:
    fixed = struct.pack("!BBH", kind, len(auxiliary) // 4, len(sources))
    return fixed + group + b"".join(sources) + auxiliary


def igmp_report(*records: bytes) -> bytes:
    """A report of version 3."""
    return igmp(0x22, group=struct.pack("!HH", 0, len(records)), more=b"".join(records))
