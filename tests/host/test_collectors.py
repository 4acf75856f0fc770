"""What the collectors record, compared with what other programs say of the same traffic."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest

from fyke.capture.filters import FilterOptions
from fyke.capture.load import Loaded
from live.needs import missing
from live.recording import RX, TX, kernel, packet_id, plan, record, udp_payload
from live.sockets import in_background, know_each_other, udp_socket
from live.sources import capture, links
from live.topology import routed, two_ns
from live.traffic import ping, tcp_transfer, udp_send

PROBES = (f"tp:{RX}", f"tp:{TX}")


# The verifier gives up at a million. What it takes should not depend on how sections combine.
MOST_VERIFIED = 100_000


def verified_instructions(fd: int) -> int:
    """Return how many instructions the verifier went through for a program; 0 where the kernel doesn't tell.

    Linux kernel commit aba64c7da983 ("bpf: Add verified_insns to bpf_prog_info and fdinfo") (in v5.16).
    """
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("verified_insns")), 0)


def test_the_kernel_takes_everything_at_once() -> None:
    missing("nft_types")  # what it needs for it
    with_ovs = not missing("openvswitch")
    kernel.cache_clear()  # the modules have come since
    everything = plan(
        collectors=("auto",),
        probes=PROBES,
        skb_sections=("meta", "dataref", "gso"),
        stack=True,
        ovs_track=with_ovs,
        filters=FilterOptions(
            packet="udp port 4789 or vlan", inner="tcp port 80 or icmp6", fields="sk_buff.dev.mtu > 1000"
        ),
    )
    loaded = Loaded(everything, kernel())
    try:
        verified = {
            probe.symbol: verified_instructions(loaded.program_fd(number))
            for number, probe in enumerate(everything.probes)
        }
    finally:
        loaded.close()
    names = {c.name for c in everything.collectors}
    assert {"skb", "skb-tracking", "ns", "dev", "ct"} <= names
    assert ("nft" in names) == (not missing("nft_types") and not missing("kprobe"))
    assert ("ovs" in names) == with_ovs
    assert max(verified.values()) < MOST_VERIFIED, verified


def is_report(frame: bytes) -> bool:
    """Say whether it is a multicast report: IPv6 sends them of its own accord when a device is up."""
    return frame[12:14] == b"\x86\xdd" and frame[20] == 0  # hop-by-hop options


def test_bytes_and_counts_are_those_of_tcpdump() -> None:
    """Both directions on one device: what is sent there, what is received there, in the same order."""
    payloads = [struct.pack("!I", n) * (n + 1) for n in range(60)]
    with two_ns() as pair, udp_socket(pair.b), capture(pair.b.ns, pair.b.dev) as tcpdump:

        def traffic() -> None:
            ping(pair.a, pair.b.v4, count=5)
            ping(pair.a, pair.b.v6, count=2)
            udp_send(pair.a, pair.b.v4, *payloads)
            tcp_transfer(pair.a, pair.b, pair.b.v4, 3000)

        recording = record(traffic, probes=PROBES, snaplen=2048)
        ours = [row["packet"] for row in recording.on_device(pair.b.dev)]
        ours = [packet for packet in ours if not is_report(packet["data"])]
        theirs = tcpdump.wait(len(ours), lambda packet: not is_report(packet.data))
    assert len(theirs) >= 7 * 2 + 60 + 6
    assert [packet["len"] for packet in ours] == [packet.wire_len for packet in theirs]
    # What tcpdump has of a large TCP packet is its linear and its paged part; a record has the linear one.
    assert all(p.data.startswith(packet["data"]) for packet, p in zip(ours, theirs, strict=True))
    assert sum(len(packet["data"]) for packet in ours) > 0.5 * sum(packet.wire_len for packet in theirs)


@pytest.mark.parametrize("snaplen", [1, 14, 60, 256])
def test_snaplen_bounds_what_is_kept(snaplen: int) -> None:
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        recording = record(
            lambda: udp_send(pair.a, pair.b.v4, b"x" * 500), probes=(f"tp:{TX}",), snaplen=snaplen
        )
    length = 14 + 20 + 8 + 500
    (packet,) = [p for row in recording.at(TX, dev=pair.a.dev) if (p := row["packet"])["len"] == length]
    assert packet["capture_len"] == len(packet["data"]) == snaplen


def test_devices_and_namespaces_are_those_of_ip() -> None:
    with routed() as net:
        recording = record(lambda: ping(net.a, net.b.v4), probes=PROBES)
        places = {
            name: (link["ifindex"], ns.inode)
            for ns in (net.a.ns, net.router, net.b.ns)
            for name, link in links(ns).items()
            if name != "lo"
        }
    seen = [row for row in recording.rows if row["kernel"]["symbol"] in (RX, TX)]
    assert {row["dev"]["name"] for row in seen} == set(places)
    for row in seen:
        assert (row["dev"]["ifindex"], row["netns"]["inum"]) == places[row["dev"]["name"]]
    forwarded = [row for row in recording.at(TX, dev=net.to_b.dev) if row["packet"]["data"][23:24] == b"\x01"]
    assert forwarded
    assert all(row["dev"]["rx_ifindex"] == places[net.to_a.dev][0] for row in forwarded)


def test_ipv6() -> None:
    with two_ns() as pair:
        recording = record(lambda: ping(pair.a, pair.b.v6, count=2), probes=PROBES)
    # Ethertype IPv6, next header ICMPv6, type echo request.
    requests = [
        row
        for row in recording.rows
        if row["kernel"]["symbol"] in (RX, TX)
        and (data := row["packet"]["data"])[12:14] == b"\x86\xdd"
        and data[20] == 58
        and data[54] == 128
    ]
    places = [(row["kernel"]["symbol"], row["dev"]["name"]) for row in requests]
    assert places == [(TX, pair.a.dev), (RX, pair.b.dev)] * 2
    assert len({packet_id(row) for row in requests}) == 2


def test_skb_sections() -> None:
    """The fields of the skb at a device: lengths add up, the data has one owner, nothing is cloned."""
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        recording = record(
            lambda: udp_send(pair.a, pair.b.v4, b"y" * 100), probes=PROBES, skb_sections=("meta", "dataref")
        )
    (sent,) = [row for row in recording.at(TX) if udp_payload(row)]
    (received,) = [row for row in recording.at(RX) if udp_payload(row)]
    assert sent["skb_meta"]["len"] == sent["packet"]["len"] == 142
    assert received["skb_meta"]["len"] == 142 - 14, "the Ethernet header is behind it on reception"
    assert sent["skb_meta"]["data_len"] == 0
    for row in (sent, received):
        assert row["skb_dataref"]["users"] == 1
        assert row["skb_dataref"]["dataref"] == 1
        assert not row["skb_dataref"]["cloned"]
        assert row["skb_gso"] is None


def test_gso_section_of_a_large_packet() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        recording = record(
            lambda: tcp_transfer(pair.a, pair.b, pair.b.v4, 200_000),
            probes=(f"tp:{TX}",),
            skb_sections=("gso",),
        )
    large = [row for row in recording.at(TX, dev=pair.a.dev) if row["packet"]["len"] > 1514]
    assert large, "veth takes large TCP packets whole"
    for row in large:
        gso = row["skb_gso"]
        payload = row["packet"]["len"] - 14 - 20 - 32
        assert gso["size"] == 1448
        assert gso["segs"] == -(-payload // 1448)
        assert gso["type"] & 1, "SKB_GSO_TCPV4"
        assert gso["frags"] >= 1


def test_task_is_who_sent() -> None:
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        thread_ids = []

        def send() -> None:
            thread_ids.append(threading.get_native_id())
            udp_send(pair.a, pair.b.v4, b"mine")

        recording = record(lambda: in_background(send).join(), probes=(f"tp:{TX}",))
    (row,) = [row for row in recording.at(TX) if udp_payload(row) == b"mine"]
    assert [row["task"]["pid"]] == thread_ids != [os.getpid()]
    assert row["task"]["tgid"] == os.getpid()


def test_stack_of_a_send() -> None:
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        recording = record(lambda: udp_send(pair.a, pair.b.v4, b"s"), probes=(f"tp:{TX}/stack", f"tp:{RX}"))
    (sent,) = [row for row in recording.at(TX) if udp_payload(row)]
    functions = [frame.partition("+")[0] for frame in sent["kernel"]["stack"]]
    # Innermost first: from the device's queue up to the socket and the system call.
    order = [functions.index(name) for name in ("udp_sendmsg", "__sys_sendto")]
    assert order == sorted(order)
    assert any("dev_queue_xmit" in name or "dev_hard_start_xmit" in name for name in functions[:3])
    assert not any(name.startswith(("bpf_", "0x")) for name in functions), functions
    (received,) = [row for row in recording.at(RX) if udp_payload(row)]
    assert received["kernel"]["stack"] is None, "only where it was asked for"
