"""Two bridges with NAT, a VLAN, a meter, a drop rule and a tunnel: packets from socket to socket.

Held against what was sent, and what Open vSwitch's own tools count, show and trace.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from fyke.events.schema import arrow_schema
from fyke.journeys.sort import sort
from fyke.kernel.machine import online_cpus
from live import recording
from live.collected import collected
from live.datapath import Flow, check_hits, counters, coverage, flows, runs
from live.inner_packet import inner_packet
from live.recording import Row, packet_id
from live.switched import DROPPED_PORT, Switched, switched
from live.traffic import ping, tcp_transfer, udp_echo, udp_send
from live.waiting import eventually

pytestmark = [pytest.mark.ends_only, pytest.mark.needs("openvswitch", "vlan", "vxlan", "kprobe")]
SOCKET, RECEIVED = "ip_output", "ip_local_deliver"
COLLECTORS = ("skb-tracking", "skb", "skb-drop", "dev", "ns", "ovs")
TRACED = {
    ("udp", "a", "c"): ("br0", "udp,in_port=to-a,nw_src=192.0.2.1,nw_dst=192.0.2.3,nw_ttl=64,udp_dst=4242"),
    ("tcp", "a", "b"): ("br0", "tcp,in_port=to-a,nw_src=192.0.2.1,nw_dst=192.0.2.2,nw_ttl=64,tcp_dst=4242"),
    ("icmp", "b", "a"): ("br1", "icmp,in_port=to-b,dl_vlan=10,nw_src=192.0.2.2,nw_dst=192.0.2.9"),
}
TRIES = 4
COUNTED = ("dpif_flow_put", "dpif_execute", "handler_duplicate_upcall")
Way = tuple[str, str, str]
"""Protocol, sender, receiver."""
# How often the first packet is sent up: at first, and where it is looked up again after conntrack. Flows that
# a destination, or protocol, makes no difference to are there already.
FIRST = {
    ("icmp", "a", "b"): 2,
    ("udp", "a", "b"): 1,
    ("tcp", "a", "b"): 1,
    ("icmp", "a", "c"): 1,
    ("udp", "a", "c"): 0,
    ("tcp", "a", "c"): 0,
    **{(protocol, sender, "a"): 2 for protocol in ("icmp", "udp", "tcp") for sender in "bc"},
}


class Seen(NamedTuple):
    """A recording. before, after: what was counted; all: with what went on after it."""

    rows: list[Row]
    batches: list[pa.RecordBatch]
    lost: int
    before: Counter[str]
    after: Counter[str]
    all: Counter[str]
    flows: dict[str, Flow]
    traces: dict[Way, str]
    features: str


class Journey(NamedTuple):
    """A packet's events. way: without a receiver where it didn't arrive. device: that it arrived at."""

    way: Way
    rows: list[Row]
    device: str

    @property
    def upcalls(self) -> int:
        """How often it was sent up."""
        return sum((row["ovs_upcall"] or {}).get("event") == "upcall" for row in self.rows)

    @property
    def lookups(self) -> list[dict[str, Any]]:
        """Its look-ups."""
        return [row["ovs_lookup"] for row in self.rows if row["ovs_lookup"]]


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switched]:
    recording.kernel.cache_clear()  # the module has come since
    with switched(tmp_path_factory.mktemp("ovs")) as there:
        yield there


def talk(switch: Switched) -> None:
    """Each first packet by itself, then more of the kind."""
    for to in (switch.b, switch.c):
        for count in (1, 2):
            assert ping(switch.a, to.v4, count=count) == count
        for n in range(3):
            payload = f"{to.v4} {n}".encode()
            assert udp_echo(switch.a, to, to.v4, payload) == payload
        assert tcp_transfer(switch.a, to, to.v4, 5000) == 5000
    there = len(flows(switch.ovs))
    udp_send(switch.a, switch.b.v4, b"dropped", port=DROPPED_PORT)
    eventually(lambda: len(flows(switch.ovs)) > there)
    udp_send(switch.a, switch.b.v4, b"dropped again", port=DROPPED_PORT)


def wake_handlers(switch: Switched) -> None:
    """Have each thread of the daemon tell what it counted, by an upcall.

    It does so at its first upcall a second or more after the last time. To look more often would be upcalls
    that wait for the next second.
    """
    time.sleep(1.1)
    for n, cpu in enumerate(online_cpus()):
        os.sched_setaffinity(0, {cpu})  # each handles what misses on one CPU
        try:
            udp_send(switch.a, switch.b.v4, b"new", port=16 << n)  # no port of so many bits was seen before
        finally:
            os.sched_setaffinity(0, online_cpus())


def causes(batches: list[pa.RecordBatch]) -> set[str]:
    """Return why something was lost."""
    gaps = [row["gap"] for batch in batches for row in batch.select(["gap"]).to_pylist()]
    return {gap["cause"] for gap in gaps if gap}


def told(batches: list[pa.RecordBatch]) -> bool:
    """Whether all flows that were met are described."""
    rows = [row for batch in batches for row in batch.select(["ovs_lookup", "ovs_detrace"]).to_pylist()]
    met = {lookup["ufid"] for row in rows if (lookup := row["ovs_lookup"]) and lookup["flow"]}
    return met <= {row["ovs_detrace"]["ufid"] for row in rows if row["ovs_detrace"]}


@pytest.fixture(scope="module")
def seen(switch: Switched) -> Seen:
    ovs, noted = switch.ovs, dict[str, Counter[str]]()
    shown: dict[str, Flow] = {}

    def traffic(batches: list[pa.RecordBatch]) -> None:
        shown.clear()
        noted["before"] = counters(ovs) + coverage(ovs, *COUNTED)
        talk(switch)
        eventually(lambda: told(batches))
        shown.update(flows(ovs))
        noted["after"] = counters(ovs)

    probes = [f"kprobe:{SOCKET}", f"kprobe:{RECEIVED}"]
    for _ in range(TRIES):
        ovs.appctl("revalidator/purge")
        ovs.dpctl("flush-conntrack")
        batches, lost = collected(
            traffic, collectors=COLLECTORS, probes=probes, ovs_track=True, ovs_enrich_flows=True
        )
        if causes(batches) != {"recursion"}:
            break
        # The kernel runs no probe while it runs another on the same CPU, which a busy machine meets now and
        # then. It was told; but here all events are needed.
        wake_handlers(switch)
    wake_handlers(switch)
    noted["all"] = counters(ovs) + coverage(ovs, *COUNTED)
    traces = {way: ovs.appctl("ofproto/trace", *words) for way, words in TRACED.items()}
    rows = pa.Table.from_batches(batches).to_pylist()
    features = ovs.appctl("dpif/show-dp-features", "br0")
    return Seen(rows, batches, lost, noted["before"], noted["after"], noted["all"], shown, traces, features)


def journeys(rows: list[Row], switch: Switched) -> list[Journey]:
    """Return the packets that hosts sent, each with its way."""
    names = {host.ns.inode: name for name, host in zip("abc", switch[1:], strict=True)}
    packets: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row["skb_tracking"]:
            packets[packet_id(row)].append(row)
    found = []
    for own in packets.values():
        sent = own[0]
        if (sent["kernel"] or {}).get("symbol") != SOCKET:
            continue
        received = [row for row in own if (row["kernel"] or {}).get("symbol") == RECEIVED]
        sender, receiver = (
            names[sent["netns"]["inum"]],
            names[received[-1]["netns"]["inum"]] if received else "",
        )
        protocol = inner_packet(own[-1]["packet"]["data"]).protocol
        found.append(
            Journey((protocol, sender, receiver), own, received[-1]["dev"]["name"] if received else "")
        )
    return found


def test_the_first_goes_up_and_the_others_dont(seen: Seen, switch: Switched) -> None:
    """From the sender's socket to the receiver's: the first through the daemon, the others the fast path."""
    assert not seen.lost
    by_way: dict[Way, list[Journey]] = defaultdict(list)
    for journey in journeys(seen.rows, switch):
        by_way[journey.way].append(journey)
    assert {way: found[0].upcalls for way, found in by_way.items() if way[2]} == FIRST
    devices = {name: host.dev for name, host in zip("abc", switch[1:], strict=True)}
    for way, found in by_way.items():
        assert len(found) >= (3 if way[2] else 2), way
        for journey in found:
            check_identity(journey)
            check_ways(journey)
            assert journey.device == (devices[way[2]] if way[2] else "")
        for journey in found[1:]:
            assert not journey.upcalls
            assert {lookup["ufid"] for lookup in journey.lookups} <= seen.flows.keys(), "all hit a flow"
            assert acts(journey) == acts(found[0]), "the flow does what was done with the first"


def check_identity(journey: Journey) -> None:
    """All events are of one packet, whatever was put around it on its way."""
    packets = {inner_packet(row["packet"]["data"]).identity for row in journey.rows if row["packet"]}
    assert len(packets) == 1, packets


def check_ways(journey: Journey) -> None:
    """Each upcall is a message, received, answered by a flow and by the packet, in that order."""
    steps: dict[int, list[str]] = defaultdict(list)
    for row in journey.rows:
        for section, column in (("ovs_upcall", "event"), ("ovs_operation", "op_type"), ("ovs_action", "")):
            if row[section] and (number := row[section]["queue_id"]):
                steps[number].append(row[section][column] if column else "action")
        if row["ovs_recv"]:
            steps[row["ovs_recv"]["queue_id"]].append("recv")
    assert len(steps) == journey.upcalls
    for own in steps.values():
        own.remove("upcall_enqueue")  # told at a function's return: it may be received by then
        assert list(dict.fromkeys(own)) == ["recv", "put", "exec", "action"]


def acts(journey: Journey) -> list[tuple[Any, ...]]:
    """Return the actions that were run on a packet."""
    return [
        tuple(action[name] for name in ("action", "arguments", "port_name", "id", "ct_flags", "nat_min_addr"))
        for row in journey.rows
        if (action := row["ovs_action"])
    ]


def test_counts_are_those_of_the_datapath_and_the_daemon(seen: Seen) -> None:
    """Hits of each flow, lookups, upcalls, and what the daemon did with them."""
    check_hits(seen.rows, seen.flows)
    lookups = [row["ovs_lookup"] for row in seen.rows if row["ovs_lookup"]]
    operations = Counter(row["ovs_operation"]["op_type"] for row in seen.rows if row["ovs_operation"])
    delta = {name: seen.after[name] - seen.before[name] for name in ("hit", "missed", "lost")}
    missed = sum(lookup["flow"] is None for lookup in lookups)
    assert missed == delta["missed"] == len(seen.flows)
    assert len(lookups) - missed == delta["hit"]
    assert not delta["lost"]
    assert operations == {"put": missed, "exec": missed}
    own = {name: seen.all[name] - seen.before[name] for name in (*COUNTED, "missed")}
    assert own["dpif_flow_put"] == own["dpif_execute"] == own["missed"] > missed
    assert not own["handler_duplicate_upcall"]


def test_rules_are_those_that_are_traced(seen: Seen, switch: Switched) -> None:
    """ofproto/trace: the rules of each pass, by cookie, and what the datapath is told to do."""
    rows = [row for batch in sort(seen.batches, arrow_schema()) for row in batch.to_pylist()]
    by_way = {j.way: j for j in journeys(rows, switch)}
    for way, trace in seen.traces.items():
        passes = re.split(r"^=+\nrecirc\(.*", trace, flags=re.MULTILINE)
        found = runs(by_way[way].rows)
        assert len(found) == len(passes) == 2
        for (lookup, _), text in zip(found, passes, strict=True):
            rules = [rule for rule in lookup["ofpflows"] if "cookie=" in rule]
            assert re.findall(r"cookie=(0x[0-9a-f]+)", "\n".join(rules)) == re.findall(
                r"cookie (0x[0-9a-f]+)", text
            )
            (shown,) = re.findall(r"^Datapath actions: (.*)$", text, flags=re.MULTILINE)
            assert lookup["dpflow"].endswith(f"actions:{shown}")


def test_what_is_dropped_says_so(seen: Seen, switch: Switched) -> None:
    """By an action of its own where the kernel has one, and then by the reason of the drop."""
    dropped = [j for j in journeys(seen.rows, switch) if j.way == ("udp", "a", "")]
    assert [journey.upcalls for journey in dropped] == [1, 0]
    explicit = "Explicit Drop action: Yes" in seen.features
    for journey in dropped:
        actions = [row["ovs_action"] for row in journey.rows if row["ovs_action"]]
        assert [(action["action"], action["reason"]) for action in actions] == [("drop", 0)] * explicit
        reasons = [row["skb_drop"] for row in journey.rows if row["skb_drop"]]
        assert len(reasons) == 1
        if explicit:
            assert (reasons[0]["subsys"], reasons[0]["drop_reason"]) == ("openvswitch", "OVS_DROP_EXPLICIT")
