"""The collectors, in the order in which they run, are stored and are listed: the one list of them."""

from __future__ import annotations

from fyke.collectors.api import Collector
from fyke.collectors.ct import COLLECTOR as CT
from fyke.collectors.dev import COLLECTOR as DEV
from fyke.collectors.nft import COLLECTOR as NFT
from fyke.collectors.ns import COLLECTOR as NS
from fyke.collectors.ovs import COLLECTOR as OVS
from fyke.collectors.skb import COLLECTOR as SKB
from fyke.collectors.skb_drop import COLLECTOR as SKB_DROP
from fyke.collectors.skb_tracking import COLLECTOR as SKB_TRACKING

COLLECTORS: tuple[Collector, ...] = (SKB_TRACKING, SKB_DROP, SKB, NS, DEV, OVS, NFT, CT)

__all__ = ["COLLECTORS", "Collector"]
