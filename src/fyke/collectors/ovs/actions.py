"""Actions of the datapath and their arguments, from the bytes of struct ovs_action in ovs.bpf.h."""

from __future__ import annotations

import struct
from collections.abc import Callable
from socket import inet_ntoa
from typing import Any

from fyke.collectors.ovs.attributes import attributes
from fyke.collectors.ovs.keys import key_text
from fyke.events.column import Names
from fyke.events.ovs import ACTIONS, CT_ADDRESSES, CT_DESTINATION, CT_IPV4, CT_IPV6, CT_PORTS, CT_SOURCE
from fyke.packets.ipv6 import address as ipv6_address

_PREFIX = "OVS_ACTION_ATTR_"
_TO_MASKED = "set_to_masked"  # what the kernel makes of `set`; its number differs between kernels
_OUTPUT, _USERSPACE, _SET, _CT = 1, 2, 3, 12
_TUNNEL, _IPV6_TUNNEL = 31, 2  # OVS_KEY_ATTR_TUNNEL_INFO; IP_TUNNEL_INFO_IPV6

# IP_TUNNEL_*_BIT, include/uapi/linux/if_tunnel.h; in the order of ovs-dpctl
_TUNNEL_FLAGS = ((9, "oam"), (8, "df"), (0, "csum"), (2, "key"))
_TUNNEL_KEY = 1 << 2

_HEADER = struct.Struct("=HH")
_CONNTRACK = struct.Struct("=IHHHH16s16sII16s16s16s")  # struct ovs_ct
_TUNNEL_INFO = struct.Struct("!8s32sHHHBBBx")  # struct ovs_tunnel, without its key


def _split(raw: bytes) -> tuple[int, bytes]:
    kind, length = _HEADER.unpack_from(raw)
    return kind, raw[_HEADER.size : _HEADER.size + length]


def _name(kind: int, names: Names) -> str:
    known = names.enum("ovs_action_attr").get(kind, "").removeprefix(_PREFIX).lower()
    if known == _TO_MASKED:
        return known
    return ACTIONS[kind] if kind < len(ACTIONS) else known or str(kind)


def action(raw: bytes, names: Names) -> str | None:
    """Return an action's name, None for none."""
    kind, _ = _split(raw)
    name = _name(kind, names)
    return "set" if name == _TO_MASKED else None if kind == 0 else name


def arguments(raw: bytes, names: Names) -> str | None:
    """Return what else there is to say of an action, in the words of ovs-dpctl; None for nothing."""
    kind, data = _split(raw)
    name = _name(kind, names)
    if name in ("set_masked", _TO_MASKED):
        return ",".join(key_text(k, value, masked=True) for k, value in attributes(data)) or None
    make = _ARGUMENTS.get(name)
    try:
        return (make(data) or None) if make else None
    except struct.error:
        return data.hex() or None


# ---- conntrack


def _conntrack(raw: bytes) -> tuple[Any, ...] | None:
    kind, data = _split(raw)
    return _CONNTRACK.unpack(data) if kind == _CT and len(data) == _CONNTRACK.size else None


def ct_flags(raw: bytes, _names: Names) -> int | None:
    """Return the flags of an action ct, as Retis numbers them."""
    found = _conntrack(raw)
    return None if found is None else int(found[0])


def ct_zone(raw: bytes, _names: Names) -> int | None:
    """Return its zone."""
    found = _conntrack(raw)
    return None if found is None else int(found[1])


def nat_direction(raw: bytes, _names: Names) -> str | None:
    """Return what NAT changes: src, dst; None without, or where the connection says it."""
    flags = ct_flags(raw, _names) or 0
    return "src" if flags & CT_SOURCE else "dst" if flags & CT_DESTINATION else None


def _address(raw: bytes, place: int) -> str | None:
    found = _conntrack(raw)
    if found is None or not found[0] & CT_ADDRESSES:
        return None
    address = (found[5], found[6])[place]
    if found[0] & CT_IPV4:
        return inet_ntoa(address[:4])
    return ipv6_address(address) if found[0] & CT_IPV6 else None


def _port(raw: bytes, place: int) -> int | None:
    found = _conntrack(raw)
    if found is None or not found[0] & CT_PORTS:
        return None
    port = (found[3], found[4])[place]
    return int.from_bytes(struct.pack("=H", port))


def nat_min_address(raw: bytes, _names: Names) -> str | None:
    """Return the first address that NAT may use."""
    return _address(raw, 0)


def nat_max_address(raw: bytes, _names: Names) -> str | None:
    """Return the last address that NAT may use."""
    return _address(raw, 1)


def nat_min_port(raw: bytes, _names: Names) -> int | None:
    """Return the first port that NAT may use."""
    return _port(raw, 0)


def nat_max_port(raw: bytes, _names: Names) -> int | None:
    """Return the last port that NAT may use."""
    return _port(raw, 1)


def _ct(data: bytes) -> str:
    *_, mark, mark_mask, labels, labels_mask, helper = _CONNTRACK.unpack(data)
    parts = []
    if mark_mask:
        parts.append(f"mark={mark:#x}/{mark_mask:#x}")
    if any(labels_mask):
        parts.append(f"label={int.from_bytes(labels):#x}/{int.from_bytes(labels_mask):#x}")
    if name := helper.partition(b"\0")[0]:
        parts.append(f"helper={name.decode(errors='backslashreplace')}")
    return ",".join(parts)


