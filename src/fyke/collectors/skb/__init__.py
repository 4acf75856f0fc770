"""skb: the packet itself.

The packet's first bytes (`--snaplen`) from its link-layer header on, and its VLAN tag when the kernel keeps
it beside the bytes. `--skb-sections meta,dataref,gso` add the skb's own fields.
"""

from fyke.collectors.api import SKB, Collector
from fyke.collectors.skb.sections import DATAREF, GSO, META, PACKET, VLAN_ACCEL

COLLECTOR = Collector(
    "skb",
    (PACKET, VLAN_ACCEL, META, DATAREF, GSO),
    takes=(SKB,),
    optional_sections=(("meta", "skb_meta"), ("dataref", "skb_dataref"), ("gso", "skb_gso")),
)
