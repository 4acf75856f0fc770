"""TCP, UDP and ICMP: of which packets the text can be made by columns, and that text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.packets import tcp, udp
from fyke.packets.assigned import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from fyke.packets.columns.payload import Mask, Numbers, Payload
from fyke.packets.columns.strings import as_text, decimal, named, placed

_TCP = np.dtype(
    [
        *(("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("bits", ">u2")),
        *(("window", ">u2"), ("check", ">u2"), ("urgent", ">u2")),
    ]
)
UDP = np.dtype([("sport", ">u2"), ("dport", ">u2"), ("length", ">u2"), ("check", ">u2")])
_ICMP = np.dtype([("type", "u1"), ("code", "u1"), ("check", ">u2")])
_NO_TUNNEL: Final = np.ones(1 << 16, np.bool_)  # by port
_NO_TUNNEL[list(udp.TUNNELS)] = False


def _is_tcp(p: Payload) -> Mask:
    enough: Mask = p.there >= np.maximum((p.header(_TCP)["bits"] >> 12) * 4, _TCP.itemsize)
    return enough


def _tcp(p: Payload) -> Sequence[Any]:
    h = p.header(_TCP)
    header = (h["bits"] >> 12).astype(np.int64) * 4
    payload = p.claimed - header
    until = pa.array(h["seq"] + payload & 0xFFFFFFFF, mask=payload <= 0)
    ack = pa.array(h["ack"].astype(np.uint32), mask=h["bits"] & tcp.ACK == 0)
    return (
        *(" flags [", named(tcp.FLAGS, h["bits"] & 0x1FF), "] seq ", decimal(h["seq"])),
        *(
            pc.binary_join_element_wise(before, as_text(n), "")
            for before, n in ((":", until), (" ack ", ack))
        ),
        *(" win ", decimal(h["window"]), _options(p, header)),
    )


@dataclass(frozen=True, eq=False)
class _Shape:
    """Options as Linux orders them. fixed: what is in the others' fields. pieces: of the text, or fields."""

    kind: np.dtype[Any]
    fixed: dict[str, int]
    pieces: tuple[str, ...]

    def text(self, options: Numbers) -> pa.Array:
        """Return the text of each."""
        names = self.kind.names or ()
        pieces = [decimal(options[piece]) if piece in names else piece for piece in self.pieces]
        return pc.binary_join_element_wise(" [", *pieces, "]", "")


_SHAPES: Final = (
    _Shape(
        np.dtype([("nops_ts", ">u4"), ("val", ">u4"), ("ecr", ">u4")]),
        {"nops_ts": 0x0101_080A},
        ("nop,nop,TS val ", "val", " ecr ", "ecr"),
    ),
    _Shape(
        np.dtype(
            [
                *(("mss_size", ">u2"), ("mss", ">u2"), ("sack_ts", ">u4"), ("val", ">u4"), ("ecr", ">u4")),
                *(("nop_scale", ">u2"), ("size", "u1"), ("scale", "u1")),
            ]
        ),
        {"mss_size": 0x0204, "sack_ts": 0x0402_080A, "nop_scale": 0x0103, "size": 3},
        ("mss ", "mss", ",sackOK,TS val ", "val", " ecr ", "ecr", ",nop,wscale ", "scale"),
    ),
)


def _options(p: Payload, header: Numbers) -> pa.Array:
    """Return ` [options]` of each, null where there are none."""
    at = p.at + _TCP.itemsize
    left = header > _TCP.itemsize
    found = []
    for shape in _SHAPES:
        rows = np.flatnonzero(header == _TCP.itemsize + shape.kind.itemsize)
        options = p.bytes_.records(shape.kind, p.rows[rows], at)
        same = np.logical_and.reduce([options[name] == value for name, value in shape.fixed.items()])
        rows = rows[same]
        left[rows] = False
        found.append((rows, shape.text(options[same])))
    rows = np.flatnonzero(left)
    starts, sizes = p.bytes_.starts[p.rows[rows]] + at, header[rows] - _TCP.itemsize
    others = [
        p.bytes_.content[start : start + size].tobytes() for start, size in zip(starts, sizes, strict=True)
    ]
    texts = [f" [{tcp.options(option, 0, len(option))}]" for option in others]
    return placed(len(header), [*found, (rows, pa.array(texts, pa.string()))])


def _is_udp(p: Payload) -> Mask:
    plain: Mask = (p.there >= UDP.itemsize) & _NO_TUNNEL[p.header(UDP)["dport"]]
    return plain


def _udp(p: Payload) -> Sequence[Any]:
    length = p.header(UDP)["length"].astype(np.int64)
    length = np.where((length == 0) & p.unfilled, p.claimed, length)
    return " len ", decimal(np.maximum(length - UDP.itemsize, 0))


def _is_icmp(p: Payload) -> Mask:
    enough: Mask = p.there >= _ICMP.itemsize
    return enough


def _icmp(p: Payload) -> Sequence[Any]:
    h = p.header(_ICMP)
    return " type ", decimal(h["type"]), " code ", decimal(h["code"])


TRANSPORTS: Final[dict[int, tuple[Callable[[Payload], Mask], Callable[[Payload], Sequence[Any]]]]] = {
    IPPROTO_TCP: (_is_tcp, _tcp),
    IPPROTO_UDP: (_is_udp, _udp),
    IPPROTO_ICMP: (_is_icmp, _icmp),
    IPPROTO_ICMPV6: (_is_icmp, _icmp),
}
