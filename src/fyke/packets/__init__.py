"""Packet bytes to text, as Retis prints packets: pure functions, one module per protocol.

`text` is the way in. The tables below say which module dissects what; a new protocol is one module and one
line here (or in `udp.TUNNELS`, for a tunnel over UDP).
"""

from __future__ import annotations

from typing import Final

from fyke.packets import (
    arp,
    encapsulated,
    ethernet,
    gre,
    icmp,
    igmp,
    ipsec,
    ipv4,
    ipv6,
    macsec,
    mpls,
    sctp,
    tcp,
    udp,
)
from fyke.packets.assigned import (
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_MACSEC,
    ETH_P_MPLS_MC,
    ETH_P_MPLS_UC,
    ETH_P_RARP,
    IPPROTO_AH,
    IPPROTO_ESP,
    IPPROTO_ETHERNET,
    IPPROTO_GRE,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IGMP,
    IPPROTO_IPIP,
    IPPROTO_IPV6,
    IPPROTO_MPLS,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from fyke.packets.layer import ARP_OPERATION, END, ETHERNET, PROTOCOL, TRUNCATED, Cursor, Dissector

__all__ = ["text"]

ETHERTYPES: Final[dict[int, Dissector]] = {
    ETH_P_IP: ipv4.dissect,
    ETH_P_ARP: arp.dissect,
    ETH_P_RARP: arp.dissect,
    ETH_P_IPV6: ipv6.dissect,
    ETH_P_MPLS_UC: mpls.dissect,
    ETH_P_MPLS_MC: mpls.dissect,
    ETH_P_MACSEC: macsec.dissect,
}

PROTOCOLS: Final[dict[int, Dissector]] = {
    IPPROTO_ICMP: icmp.dissect,
    IPPROTO_IGMP: igmp.dissect,
    IPPROTO_IPIP: encapsulated.ipv4,
    IPPROTO_TCP: tcp.dissect,
    IPPROTO_UDP: udp.dissect,
    IPPROTO_IPV6: encapsulated.ipv6,
    IPPROTO_GRE: gre.dissect,
    IPPROTO_ESP: ipsec.encrypted,
    IPPROTO_AH: ipsec.authenticated,
    IPPROTO_ICMPV6: icmp.dissect,
    IPPROTO_SCTP: sctp.dissect,
    IPPROTO_MPLS: encapsulated.mpls,
    IPPROTO_ETHERNET: encapsulated.frame,
}

_DISSECTORS: Final[dict[int, Dissector]] = {
    ETHERNET: ethernet.dissect,
    **ETHERTYPES,
    **{PROTOCOL | number: dissector for number, dissector in PROTOCOLS.items()},
}


def text(data: bytes, wire_bytes: int, *, link_layer: bool = False) -> str:
    """What the event text says of a packet; one line, without control characters, whatever the bytes are.

    `data` are the captured bytes from an Ethernet header on; `wire_bytes` is the length of the whole packet
    from there, which counts where an IP header's length is 0: not filled in yet, or too large for its field.
    `link_layer` adds the Ethernet header and what else belongs to it (`-e`). Raises nothing.
    """
    c = Cursor(data, wire_bytes, link_layer)
    follows = ETHERNET
    while (dissector := _DISSECTORS.get(follows)) is not None:
        follows = dissector(c)
    if follows != END:
        c.out.append(_shortfall(follows))
    return "".join(c.out)


def _shortfall(follows: int) -> str:
    """Why the text ends before the packet does."""
    if follows == TRUNCATED:
        return "... (truncated or incomplete packet)"
    if follows & ARP_OPERATION:
        what = f"ARP operation {follows & 0xFFFF}"
    elif follows & PROTOCOL:
        what = f"protocol 0x{follows & 0xFF:x}"
    else:
        what = f"ethertype 0x{follows:04x}"
    return f"... ({what} not supported)"
