"""A packet in the datapath of a real Open vSwitch, compared with what its own tools count and show."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

import fyke
from fyke.capture.filters import FilterOptions
from fyke.errors import Unsupported
from fyke.events.schema import arrow_schema
from fyke.journeys.sort import sort
from live import recording
from live.datapath import Flow, check_hits, counters, flows, runs
from live.needs import missing
from live.pages import ROOT, commands, run_as_shown
from live.recording import Recording, Row, packet_id, record
from live.topology import Host, cable, namespaces
from live.traffic import ping, udp_send
from live.vswitchd import Vswitchd, programs
from live.waiting import eventually

PAGE = ROOT / "docs" / "openvswitch.md"
COLLECTORS = ("skb-tracking", "skb", "dev", "ovs")
COUNTERS = re.compile(r"\b(n_packets|n_bytes|packets|bytes|used|duration|idle_age|hard_age)[:=][^, ]*,? ?")


class Switch(NamedTuple):
    """A running switch with two hosts at its bridge br0."""

    ovs: Vswitchd
    a: Host
    b: Host


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    if why := missing("openvswitch"):
        pytest.skip(f"needs openvswitch: {why}")
    recording.kernel.cache_clear()  # the module has come since
    built = programs()
    assert built
    with ExitStack() as stack:
        names = enumerate(stack.enter_context(namespaces("a", "b")), 1)
        hosts = [Host(ns, "eth0", f"02:00:00:00:01:{n:02}", f"192.0.2.{n}", "") for n, ns in names]
        ovs = stack.enter_context(Vswitchd(built, tmp_path_factory.mktemp("ovs")))
        # Flows that nothing hits for ten seconds would be gone, and busy machines are slower than that.
        ovs.vsctl("add-br", "br0", "--", "set", "Open_vSwitch", ".", "other_config:max-idle=600000")
        for dev, host in zip(("to-a", "to-b"), hosts, strict=True):
            host.ns.sysctl({"ipv6.conf.all.disable_ipv6": 1, "ipv6.conf.default.disable_ipv6": 1})
            stack.enter_context(cable(dev, host.ns))
            host.ns.ip(f"link set eth0 address {host.mac}", f"addr add {host.v4}/24 dev eth0")
            ovs.vsctl("add-port", "br0", dev)
        yield Switch(ovs, *hosts)


def of(recorded: Recording, section: str) -> list[Row]:
    return [row for row in recorded.table.to_pylist() if row[section]]


def test_what_the_kernel_lacks_is_said() -> None:
    if missing("openvswitch") != "nothing describes the structures of openvswitch":
        pytest.skip("this kernel lacks nothing, or has no module openvswitch at all")
    recording.kernel.cache_clear()
    with pytest.raises(Unsupported, match=r"no types .BTF. of its module openvswitch"):
        recording.plan(collectors=("ovs",))


@pytest.mark.needs("kprobe")
def test_lookups_upcalls_and_outputs(switch: Switch) -> None:
    ovs, seen = switch.ovs, {}

    def traffic() -> None:
        seen["before"] = counters(ovs)
        # What comes after the first answer hits flows.
        assert [ping(switch.a, switch.b.v4, count=count) for count in (1, 3)] == [1, 3]
        udp_send(switch.a, switch.b.v4, b"x" * 100, port=9)
        seen["after"] = counters(ovs)

    recorded = record(traffic, collectors=COLLECTORS)
    delta = {name: count - seen["before"][name] for name, count in seen["after"].items()}
    lookups = of(recorded, "ovs_lookup")
    assert sum(row["ovs_lookup"]["flow"] is not None for row in lookups) == delta["hit"] >= 2
    assert sum(row["ovs_lookup"]["flow"] is None for row in lookups) == delta["missed"] >= 2
    assert all(row["packet"] and row["dev"] for row in lookups), (
        "the packet is known, though it is no argument"
    )
    upcalls = Counter(
        (row["ovs_upcall"]["event"], row["ovs_upcall"]["cmd"]) for row in of(recorded, "ovs_upcall")
    )
    assert upcalls == {
        ("upcall", 1): delta["missed"],
        ("upcall_enqueue", 1): delta["missed"],
        ("upcall_return", None): delta["missed"],
    }
    check_upcalls(of(recorded, "ovs_upcall"))
    rows = recorded.table.to_pylist()
    check_hits(rows, flows(ovs))
    # What comes back from vswitchd is run without a lookup: it isn't among the runs.
    assert {action["port_name"] for _, actions in runs(rows) for action in actions} >= {"to-a", "to-b"}


def check_upcalls(rows: list[Row]) -> None:
    """Every message and end belongs to an upcall, which is named by its time and CPU."""
    begun = {
        (r["timestamp_ns"], r["cpu"]): packet_id(r) for r in rows if r["ovs_upcall"]["event"] == "upcall"
    }
    for row in rows:
        upcall = row["ovs_upcall"]
        if upcall["event"] != "upcall":
            assert upcall["ret"] == 0
            assert begun[upcall["upcall_timestamp_ns"], upcall["upcall_cpu"]] == packet_id(row)
    numbers = [r["ovs_upcall"]["queue_id"] for r in rows if r["ovs_upcall"]["event"] == "upcall_enqueue"]
    assert len(set(numbers)) == len(numbers)
    assert 0 not in numbers


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_flows_are_told_with_their_rules(switch: Switch) -> None:
    """By the daemon, while packets still hit them; sort puts it beside each look-up that met them."""
    a, b = switch.a, switch.b
    command = f"ip netns exec {a.ns.name} ping -c 6 -i 0.5 {b.v4}"
    collection = fyke.collect(
        collectors=["skb-tracking", "ovs"], filter="icmp", command=command, ovs_enrich_flows=True
    )
    with collection:
        batches = list(collection)
    shown = {
        ufid: (
            switch.ovs.appctl("dpctl/get-flow", f"ufid:{ufid}"),
            switch.ovs.appctl("ofproto/detrace", f"ufid:{ufid}"),
        )
        for ufid in flows(switch.ovs)
    }
    told = {
        row["ovs_detrace"]["ufid"]: row["ovs_detrace"]
        for batch in batches
        for row in batch.to_pylist()
        if row["ovs_detrace"]
    }
    assert len(told) >= 2, "one flow for each direction"
    for ufid, row in told.items():
        flow, rules = shown[ufid]
        assert COUNTERS.sub("", row["dpflow"]) == COUNTERS.sub("", flow.strip())
        assert [COUNTERS.sub("", rule) for rule in row["ofpflows"]] == [
            COUNTERS.sub("", rule) for rule in rules.splitlines() if rule
        ]
    met = [row["ovs_lookup"] for batch in sort(batches, arrow_schema()) for row in batch.to_pylist()]
    hits = [lookup for lookup in met if lookup and lookup["flow"]]
    assert len(hits) >= 10
    assert all(lookup["dpflow"] == told[lookup["ufid"]]["dpflow"] for lookup in hits)


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_the_page_of_openvswitch(switch: Switch, tmp_path: Path) -> None:
    shown = Path("/run/netns/fyke-ovs")  # the namespace's name there
    shown.touch()
    subprocess.run(["mount", "--bind", f"/run/netns/{switch.a.ns.name}", shown], check=True)
    try:
        (block,) = commands([PAGE], "sh openvswitch")
        text = run_as_shown(block, tmp_path)
    finally:
        subprocess.run(["umount", shown], check=True)
        shown.unlink()
    assert "flow hit ufid" in text
    assert re.search(r"exec oport \d+ \(to-b\)", text)


def has_recirculated(ovs: Vswitchd) -> bool:
    """Say whether there is a flow for packets that are looked up again."""
    return re.search(r"recirc_id\(0x[1-9a-f]", ovs.dpctl("dump-flows", "-m")) is not None


def more_flows(ovs: Vswitchd, than: int) -> bool:
    return len(flows(ovs)) > than


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_rules_with_nat_vlan_meter_and_drop(switch: Switch) -> None:
    """Over a second bridge: what it sets, tracks, recirculates and drops."""
    ovs = switch.ovs
    ovs.vsctl("add-br", "br1")
    for bridge, port, peer in (("br0", "p0", "p1"), ("br1", "p1", "p0")):
        options = [f"options:peer={peer}", "type=patch"]
        ovs.vsctl("add-port", bridge, port, "--", "set", "interface", port, *options)
    ovs.vsctl("del-port", "br0", "to-b")
    ovs.vsctl("add-port", "br1", "to-b")
    rules = {
        "br0": [
            "priority=9,arp,actions=normal",
            "priority=8,icmp,in_port=to-a,actions=meter:1,push_vlan:0x8100,set_field:4106->vlan_vid,output:p0",
            "priority=8,udp,in_port=to-a,tp_dst=7,actions=push_vlan:0x8100,set_field:4106->vlan_vid,LOCAL",
            "priority=8,in_port=p0,actions=output:to-a",
            "priority=1,actions=drop",
        ],
        "br1": [
            "priority=9,arp,actions=normal",
            "priority=8,icmp,in_port=p1,vlan_vid=4106,actions=pop_vlan,set_field:02:00:00:00:00:09->eth_src,"
            "dec_ttl,ct(commit,zone=5,nat(src=192.0.2.9),table=1)",
            "priority=8,icmp,in_port=to-b,actions=ct(zone=5,nat,table=2)",
            "table=1,actions=output:to-b",
            "table=2,actions=output:p1",
        ],
    }
    ovs.ofctl("-O", "OpenFlow15", "add-meter", "br0", "meter=1,pktps,band=type=drop,rate=100000")
    for bridge, own in rules.items():
        ovs.ofctl("-O", "OpenFlow15", "del-flows", bridge)
        for rule in own:
            ovs.ofctl("-O", "OpenFlow15", "add-flow", bridge, rule)
    switch.b.ns.ip("neigh replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0")
    shown: dict[str, Flow] = {}

    def traffic() -> None:
        ping(switch.a, switch.b.v4, count=1)
        # Until the daemon has answered, every one is sent up, and comes back without the number.
        eventually(partial(has_recirculated, ovs))
        ping(switch.a, switch.b.v4, count=2)
        for port in (7, 9):
            there = len(flows(ovs))
            udp_send(switch.a, switch.b.v4, *[b"x" * 100] * 3, port=port)
            eventually(partial(more_flows, ovs, there))
            udp_send(switch.a, switch.b.v4, b"x" * 100, port=port)
        shown.update(flows(ovs))

    ovs.appctl("revalidator/purge")
    recorded = record(traffic, collectors=COLLECTORS, filters=FilterOptions(packet="icmp or udp or vlan"))
    rows = recorded.table.to_pylist()
    met = {lookup["ufid"] for lookup, _ in runs(rows)}
    check_hits(rows, {ufid: flow for ufid, flow in shown.items() if ufid in met})
    ran = Counter(action["action"] for row in of(recorded, "ovs_action") for action in [row["ovs_action"]])
    assert ran.keys() >= {"output", "meter", "ct", "recirc", "set_masked", "push_vlan"}, ran
    assert any(row["ovs_action"]["recirc_id"] for row in of(recorded, "ovs_action")), "looked up again"
    commits = [a for a in (r["ovs_action"] for r in of(recorded, "ovs_action")) if a["nat_dir"] == "src"]
    assert {(a["nat_min_addr"], a["nat_max_addr"], a["ct_zone"]) for a in commits} == {
        ("192.0.2.9", "192.0.2.9", 5)
    }
