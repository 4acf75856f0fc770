"""Where ovs-vswitchd is looked at: its USDT probes, and where its messages are received."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.collectors.ovs.sections import OVS_OPERATION, OVS_RECV

PROGRAM = "ovs-vswitchd"
LIBRARY = "libopenvswitch"  # how the names of its libraries begin, where it has any
MOST_PLACES = 64  # of probes in programs that come later: builds differ, and a probe may be inlined


@dataclass(frozen=True, slots=True)
class UserProbe:
    """A USDT probe. flag: of `enum probe_flags`. needs: arguments without which it is of no use."""

    symbol: str
    flag: str
    section: str
    needs: tuple[int, ...]


PROBES = (
    UserProbe("dpif_recv:recv_upcall", "OVS_RECV", OVS_RECV.name, (2, 3, 4, 5)),
    UserProbe("dpif_netlink_operate__:op_flow_put", "OVS_PUT", OVS_OPERATION.name, (1,)),
    UserProbe("dpif_netlink_operate__:op_flow_execute", "OVS_EXEC", OVS_OPERATION.name, (2, 3)),
)
# Where any socket's message is copied to its reader; its flag, and the argument with the message.
RECEIVED, RECEIVED_FLAG, RECEIVED_SKB = "skb:skb_copy_datagram_iovec", "OVS_RECEIVED", 0
