"""Where ovs-vswitchd is looked at: USDT probes, or functions in place of them, and where it receives."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.collectors.ovs.sections import OVS_OPERATION, OVS_RECV

PROGRAM = "ovs-vswitchd"
LIBRARY = "libopenvswitch"  # how the names of its libraries begin, where it has any
MOST_PLACES = 64  # of probes in programs that come later: builds differ, and a probe may be inlined


@dataclass(frozen=True, slots=True)
class UserProbe:
    """A USDT probe, or a function. flags: of `enum probe_flags`. needs: arguments that it must have."""

    symbol: str
    flags: tuple[str, ...]
    section: str
    needs: tuple[int, ...] = ()
    mechanism: str = "usdt"


PROBES = (
    UserProbe("dpif_recv:recv_upcall", ("OVS_RECV",), OVS_RECV.name, (2, 3, 4, 5)),
    UserProbe("dpif_netlink_operate__:op_flow_put", ("OVS_PUT",), OVS_OPERATION.name, (1,)),
    UserProbe("dpif_netlink_operate__:op_flow_execute", ("OVS_EXEC",), OVS_OPERATION.name, (2, 3)),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A value that a function's parameter leads to: a member of the struct that it points to."""

    struct: str
    path: str
    sizes: tuple[int, ...]  # that it may have, in bytes


@dataclass(frozen=True, slots=True)
class UserFunction:
    """A function that is probed where there are no USDT probes, and what must be known of its source.

    caller: it must not be inlined into that. The arguments of the probe are members of what the first
    parameter points to; where there are none, parameters, then enumerators and places of members, which are
    numbers (collectors/ovs/user.bpf.h has their order).
    """

    probe: UserProbe
    source: str
    parameters: tuple[str, ...]
    caller: str = ""
    members: tuple[Member | None, ...] = ()
    enumerators: tuple[str, ...] = ()
    places: tuple[Member, ...] = ()


_POINTER = (8,)
# The upcall that was received, in the arguments of recv_upcall; what of the packet it begins at is the last.
PRINT_PACKET = UserFunction(
    UserProbe("dpif_print_packet", ("OVS_RECV",), OVS_RECV.name, mechanism="uprobe"),
    "lib/dpif.c",
    ("upcall",),
    "dpif_recv",
    members=(
        None,
        Member("dpif_upcall", "type", (4,)),
        Member("dpif_upcall", "packet.base_", _POINTER),
        Member("dpif_upcall", "packet.size_", (4,)),
        Member("dpif_upcall", "key", _POINTER),
        Member("dpif_upcall", "key_len", _POINTER),
        Member("dpif_upcall", "packet.data_ofs", (2,)),
    ),
)
# What is sent to the datapath at once: an array of pointers to struct dpif_op.
OPERATE = UserFunction(
    UserProbe("dpif_netlink_operate", ("OVS_PUT", "OVS_EXEC"), OVS_OPERATION.name, mechanism="uprobe"),
    "lib/dpif-netlink.c",
    ("ops", "n_ops"),
    enumerators=("DPIF_OP_FLOW_PUT", "DPIF_OP_EXECUTE"),
    places=(
        Member("dpif_op", "type", (4,)),
        Member("dpif_op", "flow_put.key", _POINTER),
        Member("dpif_op", "flow_put.key_len", _POINTER),
        Member("dpif_op", "execute.packet", _POINTER),
        Member("dp_packet", "base_", _POINTER),
        Member("dp_packet", "data_ofs", (2,)),
        Member("dp_packet", "size_", (4,)),
    ),
)
FUNCTIONS = (PRINT_PACKET, OPERATE)
# Where any socket's message is copied to its reader; its flag, and the argument with the message.
RECEIVED, RECEIVED_FLAG, RECEIVED_SKB = "skb:skb_copy_datagram_iovec", "OVS_RECEIVED", 0
