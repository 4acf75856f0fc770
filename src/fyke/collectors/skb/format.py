"""Text of the skb collector's sections: the packet, then a line of the skb's own fields.

`skb [csum none len 84 priority 0 users 1 dataref 1] gso [type 0x1 segs 2 size 1448]`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fyke import packets
from fyke.collectors.formatting import Part, Place, Style
from fyke.packets.assigned import ethertype

if TYPE_CHECKING:
    import pyarrow as pa


def packet_text(style: Style, data: bytes | None, length: int | None) -> str | None:
    """Return what the packet's bytes say; nothing when none were kept."""
    if not data:
        return None
    return packets.text(data, length or len(data), link_layer=style.link_layer)


def packet_texts(style: Style, data: pa.Array, length: pa.Array) -> pa.Array:
    """Return the same of many packets, null for those that are not plain."""
    from fyke.packets.columns import texts

    return texts(data, length, link_layer=style.link_layer)


def _vlan(style: Style, proto: int | None, pcp: int | None, dei: int | None, vid: int | None) -> str | None:
    # The tag kept beside the packet's bytes is link-layer data: only with `-e`.
    if proto is None or not style.link_layer:
        return None
    return f"vlan_accel (ethertype {ethertype(proto)} vlan {vid} p {pcp}{' DEI' if dei else ''})"


def skb_text(style: Style, *values: int | None) -> str | None:
    """Return the line of the skb's fields: those of `vlan_accel (..)`, `skb [..]`, `gso [..]` it has."""
    vlan, meta, dataref, gso = values[:4], values[4:11], values[11:16], values[16:]
    pieces = [_vlan(style, *vlan)]
    inner = [text for text in (_meta(*meta), _dataref(*dataref)) if text]
    if inner:
        pieces.append(f"skb [{' '.join(inner)}]")
    pieces.append(_gso(*gso))
    return " ".join(piece for piece in pieces if piece) or None


def _meta(
    length: int | None,
    data_len: int | None,
    hash_: int | None,
    ip_summed: int | None,
    csum: int | None,
    csum_level: int | None,
    priority: int | None,
) -> str | None:
    if length is None:
        return None
    text = f"csum {_checksum(ip_summed or 0, csum or 0, csum_level or 0)}"
    if hash_:
        text += f" hash {hash_:#x}"
    text += f" len {length}"
    if data_len:
        text += f" data_len {data_len}"
    return f"{text} priority {priority}"


def _checksum(ip_summed: int, csum: int, level: int) -> str:
    # CHECKSUM_* in include/linux/skbuff.h; csum_start and csum_offset share a word with csum.
    match ip_summed:
        case 0:
            return "none"
        case 1:
            return f"unnecessary (level {level})"
        case 2:
            return f"complete ({csum:#x})"
        case 3:
            return f"partial (start {csum & 0xFFFF} off {csum >> 16})"
    return f"unknown ({ip_summed})"


def _dataref(
    nohdr: int | None, cloned: int | None, fclone: int | None, users: int | None, dataref: int | None
) -> str | None:
    if users is None:
        return None
    text = "nohdr " if nohdr else ""
    if cloned:
        text += "cloned "
    if fclone:
        text += f"fclone {fclone} "
    return f"{text}users {users} dataref {dataref}"


def _gso(
    flags: int | None, frags: int | None, size: int | None, segs: int | None, type_: int | None
) -> str | None:
    if type_ is None:
        return None
    text = f"type {type_:#x}"
    if flags:
        text += f" flags {flags:#x}"
    if frags:
        text += f" frags {frags}"
    if segs:
        text += f" segs {segs}"
    return f"gso [{text} size {size}]"


def _columns(section: str, names: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for name in names.split())


PARTS = (
    Part(Place.PACKET, ("packet.data", "packet.len"), packet_text, packet_texts),
    Part(
        Place.SKB,
        (
            *_columns("vlan_accel", "proto pcp dei vid"),
            *_columns("skb_meta", "len data_len hash ip_summed csum csum_level priority"),
            *_columns("skb_dataref", "nohdr cloned fclone users dataref"),
            *_columns("skb_gso", "flags frags size segs type"),
        ),
        skb_text,
    ),
)
