"""ns: the network namespace a packet is in.

Taken from the packet's device, else from its socket, else from the probed function's arguments.
"""

from fyke.collectors.api import NET, NET_DEVICE, SKB, Collector
from fyke.events.column import Column, Section

SECTION = Section(
    "netns",
    "The network namespace the packet is in.",
    (
        Column(
            "cookie",
            "uint64",
            "The namespace's cookie, unique since boot (net->net_cookie); null where the kernel has none or "
            "none was given out yet",
            source="cookie",
            null_if=0,
        ),
        Column("inum", "uint32", "Inode of the namespace, as in /proc/PID/ns/net", source="inum"),
    ),
)

COLLECTOR = Collector("ns", (SECTION,), takes=(SKB, NET_DEVICE, NET))
