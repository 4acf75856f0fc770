"""Where Open vSwitch's datapath is looked at. Flags are those of `enum probe_flags`, without prefix."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.collectors.ovs.sections import OVS_ACTION, OVS_LOOKUP, OVS_UPCALL


@dataclass(frozen=True, slots=True)
class OvsProbe:
    """A probe of the collector's.

    spec: in `-p` syntax. section: what of the collector's own is taken there, empty where no events are made.
    flag: what the programs do there. skb, other: index of the arguments that hold the packet (None: it is not
    among them) and what the flag needs besides. lost: what isn't seen without it, for the user.
    track: only where packets are followed through user space.
    """

    spec: str
    section: str
    flag: str
    skb: int | None = None
    other: int | None = None
    lost: str = ""
    track: bool = False

    @property
    def symbol(self) -> str:
        """The function, or tracepoint as subsystem:name."""
        return self.spec.partition(":")[2]

    @property
    def is_return(self) -> bool:
        """Whether it is at the function's return."""
        return self.spec.startswith("kr:")


EVENTS = (
    OvsProbe("tp:openvswitch:ovs_dp_upcall", OVS_UPCALL.name, "OVS_UPCALL"),
    OvsProbe("tp:openvswitch:ovs_do_execute_action", OVS_ACTION.name, "OVS_ACTION"),
    OvsProbe("kr:ovs_dp_upcall", OVS_UPCALL.name, "OVS_RETURN", 1, lost="the ends of upcalls"),
    OvsProbe("kr:queue_userspace_packet", OVS_UPCALL.name, "OVS_ENQUEUE", 1, lost="the messages of upcalls"),
    OvsProbe(
        "kr:ovs_flow_tbl_lookup_stats",
        OVS_LOOKUP.name,
        "OVS_LOOKUP",
        None,
        3,
        lost="which flows packets match",
    ),
)
NOTES = (
    OvsProbe("k:ovs_dp_process_packet", "", "OVS_PROCESS", 0, lost="of which packets flows are looked up"),
    OvsProbe("k:netlink_unicast", "", "OVS_MESSAGE", 1, lost="the numbers of upcalls' messages"),
    OvsProbe(
        "k:ovs_flow_key_extract_userspace", "", "OVS_EXECUTE", 2, lost="packets that come back", track=True
    ),
)