# ---- the others


def _userspace(data: bytes) -> str:
    parts = []
    for kind, value in attributes(data):
        if kind == 1:  # OVS_USERSPACE_ATTR_PID, _USERDATA, _EGRESS_TUN_PORT, _ACTIONS
            parts.append(f"pid={struct.unpack('=I', value)[0]}")
        elif kind == 2:
            parts.append(f"userdata({value.hex()})")
        elif kind == 3:
            parts.append(f"tunnel_out_port={struct.unpack('=I', value)[0]}")
        elif kind == 4:
            parts.append("actions")
    return ",".join(parts)


def _set(data: bytes) -> str:
    parts = []
    for kind, value in attributes(data):
        if kind == _TUNNEL:
            return _tunnel(data[_HEADER.size :])
        parts.append(key_text(kind, value, masked=False))
    return ",".join(parts)


def _tunnel(data: bytes) -> str:
    number, addresses, source, destination, flags, tos, ttl, mode = _TUNNEL_INFO.unpack(data)
    ipv6 = mode & _IPV6_TUNNEL
    size, prefix, address = (16, "ipv6_", ipv6_address) if ipv6 else (4, "", inet_ntoa)
    parts = [f"tun_id={int.from_bytes(number):#x}"] if flags & _TUNNEL_KEY else []
    for name, at in (("src", 0), ("dst", size)):
        if any(own := addresses[at : at + size]):
            parts.append(f"{prefix}{name}={address(own)}")
    parts += [f"tos={tos:#x}", f"ttl={ttl}"] if tos else [f"ttl={ttl}"]
    parts += [f"{name}={port}" for name, port in (("tp_src", source), ("tp_dst", destination)) if port]
    if names := [name for bit, name in _TUNNEL_FLAGS if flags >> bit & 1]:
        parts.append(f"flags({'|'.join(names)})")
    return f"tunnel({','.join(parts)})"


def _vlan(data: bytes) -> str:
    protocol, tci = struct.unpack("!HH", data)
    text = f"vid={tci & 0xFFF},pcp={tci >> 13}"
    return text if protocol == 0x8100 else f"{text},tpid={protocol:#x}"


def _mpls(data: bytes) -> str:
    entry, protocol = struct.unpack_from("!IH", data)
    return (
        f"label={entry >> 12},tc={entry >> 9 & 7},ttl={entry & 0xFF},bos={entry >> 8 & 1},"
        f"eth_type={protocol:#x}"
    )


def _pop_mpls(data: bytes) -> str:
    return f"eth_type={struct.unpack('!H', data[:2])[0]:#x}"


def _number(data: bytes) -> str:
    return str(struct.unpack("=I", data[:4])[0])


def _hash(data: bytes) -> str:
    algorithm, basis = struct.unpack("=II", data)
    return f"{('hash_l4', 'sym_l4')[algorithm] if algorithm < 2 else algorithm}({basis})"


def _ethernet(data: bytes) -> str:
    return f"src={data[:6].hex(':')},dst={data[6:12].hex(':')}"


def _sample(data: bytes) -> str:
    for _, value in attributes(data):  # the first, OVS_SAMPLE_ATTR_ARG: struct sample_arg
        _, probability = struct.unpack("=II", value)
        return f"{100 * probability / 0xFFFF_FFFF:.1f}%"
    return ""


def _check_length(data: bytes) -> str:
    for _, value in attributes(data):  # the first, OVS_CHECK_PKT_LEN_ATTR_ARG: struct check_pkt_len_arg
        return f"size={struct.unpack_from('=H', value)[0]}"
    return ""


def _psample(data: bytes) -> str:
    parts = []
    for kind, value in attributes(data):
        if kind == 1:  # OVS_PSAMPLE_ATTR_GROUP, _COOKIE
            parts.append(f"group={struct.unpack('=I', value)[0]}")
        elif kind == 2:
            parts.append(f"cookie={value.hex()}")
    return ",".join(parts)


def _nsh(data: bytes) -> str:
    for _, key in attributes(data):  # OVS_KEY_ATTR_NSH
        for kind, value in attributes(key):
            if kind == 1:  # OVS_NSH_KEY_ATTR_BASE
                flags, ttl, md_type, protocol, path = struct.unpack("!BBBBI", value)
                return (
                    f"flags={flags},ttl={ttl},mdtype={md_type},np={protocol},"
                    f"spi={path >> 8:#x},si={path & 0xFF}"
                )
    return ""


_ARGUMENTS: dict[str, Callable[[bytes], str]] = {
    "userspace": _userspace,
    "set": _set,
    "push_vlan": _vlan,
    "sample": _sample,
    "hash": _hash,
    "push_mpls": _mpls,
    "pop_mpls": _pop_mpls,
    "ct": _ct,
    "trunc": _number,
    "push_eth": _ethernet,
    "push_nsh": _nsh,
    "meter": _number,
    "check_pkt_len": _check_length,
    "add_mpls": _mpls,
    "psample": _psample,
}
