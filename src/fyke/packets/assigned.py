"""Assigned numbers: the names that Retis gives to ethertypes and IP protocols (include/uapi/linux/if_ether.h,
include/uapi/linux/in.h), and MPLS. A number without a name here prints as a number only.
"""

from __future__ import annotations

from typing import Final

ETH_P_TEB: Final = 0x6558
ETH_P_IP: Final = 0x0800
ETH_P_ARP: Final = 0x0806
ETH_P_RARP: Final = 0x8035
ETH_P_IPV6: Final = 0x86DD
ETH_P_8021Q: Final = 0x8100
ETH_P_8021AD: Final = 0x88A8
ETH_P_MPLS_UC: Final = 0x8847
ETH_P_MPLS_MC: Final = 0x8848
ETH_P_QINQ1: Final = 0x9100
ETH_P_MACSEC: Final = 0x88E5

ETHERTYPES: Final[dict[int, str]] = {
    ETH_P_IP: "IPv4",
    ETH_P_ARP: "ARP",
    ETH_P_TEB: "TEB",
    ETH_P_RARP: "Reverse ARP",
    0x809B: "Appletalk",
    0x80F3: "Appletalk ARP",
    ETH_P_8021Q: "802.1Q",
    ETH_P_IPV6: "IPv6",
    0x880B: "PPP",
    ETH_P_MPLS_UC: "MPLS unicast",
    ETH_P_MPLS_MC: "MPLS multicast",
    0x8863: "PPPoE D",
    0x8864: "PPPoE S",
    0x888E: "EAPOL",
    ETH_P_8021AD: "802.1Q-QinQ",
    ETH_P_MACSEC: "802.1AE MACsec",
    0x88F7: "PTP",
    ETH_P_QINQ1: "802.1Q-9100",
}

IPPROTO_ICMP: Final = 1
IPPROTO_IGMP: Final = 2
IPPROTO_IPIP: Final = 4
IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17
IPPROTO_IPV6: Final = 41
IPPROTO_GRE: Final = 47
IPPROTO_ESP: Final = 50
IPPROTO_AH: Final = 51
IPPROTO_ICMPV6: Final = 58
IPPROTO_NONE: Final = 59
IPPROTO_SCTP: Final = 132
IPPROTO_MPLS: Final = 137
IPPROTO_ETHERNET: Final = 143

PROTOCOLS: Final[dict[int, str]] = {
    IPPROTO_ICMP: "ICMP",
    IPPROTO_IGMP: "IGMP",
    IPPROTO_IPIP: "IPIP",
    IPPROTO_TCP: "TCP",
    IPPROTO_UDP: "UDP",
    27: "RDP",
    33: "DCCP",
    IPPROTO_IPV6: "IPv6",
    IPPROTO_GRE: "GRE",
    IPPROTO_ESP: "ESP",
    IPPROTO_AH: "AH",
    IPPROTO_ICMPV6: "ICMPv6",
    89: "OSPF",
    112: "VRRP",
    115: "L2TP",
    IPPROTO_SCTP: "SCTP",
    IPPROTO_MPLS: "MPLS",
    IPPROTO_ETHERNET: "Ethernet",
}


def ethertype(number: int) -> str:
    """`NAME (0x0800)`, or the number alone."""
    name = ETHERTYPES.get(number)
    return f"{name} (0x{number:04x})" if name else f"(0x{number:04x})"


def protocol(number: int) -> str:
    """`NAME (6)`, or the number alone."""
    name = PROTOCOLS.get(number)
    return f"{name} ({number})" if name else f"({number})"
