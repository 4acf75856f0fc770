"""Plans for made-up kernels, and what is looked at in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_kernel import made_kernel

from fyke.capture.plan import Options, Plan, make_plan
from fyke.capture.planned import PlannedProbe
from fyke.errors import FykeError
from fyke.kernel.view import LiveKernel

RX, TX, DROP, CONSUME = "net:netif_receive_skb", "net:net_dev_start_xmit", "skb:kfree_skb", "skb:consume_skb"
COLLECTORS = ["skb-tracking", "skb-drop", "skb", "ns", "dev", "ct"]
USUAL = {"skb_tracking", "packet", "vlan_accel", "netns", "dev", "ct", "ct_parent"}
NO_NFT = "nft is off: this kernel has no nftables"
NO_OVS = "ovs is off: the module openvswitch is not loaded"
NO_GSO = "skb-tracking: can't see which packet GSO segments were cut from"


def planned(
    kernel: LiveKernel | None = None, cpus: int = 2, online: tuple[int, ...] | None = None, **options: Any
) -> Plan:
    """Plan; that a made-up kernel has no nftables and Open vSwitch, as it is by itself, is left out."""
    plan = make_plan(Options(**options), kernel or made_kernel(), cpus, online)
    return replace(plan, notes=tuple(note for note in plan.notes if not note.startswith((NO_NFT, NO_OVS))))


def probes(plan: Plan) -> dict[str, PlannedProbe]:
    """What is probed where it is reached: at the entry of functions, and tracepoints."""
    return _by_symbol([p for p in plan.probes if p.mechanism != "fexit"])


def exits(plan: Plan) -> dict[str, PlannedProbe]:
    """Functions that are probed at their return."""
    return _by_symbol([p for p in plan.probes if p.mechanism == "fexit"])


def _by_symbol(planned: list[PlannedProbe]) -> dict[str, PlannedProbe]:
    found = {p.symbol: p for p in planned}
    assert len(found) == len(planned)
    return found


def asked(plan: Plan) -> dict[str, PlannedProbe]:
    return {symbol: probe for symbol, probe in probes(plan).items() if not probe.internal}


def refused(kernel: LiveKernel | None = None, **options: Any) -> FykeError:
    with pytest.raises(FykeError) as caught:
        planned(kernel, **options)
    assert caught.value.exit_code == 2
    assert caught.value.message.isprintable()
    return caught.value
