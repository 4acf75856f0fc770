"""Addresses, ports and protocol of recorded packets: each distinct packet of a batch once, by columns."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from socket import inet_ntoa

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.packets import ipv6
from fyke.packets.assigned import ETH_P_IP, ETH_P_IPV6, IPPROTO_ICMP, IPPROTO_ICMPV6, PROTOCOLS
from fyke.packets.columns.payload import Bytes
from fyke.packets.columns.strings import distinct
from fyke.packets.ports import HEADERS
from fyke.packets.vlan import TAGS

FLOW = pa.struct(
    [
        pa.field("proto", pa.string()),
        pa.field("saddr", pa.string()),
        pa.field("sport", pa.uint16()),
        pa.field("daddr", pa.string()),
        pa.field("dport", pa.uint16()),
        pa.field("icmp_type", pa.uint8()),
        pa.field("icmp_code", pa.uint8()),
        pa.field("vlan", pa.uint16()),
    ]
)
"""What `flows` makes of a packet; see `fyke.journeys.views_columns` for what each means."""

_ETHERNET, _IPV4, _IPV6, _ICMP = 14, 20, 40, 4  # bytes of the headers; of ICMP what is looked at
_FRAGMENT = 44

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def flows(batch: pa.RecordBatch) -> pa.StructArray:
    """Return a FLOW for each row of a batch of the event table, null where there is no IP packet.

    Of a tunnel it is the outer one. What is read, and up to where a packet goes, is as the event's text has
    it (`fyke.packets`), but for IPv6 extension headers: ports behind them are found. VLAN tags, any number,
    are stepped over. Fragments after the first have no ports.
    """
    packet = batch.column("packet")
    if packet.null_count == len(packet):
        return pa.nulls(len(batch), FLOW)
    coded = pc.struct_field(packet, "data").dictionary_encode()
    found = _parse(coded.dictionary).take(coded.indices)
    beside = batch.column("vlan_accel")
    if beside.null_count == len(beside):
        return found
    # The tag beside the bytes is the outermost one.
    members = [found.field(i) for i in range(FLOW.num_fields)]
    members[-1] = pc.coalesce(pc.struct_field(beside, "vid"), members[-1])
    return pa.StructArray.from_arrays(members, fields=list(FLOW), mask=found.is_null())


class _Packets:
    """Packets of a batch. at: where the next header of each is. end: where its last byte is behind. `flat`
    holds all of them. `has` says of which the headers so far were whole."""

    def __init__(self, data: pa.Array) -> None:
        packets = Bytes.of(data)
        self.flat, self.at = packets.content, packets.starts
        self.end = packets.starts + packets.lengths
        self.has = np.ones(len(data), np.bool_)

    def number(self, rows: npt.NDArray[np.intp], offset: int, size: int) -> Numbers:
        """Return the number (big endian, of `size` bytes) at an offset from `at` of some packets."""
        at = self.at[rows] + offset
        result: Numbers = self.flat[at].astype(np.int64)
        for place in range(1, size):
            result = result << 8 | self.flat[at + place]
        return result

    def room(self, rows: npt.NDArray[np.intp]) -> Numbers:
        """Return how many bytes of some packets are left."""
        result: Numbers = self.end[rows] - self.at[rows]
        return result


def _parse(data: pa.Array) -> pa.StructArray:
    """Return the FLOW of each packet (binary, none null)."""
    count = len(data)
    packets = _Packets(data)
    ethertype, vlan = _link_layer(packets)
    proto = np.full(count, -1, np.int64)
    first = np.ones(count, np.bool_)  # not a later fragment
    four = np.flatnonzero((ethertype == ETH_P_IP) & (packets.end - packets.at >= _IPV4))
    six = np.flatnonzero((ethertype == ETH_P_IPV6) & (packets.end - packets.at >= _IPV6))
    addresses = [_addresses(packets, four, six, at4, at6) for at4, at6 in ((12, 8), (16, 24))]
    _ipv4(packets, four, proto, first)
    _ipv6(packets, six, proto, first)
    sport, dport = _ports(packets, proto, first)
    icmp_type, icmp_code = _icmp(packets, proto, first)
    members = [
        _named(proto),
        addresses[0],
        sport,
        addresses[1],
        dport,
        icmp_type,
        icmp_code,
        _array(vlan, pa.uint16()),
    ]
    return pa.StructArray.from_arrays(members, fields=list(FLOW), mask=pa.array(proto < 0))


def _link_layer(packets: _Packets) -> tuple[Numbers, Numbers]:
    """Step over Ethernet and VLAN headers; return the ethertype of what follows, and the outer VLAN id."""
    count = len(packets.at)
    ethertype, vlan = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    rows = np.flatnonzero(packets.end - packets.at >= _ETHERNET)
    ethertype[rows] = packets.number(rows, 12, 2)
    packets.at[rows] += _ETHERNET
    tags = np.array(sorted(TAGS))
    while True:
        rows = rows[np.isin(ethertype[rows], tags)]
        rows = rows[packets.room(rows) >= 4]
        if not len(rows):
            return ethertype, vlan
        vlan[rows] = np.where(vlan[rows] < 0, packets.number(rows, 0, 2) & 0xFFF, vlan[rows])
        ethertype[rows] = packets.number(rows, 2, 2)
        packets.at[rows] += 4


def _ipv4(packets: _Packets, rows: npt.NDArray[np.intp], proto: Numbers, first: Mask) -> None:
    """Step over IPv4 headers (RFC 791); see `fyke.packets.ipv4` for what odd lengths mean."""
    header = (packets.number(rows, 0, 1) & 15) * 4
    total = packets.number(rows, 2, 2)
    first[rows] = packets.number(rows, 6, 2) & 0x1FFF == 0
    proto[rows] = packets.number(rows, 9, 1)
    end = packets.end[rows]
    at = np.minimum(packets.at[rows] + np.maximum(header, _IPV4), end)
    packets.at[rows] = at
    packets.end[rows] = np.where(total > 0, np.minimum(at + np.maximum(total - header, 0), end), end)


def _ipv6(packets: _Packets, rows: npt.NDArray[np.intp], proto: Numbers, first: Mask) -> None:
    """Step over IPv6 headers and their extensions (RFC 8200)."""
    length = packets.number(rows, 4, 2)
    proto[rows] = packets.number(rows, 6, 1)
    packets.at[rows] += _IPV6
    end = packets.end[rows]
    # A length of 0 is one that isn't filled in yet, or a jumbogram's.
    packets.end[rows] = np.where(length > 0, np.minimum(packets.at[rows] + length, end), end)
    extensions = np.array(sorted(ipv6.EXTENSIONS))
    while True:
        rows = rows[np.isin(proto[rows], extensions)]
        rows = rows[packets.room(rows) >= 2]
        fragment = proto[rows] == _FRAGMENT
        size = np.where(fragment, 8, 8 + packets.number(rows, 1, 1) * 8)
        whole = packets.room(rows) >= size
        rows, fragment, size = rows[whole], fragment[whole], size[whole]
        if not len(rows):
            return
        proto[rows] = packets.number(rows, 0, 1)
        later = fragment & (packets.number(rows, 2, 2) & 0xFFF8 != 0)
        first[rows] = ~later
        packets.at[rows] += size
        rows = rows[~later]


def _ports(packets: _Packets, proto: Numbers, first: Mask) -> tuple[pa.Array, pa.Array]:
    """Return source and destination ports, null where the transport header isn't whole or has none."""
    room = packets.end - packets.at
    has = np.zeros(len(proto), np.bool_)
    for number, header in HEADERS.items():
        has |= (proto == number) & (room >= header)
    return _fields(packets, np.flatnonzero(has & first), ((0, 2), (2, 2)), pa.uint16())


