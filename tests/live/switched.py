"""A switch of two bridges joined by a patch port, and three hosts.

    a ---- br0 ==== br1 ---- b   in VLAN 10
                     |
                     +------ c   behind a VXLAN tunnel

All are in 192.0.2.0/24. What a sends is metered, and its source becomes 192.0.2.9 (conntrack zone 5). Each
rule has a cookie of its own, by which it is known wherever it is told.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from live.netns import ip
from live.topology import Host, cable, namespaces
from live.vswitchd import Vswitchd, programs

__all__ = ["DROPPED_PORT", "NAT", "PORTS", "VID", "VNI", "ZONE", "Switched", "switched"]

NAT, ZONE, VID, VNI, DROPPED_PORT = "192.0.2.9", 5, 10, 7, 7
PORTS = {"a": "to-a", "b": "to-b", "c": "vx0"}
"""The switch's ports towards the hosts."""
_UNDERLAY = "198.51.100"
_TAG = f"push_vlan:0x8100,set_field:{0x1000 | VID}->vlan_vid"
_PROTOCOLS = ("icmp", "tcp", "udp")
RULES = {
    "br0": (
        f"priority=9,udp,in_port={PORTS['a']},tp_dst={DROPPED_PORT},actions=drop",
        *(f"priority=8,{p},in_port={PORTS['a']},actions=meter:1,output:p0" for p in _PROTOCOLS),
        *(f"priority=8,{p},in_port=p0,actions=output:{PORTS['a']}" for p in _PROTOCOLS),
        "priority=1,actions=drop",
    ),
    "br1": (
        *(
            f"priority=8,{p},in_port=p1,actions=dec_ttl,ct(commit,zone={ZONE},nat(src={NAT}),table=1)"
            for p in _PROTOCOLS
        ),
        *(f"priority=8,{p},in_port={PORTS['c']},actions=ct(zone={ZONE},nat,table=2)" for p in _PROTOCOLS),
        *(
            f"priority=8,{p},in_port={PORTS['b']},dl_vlan={VID},actions=pop_vlan,ct(zone={ZONE},nat,table=2)"
            for p in _PROTOCOLS
        ),
        f"table=1,ip,nw_dst=192.0.2.2,actions={_TAG},output:{PORTS['b']}",
        f"table=1,ip,nw_dst=192.0.2.3,actions=output:{PORTS['c']}",
        "table=2,ip,actions=output:p1",
        "priority=1,actions=drop",
    ),
}


class Switched(NamedTuple):
    """A running switch with its hosts."""

    ovs: Vswitchd
    a: Host
    b: Host
    c: Host


@contextmanager
def switched(folder: Path) -> Iterator[Switched]:
    """Needs openvswitch, vxlan and vlan. folder: for the daemons' files; it must be short."""
    built = programs()
    assert built
    with ExitStack() as stack:
        spaces = stack.enter_context(namespaces("a", "b", "c"))
        for ns in spaces:
            ns.sysctl({"ipv6.conf.all.disable_ipv6": 1, "ipv6.conf.default.disable_ipv6": 1})
        a, b, c = (
            Host(ns, dev, f"02:00:00:00:02:{n:02}", f"192.0.2.{n}", "")
            for n, (ns, dev) in enumerate(zip(spaces, ("eth0", "vlan", "vxlan"), strict=True), 1)
        )
        for host, port in zip((a, b, c), ("to-a", "to-b", "to-c"), strict=True):
            stack.enter_context(cable(port, host.ns))
        a.ns.ip(f"link set eth0 address {a.mac} mtu 1400")  # so that it fits into the tunnel
        b.ns.ip(f"link add link eth0 name vlan address {b.mac} type vlan id {VID}")
        c.ns.ip(
            f"addr add {_UNDERLAY}.2/24 dev eth0",
            f"link add vxlan address {c.mac} type vxlan id {VNI} remote {_UNDERLAY}.1 dstport 4789",
        )
        ip([f"addr add {_UNDERLAY}.1/24 dev to-c"])
        for host in (a, b, c):
            host.ns.ip(f"link set {host.dev} up", f"addr add {host.v4}/24 dev {host.dev}")
        others = {a: (b, c), b: (a,), c: (a,)}
        for host, known in others.items():
            for other in known:
                # b and c know a by the address it gets.
                address = NAT if other is a else other.v4
                host.ns.ip(f"neigh replace {address} lladdr {other.mac} dev {host.dev} nud permanent")
        ovs = stack.enter_context(Vswitchd(built, folder))
        _configure(ovs)
        yield Switched(ovs, a, b, c)


def _configure(ovs: Vswitchd) -> None:
    # Flows stay as long as a test may take: their counts are asked for at its end.
    ovs.vsctl("set", "Open_vSwitch", ".", "other_config:max-idle=600000")
    changes: list[str] = []
    for bridge, ports in (("br0", (PORTS["a"], "p0")), ("br1", (PORTS["b"], PORTS["c"], "p1"))):
        changes += ("--", "add-br", bridge)
        for port in ports:
            changes += ("--", "add-port", bridge, port, *_options(port))
    ovs.vsctl(*changes[1:])
    ovs.ofctl("-O", "OpenFlow15", "add-meter", "br0", "meter=1,pktps,band=type=drop,rate=100000")
    cookies = itertools.count(1)
    for bridge, rules in RULES.items():
        file = ovs.folder / bridge
        file.write_text("".join(f"cookie={next(cookies):#x},{rule}\n" for rule in rules))
        ovs.ofctl("-O", "OpenFlow15", "replace-flows", bridge, str(file))


def _options(port: str) -> tuple[str, ...]:
    peer = {"p0": "p1", "p1": "p0"}.get(port)
    tunnel = ("type=vxlan", f"options:remote_ip={_UNDERLAY}.2", f"options:key={VNI}")
    options = ("type=patch", f"options:peer={peer}") if peer else tunnel if port == PORTS["c"] else ()
    return ("--", "set", "interface", port, *options) if options else ()
