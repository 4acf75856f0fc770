"""Texts of many plain packets at once: Ethernet, IP without options, and TCP, UDP or ICMP in it.

Most packets are so, and by columns their text costs an eighth. What is said of a packet is told by the
dissectors alone: tests hold the two together on any bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import inet_ntoa
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.packets import ethernet, ipv4, ipv6
from fyke.packets.assigned import (
    ETH_P_IP,
    ETH_P_IPV6,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    ethertype,
    protocol,
)
from fyke.packets.columns.payload import ETHERNET, Bytes, Numbers, Payload
from fyke.packets.columns.strings import as_text, decimal, distinct, named, placed
from fyke.packets.columns.transports import TRANSPORTS, UDP

_IPV4 = np.dtype(
    [
        *(("first", "u1"), ("tos", "u1"), ("total", ">u2"), ("ident", ">u2"), ("fragment", ">u2")),
        *(("ttl", "u1"), ("protocol", "u1"), ("check", ">u2"), ("source", "V4"), ("destination", "V4")),
    ]
)
_IPV6 = np.dtype(
    [
        *(("first", ">u4"), ("length", ">u2"), ("protocol", "u1"), ("ttl", "u1")),
        *(("source", "V16"), ("destination", "V16")),
    ]
)
_TTL: Final = tuple(f" ttl {n}" for n in range(256))


def texts(data: pa.Array, wire_bytes: pa.Array, *, link_layer: bool) -> pa.Array:
    """Return what `fyke.packets.text` does for each packet, or null where that is to be asked.

    data: binary. wire_bytes: unsigned; 0 or null where only the bytes are known.
    """
    bytes_ = Bytes.of(data)
    wire = np.maximum(_filled(wire_bytes).astype(np.int64), bytes_.lengths)
    found = [*_of_ipv4(bytes_, wire, link_layer=link_layer), *_of_ipv6(bytes_, link_layer=link_layer)]
    return placed(len(data), found)


def _of_ipv4(b: Bytes, wire: Numbers, *, link_layer: bool) -> list[tuple[Numbers, pa.Array]]:
    at = ETHERNET.itemsize
    rows = b.of_ethertype(ETH_P_IP, _IPV4.itemsize)
    header = b.records(_IPV4, rows, at)
    plain = np.flatnonzero((header["first"] == 0x45) & (header["fragment"] & 0x1FFF == 0))
    rows, header = rows[plain], header[plain]
    at += _IPV4.itemsize
    total = header["total"].astype(np.int64)
    captured = b.lengths[rows] - at
    claimed = np.where(total, np.maximum(total - _IPV4.itemsize, 0), wire[rows] - at)
    there = np.minimum(claimed, captured)
    payload = Payload(b, rows, at, claimed, there, total == 0)

    def text(which: Numbers, number: int) -> Sequence[Any]:
        h = header[which]
        length = pa.array(total[which], mask=total[which] == 0)
        return (
            *(named(ipv4.TOS, h["tos"]), named(_TTL, h["ttl"]), " id ", decimal(h["ident"]), " off 0"),
            *(
                named(ipv4.FLAGS, h["fragment"] >> 13),
                pc.binary_join_element_wise(" len ", as_text(length), ""),
            ),
            f" proto {protocol(number)}",
        )

    return _transports(payload, header, text, (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP), link_layer=link_layer)


def _of_ipv6(b: Bytes, *, link_layer: bool) -> list[tuple[Numbers, pa.Array]]:
    at = ETHERNET.itemsize
    rows = b.of_ethertype(ETH_P_IPV6, _IPV6.itemsize)
    header = b.records(_IPV6, rows, at)
    at += _IPV6.itemsize
    claimed = header["length"].astype(np.int64)  # 0 where it isn't filled in: then nothing is there
    there = np.minimum(claimed, b.lengths[rows] - at)
    payload = Payload(b, rows, at, claimed, there, np.zeros(len(rows), np.bool_))

    def text(which: Numbers, number: int) -> Sequence[Any]:
        h = header[which]
        return (
            *(named(ipv6.TRAFFIC_CLASS, h["first"] >> 20 & 0xFF), named(_TTL, h["ttl"]), " label "),
            *(distinct(h["first"] & 0xFFFFF, hex), " len ", decimal(h["length"])),
            f" proto {protocol(number)}",
        )

    return _transports(
        payload, header, text, (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6), link_layer=link_layer
    )


def _transports(
    payload: Payload,
    header: Numbers,
    text: Callable[[Numbers, int], Sequence[Any]],
    numbers: Sequence[int],
    *,
    link_layer: bool,
) -> list[tuple[Numbers, pa.Array]]:
    """Return rows and texts of each protocol. text: of the IP header of some, behind the addresses."""
    found = []
    for number in numbers:
        is_plain, behind = TRANSPORTS[number]
        which = np.flatnonzero(header["protocol"] == number)
        which = which[is_plain(payload.only(which))]
        if not len(which):
            continue
        some, ends = payload.only(which), header[which]
        source, destination = (_address(ends[name]) for name in ("source", "destination"))
        pieces: list[Any] = [*(_link(some, ends) if link_layer else ()), source]
        if number in (IPPROTO_TCP, IPPROTO_UDP):
            ports = some.header(UDP)
            pieces += [".", decimal(ports["sport"]), " > ", destination, ".", decimal(ports["dport"])]
        else:
            pieces += [" > ", destination]
        pieces += [*text(which, number), *behind(some)]
        found.append((some.rows, pc.binary_join_element_wise(*pieces, "", null_handling="skip")))
    return found


def _link(p: Payload, ip: Numbers) -> Sequence[Any]:
    frames = p.bytes_.records(ETHERNET, p.rows, 0)
    number = ETH_P_IP if ip.dtype == _IPV4 else ETH_P_IPV6
    return distinct(frames["addresses"], _addresses), f" ethertype {ethertype(number)} "


def _addresses(raw: bytes) -> str:
    return f"{ethernet.address(raw[6:])} > {ethernet.address(raw[:6])}"


def _address(raw: Numbers) -> pa.Array:
    return distinct(raw, inet_ntoa if raw.dtype.itemsize == 4 else ipv6.address)


def _filled(numbers: pa.Array) -> Numbers:
    filled: Numbers = (pc.fill_null(numbers, 0) if numbers.null_count else numbers).to_numpy()
    return filled
