"""Names of constants that are macros in C, so that BTF doesn't have them, by the member that holds them."""

from __future__ import annotations

from fyke.kernel.verdicts import TC_VERDICTS, XDP_VERDICTS

# include/uapi/linux/if_packet.h
_PACKET = {
    "PACKET_HOST": 0,
    "PACKET_BROADCAST": 1,
    "PACKET_MULTICAST": 2,
    "PACKET_OTHERHOST": 3,
    "PACKET_OUTGOING": 4,
    "PACKET_LOOPBACK": 5,
    "PACKET_USER": 6,
    "PACKET_KERNEL": 7,
}
# include/linux/skbuff.h
_CHECKSUM = {
    "CHECKSUM_NONE": 0,
    "CHECKSUM_UNNECESSARY": 1,
    "CHECKSUM_COMPLETE": 2,
    "CHECKSUM_PARTIAL": 3,
}
# include/uapi/linux/if_ether.h
_ETH_P = {
    "ETH_P_LOOP": 0x0060,
    "ETH_P_ALL": 0x0003,
    "ETH_P_802_2": 0x0004,
    "ETH_P_IP": 0x0800,
    "ETH_P_ARP": 0x0806,
    "ETH_P_TEB": 0x6558,
    "ETH_P_8021Q": 0x8100,
    "ETH_P_IPV6": 0x86DD,
    "ETH_P_SLOW": 0x8809,
    "ETH_P_MPLS_UC": 0x8847,
    "ETH_P_MPLS_MC": 0x8848,
    "ETH_P_PPP_DISC": 0x8863,
    "ETH_P_PPP_SES": 0x8864,
    "ETH_P_PAE": 0x888E,
    "ETH_P_8021AD": 0x88A8,
    "ETH_P_LLDP": 0x88CC,
    "ETH_P_MACSEC": 0x88E5,
    "ETH_P_1588": 0x88F7,
}
# include/uapi/linux/bpf.h, include/uapi/linux/pkt_cls.h
_VERDICTS = {name: value for names in (XDP_VERDICTS, TC_VERDICTS) for value, name in names.items()}

CONSTANTS: dict[str, dict[str, int]] = {
    "pkt_type": _PACKET,
    "ip_summed": _CHECKSUM,
    "protocol": _ETH_P,
    "inner_protocol": _ETH_P,
    "vlan_proto": _ETH_P,
    "retval": _VERDICTS,
}
"""Name of a member -> name of a constant -> its value. Those of `protocol` are in the machine's order."""
