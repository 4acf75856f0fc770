"""Names and addresses of a connection, from the numbers that the kernel has for them."""

from __future__ import annotations

import struct
from socket import inet_ntoa

from fyke.events.column import Names
from fyke.packets.ipv6 import address as ipv6_address

# enum ip_conntrack_info (include/uapi/linux/netfilter/nf_conntrack_common.h); Retis' words.
STATES = {0: "established", 1: "related", 2: "new", 3: "reply", 4: "related_reply", 7: "untracked"}
# struct nf_conntrack_zone, dir: in which direction the zone is that of the packet. Retis' words.
DIRECTIONS = {0: "None", 1: "Original", 2: "Reply", 3: "Default"}
# enum ip_conntrack_status, of the same header.
STATUS = (
    "expected",
    "seen_reply",
    "assured",
    "confirmed",
    "src_nat",
    "dst_nat",
    "seq_adjust",
    "src_nat_done",
    "dst_nat_done",
    "dying",
    "fixed_timeout",
    "template",
    "nat_clash",
    "helper",
    "offload",
    "hw_offload",
)
_NO_ZONE, _NO_PACKET = 255, 255  # in the C struct
TCP, SCTP = 6, 132
_STATES_OF = {TCP: ("tcp_conntrack", "TCP_CONNTRACK_"), SCTP: ("sctp_conntrack", "SCTP_CONNTRACK_")}
# For kernels that don't tell, as modules have no BTF before 5.11: the same enums, of the UAPI
# (include/uapi/linux/netfilter/nf_conntrack_tcp.h, nf_conntrack_sctp.h).
_UAPI = {
    TCP: (
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ),
    SCTP: (
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
    ),
}
_IPV4, _IPV6 = 2, 10  # enum: NFPROTO_IPV4, NFPROTO_IPV6


def state(raw: int, _names: Names) -> str | None:
    """Return what the packet is to its connection; None where there is no packet."""
    return None if raw == _NO_PACKET else STATES.get(raw, str(raw))


def direction(raw: int, _names: Names) -> str | None:
    """Return the direction that the zone is of; None where there is none."""
    return None if raw == _NO_ZONE else DIRECTIONS.get(raw, str(raw))


def protocol_state(raw: int, names: Names) -> str | None:
    """Return the protocol's state as the kernel calls it (`SYN_SENT`). raw: protocol << 8 | state."""
    if not raw:
        return None
    protocol, number = raw >> 8, raw & 0xFF
    enum, prefix = _STATES_OF.get(protocol, ("", ""))
    name = names.enum(enum).get(number) if enum else None
    if name is not None:
        return name.removeprefix(prefix)
    return dict(enumerate(_UAPI.get(protocol, ()))).get(number, str(number))


def address(raw: bytes, _names: Names) -> str | None:
    """Return the text of a `struct ct_address`; None where there is none."""
    (family,) = struct.unpack_from("=I", raw)
    if family == _IPV4:
        return inet_ntoa(raw[4:8])
    return ipv6_address(raw[4:20]) if family == _IPV6 else None


def status_names(status: int) -> str:
    """Return the names of the bits of a status, those without a name as a number."""
    known = [name for bit, name in enumerate(STATUS) if status >> bit & 1]
    rest = status >> len(STATUS) << len(STATUS)
    return ",".join([*known, f"{rest:#x}"] if rest else known)
