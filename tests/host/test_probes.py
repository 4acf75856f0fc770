"""Probes of each mechanism: names, patterns, modules, what they take and what they refuse."""

from __future__ import annotations

import pytest

from fyke.errors import Unsupported, UsageError
from live.recording import RX, TX, kernel, packet_id, plan, record, udp_payload
from live.sockets import know_each_other, udp_socket
from live.topology import bridged, two_ns, vlan
from live.traffic import ping, udp_send


def test_a_pattern_of_tracepoints() -> None:
    """`net:*` takes those that carry a packet; every one that fires in a ping gives events."""
    with two_ns() as pair:
        recording = record(lambda: ping(pair.a, pair.b.v4), probes=("tp:net:*",))
    symbols = {probe.symbol for probe in recording.plan.probes if not probe.internal}
    assert {RX, TX, "net:net_dev_queue"} <= symbols
    seen = {row["kernel"]["symbol"] for row in recording.rows}
    assert {RX, TX, "net:net_dev_queue", "net:net_dev_xmit"} <= seen
    assert {s for s in seen if recording.hits[s]} == seen


def test_a_tracepoint_without_a_packet_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="sched:sched_switch"):
        plan(probes=("tp:sched:sched_switch",))


def test_an_unknown_tracepoint_names_near_ones() -> None:
    with pytest.raises(UsageError, match="netif_recieve_skb") as error:
        plan(probes=("tp:net:netif_recieve_skb",))
    assert "net:netif_receive_skb" in error.value.hint


@pytest.mark.needs("kprobe")
def test_an_unknown_function_names_near_ones() -> None:
    with pytest.raises(UsageError, match="ip_rcvv") as error:
        plan(probes=("k:ip_rcvv",))
    assert "ip_rcv" in error.value.hint


def test_functions_are_refused_where_there_are_no_kprobes() -> None:
    if kernel().features.has("kprobe"):
        planned = plan(probes=("ip_rcv",))
        assert [p.mechanism for p in planned.probes if p.symbol == "ip_rcv"] in (["kprobe"], ["kprobe_multi"])
    else:
        with pytest.raises(Unsupported, match="ip_rcv"):
            plan(probes=("ip_rcv",))


@pytest.mark.needs("kprobe")
def test_functions_and_tracepoints_agree() -> None:
    """Each received packet passes the tracepoint and then ip_rcv; each sent datagram ip_output once."""
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        payloads = [f"number {n}".encode() for n in range(20)]
        recording = record(
            lambda: udp_send(pair.a, pair.b.v4, *payloads),
            probes=(f"tp:{RX}", "k:ip_rcv", "ip_output", "k:udp_rcv"),
        )
    for symbol in (RX, "ip_rcv", "ip_output"):
        assert [p for row in recording.at(symbol) if (p := udp_payload(row)) in payloads] == payloads
    for rows in recording.journeys().values():
        if udp_payload(rows[-1]) in payloads:
            assert [row["kernel"]["symbol"] for row in rows] == ["ip_output", RX, "ip_rcv", "udp_rcv"]
            assert {row["kernel"]["probe_type"] for row in rows if row["kernel"]["symbol"] != RX} <= {
                "kprobe",
                "kprobe_multi",
            }


@pytest.mark.needs("kprobe")
def test_a_pattern_of_functions() -> None:
    with two_ns() as pair:
        recording = record(
            lambda: ping(pair.a, pair.b.v4), probes=("k:icmp_*",), collectors=("skb", "skb-tracking")
        )
    symbols = {probe.symbol for probe in recording.plan.probes if not probe.internal}
    assert "icmp_rcv" in symbols
    assert recording.at("icmp_rcv")
    assert all(probe.arguments.keys() & {"skb"} for probe in recording.plan.probes if not probe.internal)


@pytest.mark.needs("kprobe", "bridge_module")
def test_a_function_of_a_module() -> None:
    """br_handle_frame_finish is the bridge module's; its skb is found through the module's own BTF."""
    with bridged() as (pair, switch):
        inode = switch.inode
        kernel.cache_clear()  # what it knows of modules is older than this one
        recording = record(
            lambda: ping(pair.a, pair.b.v4),
            probes=("k:br_handle_frame_finish", f"tp:{RX}"),
            collectors=("auto",),
        )
    rows = recording.at("br_handle_frame_finish")
    assert rows
    assert {row["netns"]["inum"] for row in rows} == {inode}
    bridged_ids = {packet_id(row) for row in rows}
    received = [row for row in recording.at(RX, dev=pair.b.dev) if packet_id(row) in bridged_ids]
    assert received, "the same packet arrives at the host behind the bridge"


@pytest.mark.needs("vlan")
def test_a_vlan_tag_beside_the_bytes() -> None:
    """A VLAN device's packets: the tag is in the skb or in the bytes, and its id is the device's."""
    with vlan(77) as (plain, tagged):
        recording = record(lambda: ping(tagged.a, tagged.b.v4), probes=(f"tp:{RX}", f"tp:{TX}"))
    on_the_wire = [row for row in recording.rows if row["dev"]["name"] in (plain.a.dev, plain.b.dev)]
    assert on_the_wire
    for row in on_the_wire:
        in_bytes = row["packet"]["data"][12:16] == b"\x81\x00\x00\x4d"
        tag = row["vlan_accel"]
        assert in_bytes != bool(tag), "the tag is in one place"
        if tag:
            assert (tag["proto"], tag["vid"], tag["pcp"], tag["dei"]) == (0x8100, 77, 0, False)
    assert any(row["vlan_accel"] for row in on_the_wire)
    inside = [row for row in recording.rows if row["dev"]["name"] in (tagged.a.dev, tagged.b.dev)]
    assert inside
    assert not any(row["vlan_accel"] for row in inside)
