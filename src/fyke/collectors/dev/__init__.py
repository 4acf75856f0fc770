"""dev: the network device a packet is on.

Name and index of `skb->dev` (or of the probed function's `net_device` argument when there is no
packet), and the index of the device it was received on.
"""

from fyke.collectors.api import NET_DEVICE, SKB, Collector
from fyke.events.column import Column, Section

SECTION = Section(
    "dev",
    "The network device the packet is on.",
    (
        Column("name", "string", "Interface name; odd bytes escaped as in task.comm", source="name"),
        Column("ifindex", "uint32", "Interface index in its network namespace", source="ifindex"),
        Column(
            "rx_ifindex",
            "uint32",
            "Index of the interface it was received on (skb->skb_iif), null when it wasn't",
            source="rx_ifindex",
            null_if=0,
        ),
    ),
)

COLLECTOR = Collector("dev", (SECTION,), takes=(SKB, NET_DEVICE))
