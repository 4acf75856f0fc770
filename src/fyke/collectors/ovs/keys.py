"""Fields of a flow's key that actions set, in the words of ovs-dpctl: `ipv4(dst=10.0.0.2,ttl=63)`.

With a mask only those that it covers, `value/mask` where it covers them in part.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from socket import inet_ntoa
from typing import NamedTuple

from fyke.packets.ipv6 import address as ipv6_address


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _number(raw: bytes) -> str:
    return str(int.from_bytes(raw))


def _hex(raw: bytes) -> str:
    return f"{int.from_bytes(raw):#x}"


def _own(raw: bytes) -> str:
    """Return a number in the machine's own order."""
    (value,) = struct.unpack("=I", raw)
    return f"{value:#x}"


class _Field(NamedTuple):
    name: str
    size: int
    text: Callable[[bytes], str]


class _Key(NamedTuple):
    name: str
    fields: tuple[_Field, ...]  # as they lie, their names empty where it is padding


def _ports(name: str) -> _Key:
    return _Key(name, (_Field("src", 2, _number), _Field("dst", 2, _number)))


def _single(name: str, size: int, text: Callable[[bytes], str]) -> _Key:
    return _Key(name, (_Field("", size, text),))


# enum ovs_key_attr and the structures of each, include/uapi/linux/openvswitch.h
_KEYS = {
    2: _single("skb_priority", 4, _own),
    4: _Key("eth", (_Field("src", 6, _mac), _Field("dst", 6, _mac))),
    5: _single("vlan", 2, _hex),
    6: _single("eth_type", 2, _hex),
    7: _Key(
        "ipv4",
        (
            *(_Field("src", 4, inet_ntoa), _Field("dst", 4, inet_ntoa), _Field("proto", 1, _number)),
            *(_Field("tos", 1, _hex), _Field("ttl", 1, _number), _Field("frag", 1, _number)),
        ),
    ),
    8: _Key(
        "ipv6",
        (
            *(_Field("src", 16, ipv6_address), _Field("dst", 16, ipv6_address), _Field("label", 4, _hex)),
            *(_Field("proto", 1, _number), _Field("tclass", 1, _hex), _Field("hlimit", 1, _number)),
            _Field("frag", 1, _number),
        ),
    ),
    9: _ports("tcp"),
    10: _ports("udp"),
    11: _Key("icmp", (_Field("type", 1, _number), _Field("code", 1, _number))),
    12: _Key("icmpv6", (_Field("type", 1, _number), _Field("code", 1, _number))),
    13: _Key(
        "arp",
        (
            *(_Field("sip", 4, inet_ntoa), _Field("tip", 4, inet_ntoa), _Field("op", 2, _number)),
            *(_Field("sha", 6, _mac), _Field("tha", 6, _mac)),
        ),
    ),
    14: _Key("nd", (_Field("target", 16, ipv6_address), _Field("sll", 6, _mac), _Field("tll", 6, _mac))),
    15: _single("skb_mark", 4, _own),
    17: _ports("sctp"),
    18: _single("tcp_flags", 2, _hex),
    19: _single("dp_hash", 4, _own),
    20: _single("recirc_id", 4, _own),
    21: _single("mpls", 4, _hex),
    24: _single("ct_mark", 4, _own),
    25: _single("ct_label", 16, _hex),
}


def key_text(kind: int, data: bytes, *, masked: bool) -> str:
    """Return the text of one attribute of a key. masked: its mask is behind it."""
    key = _KEYS.get(kind)
    if key is None:
        return f"key{kind}({data.hex()})"
    half = len(data) // 2 if masked else len(data)
    value, mask = data[:half], data[half:]
    parts, at = [], 0
    for field in key.fields:
        own, cover = value[at : at + field.size], mask[at : at + field.size]
        at += field.size
        if len(own) < field.size or (masked and not any(cover)):
            continue
        text = field.text(own)
        if masked and set(cover) != {0xFF}:
            text += f"/{field.text(cover)}"
        parts.append(f"{field.name}={text}" if field.name else text)
    return f"{key.name}({','.join(parts)})"