def _icmp(packets: _Packets, proto: Numbers, first: Mask) -> tuple[pa.Array, pa.Array]:
    """Return type and code of ICMP and ICMPv6."""
    has = np.isin(proto, (IPPROTO_ICMP, IPPROTO_ICMPV6)) & (packets.end - packets.at >= _ICMP) & first
    return _fields(packets, np.flatnonzero(has), ((0, 1), (1, 1)), pa.uint8())


def _fields(
    packets: _Packets,
    rows: npt.NDArray[np.intp],
    places: tuple[tuple[int, int], tuple[int, int]],
    kind: pa.DataType,
) -> tuple[pa.Array, pa.Array]:
    """Return two fields, each by offset and size, of some packets, null for the others."""
    result = []
    for offset, size in places:
        values = np.full(len(packets.at), -1, np.int64)
        values[rows] = packets.number(rows, offset, size)
        result.append(_array(values, kind))
    return result[0], result[1]


def _addresses(
    packets: _Packets, four: npt.NDArray[np.intp], six: npt.NDArray[np.intp], at4: int, at6: int
) -> pa.Array:
    """Return the addresses at these offsets in the IPv4 and IPv6 headers of packets, as text."""
    place = np.full(len(packets.at), -1, np.int64)
    place[four] = np.arange(len(four))
    place[six] = len(four) + np.arange(len(six))
    texts = pa.concat_arrays(
        [_texts(packets, four, at4, 4, inet_ntoa), _texts(packets, six, at6, 16, _ipv6_text)]
    )
    return texts.take(_array(place, pa.int64()))


def _texts(
    packets: _Packets, rows: npt.NDArray[np.intp], offset: int, size: int, text: Callable[[bytes], str]
) -> pa.Array:
    raw = packets.flat[(packets.at[rows] + offset)[:, None] + np.arange(size)]
    return distinct(raw.view(f"V{size}")[:, 0], text)


_ipv6_text = lru_cache(1 << 14)(ipv6.address)


def _named(proto: Numbers) -> pa.Array:
    """Return the protocols' names as the event text has them, numbers for those without."""
    names = pa.array([PROTOCOLS.get(number, str(number)) for number in range(256)], pa.string())
    return names.take(_array(proto, pa.int64()))


def _array(values: Numbers, kind: pa.DataType) -> pa.Array:
    """Return values as an array, null where they are negative."""
    return pa.array(values, mask=values < 0).cast(kind, safe=False)
