"""Tracking: one id per packet for all of its way, and never two packets under one id."""

from __future__ import annotations

import socket
import struct

import pytest

from live.recording import RX, TX, Row, ipv4, kernel, packet_id, plan, record, udp_payload
from live.sockets import know_each_other, packet_socket, udp_socket
from live.topology import Routed, nft, routed, two_ns
from live.traffic import ping, tcp_transfer, udp_send

PROBES = (f"tp:{RX}", f"tp:{TX}")
MASQUERADE = """
table ip nat {{
    chain postrouting {{
        type nat hook postrouting priority 100;
        oifname "{}" masquerade
    }}
}}
"""


def devices(rows: list[Row]) -> list[str]:
    return [row["dev"]["name"] for row in rows]


def way(net: Routed) -> list[str]:
    """Return the devices from a through the router to b."""
    return [net.a.dev, net.to_a.dev, net.to_b.dev, net.b.dev]


def address_of(row: Row) -> str:
    """Return the source address of a row's packet."""
    data = row["packet"]["data"]
    raw = data[26:30] if data[12:14] == b"\x08\x00" else data[22:38]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def test_one_id_across_namespaces_and_a_router() -> None:
    with routed() as net:
        recording = record(lambda: ping(net.a, net.b.v4), probes=PROBES)
    requests = [rows for rows in recording.journeys().values() if ipv4(rows[0])[20:21] == b"\x08"]
    (rows,) = requests
    assert [row["kernel"]["symbol"] for row in rows] == [TX, RX, TX, RX]
    assert devices(rows) == way(net)
    assert [ipv4(row)[8] for row in rows] == [64, 64, 63, 63], "time to live falls at the router"


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_nat_leaves_the_id(family: str) -> None:
    rules = MASQUERADE.replace("table ip", f"table {family}")
    with routed() as net, nft(net.router, rules.format(net.to_b.dev)):
        to, source, as_ = (
            (net.b.v4, net.a.v4, net.to_b.v4) if family == "ip" else (net.b.v6, net.a.v6, net.to_b.v6)
        )
        recording = record(lambda: udp_send(net.a, to, b"through nat"), probes=PROBES)
    # Nobody listens: an ICMP error with the same bytes comes back, which begins elsewhere.
    (rows,) = [
        rows
        for rows in recording.journeys().values()
        if rows[0]["dev"]["name"] == net.a.dev and b"through nat" in rows[0]["packet"]["data"]
    ]
    rows = [row for row in rows if row["kernel"]["symbol"] in (RX, TX)]
    assert [address_of(row) for row in rows] == [source, source, as_, as_]
    assert devices(rows) == way(net)


def test_new_memory_keeps_the_id() -> None:
    """A tap's clone makes the router copy the packet's data before NAT may write to it (pskb_expand_head)."""
    with (
        routed() as net,
        udp_socket(net.b),
        packet_socket(net.to_a),
        nft(net.router, MASQUERADE.format(net.to_b.dev)),
    ):
        recording = record(lambda: udp_send(net.a, net.b.v4, b"copied for nat"), probes=PROBES)
    found = [row for row in recording.rows if udp_payload(row) == b"copied for nat"]
    assert devices([row for row in found if row["kernel"]["symbol"] == TX]) == [net.a.dev, net.to_b.dev]
    assert len({packet_id(row) for row in found}) == 1
    # Where functions can be probed it is seen that the data did move.
    assert recording.hits.get("pskb_expand_head", 1)


def test_a_tunnel_and_new_memory_keep_the_id() -> None:
    """The router has no room for VXLAN's headers before the packet: it is copied, though nobody shares it."""
    with routed() as net, udp_socket(net.b):
        for host, remote, address in ((net.to_b, net.b, "10.9.0.1/24"), (net.b, net.to_b, "10.9.0.2/24")):
            host.ns.ip(
                f"link add vx0 type vxlan id 7 remote {remote.v4} dstport 4789 dev {host.dev}",
                f"addr add {address} dev vx0",
                "link set vx0 up",
            )
        net.b.ns.ip("route add default via 10.9.0.1 metric 1")
        ping(net.to_b, "10.9.0.2")  # the tunnel's ends know each other then
        recording = record(lambda: udp_send(net.a, "10.9.0.2", b"into a tunnel"), probes=PROBES)
    rows = [row for row in recording.rows if b"into a tunnel" in row["packet"]["data"]]
    assert [(row["kernel"]["symbol"], row["dev"]["name"]) for row in rows] == [
        (TX, net.a.dev),
        (RX, net.to_a.dev),
        (TX, "vx0"),
        (TX, net.to_b.dev),
        (RX, net.b.dev),
        (RX, "vx0"),
    ]
    assert len({packet_id(row) for row in rows}) == 1
    assert recording.hits.get("pskb_expand_head", 1), "the data did move"


def test_where_ends_are_seen_nothing_is_guessed() -> None:
    planned = plan(probes=PROBES)
    sees_frees = any(p.symbol == "skb_free_head" for p in planned.probes)
    assert planned.verify_identity != sees_frees
    if kernel().features.has("kprobe") and kernel().function_params("skb_free_head"):
        assert sees_frees


def test_clones_share_the_id_and_differ_by_skb() -> None:
    """The kernel gives a packet socket a clone; it is consumed there while the original goes on."""
    with two_ns() as pair, udp_socket(pair.b), packet_socket(pair.a) as tap:
        know_each_other(pair.a, pair.b)

        def traffic() -> None:
            udp_send(pair.a, pair.b.v4, b"cloned")
            while b"cloned" not in tap.recv(2000):
                pass

        recording = record(
            traffic, probes=(*PROBES, "tp:skb:consume_skb"), collectors=("skb", "skb-tracking", "dev")
        )
    rows = [row for row in recording.rows if (udp_payload(row) or b"") == b"cloned"]
    assert len({packet_id(row) for row in rows}) == 1
    assert len({row["skb_tracking"]["skb"] for row in rows}) == 2, "the original and the tap's clone"
    consumed = {r["skb_tracking"]["skb"] for r in rows if r["kernel"]["symbol"] == "skb:consume_skb"}
    assert consumed, "the clone ends at the tap"


def test_reused_memory_is_a_new_packet_udp() -> None:
    """Datagrams one after the other get each other's memory; every id must have one payload only."""
    payloads = [struct.pack("!I", number) + b"unique" for number in range(2000)]
    wanted = set(payloads)
    with two_ns() as pair, udp_socket(pair.b, receive_buffer=8 << 20) as sock:
        know_each_other(pair.a, pair.b)

        def traffic() -> None:
            for start in range(0, len(payloads), 50):
                udp_send(pair.a, pair.b.v4, *payloads[start : start + 50])
                for _ in range(50):
                    sock.recv(100)

        recording = record(traffic, probes=PROBES)
    assert not recording.gaps
    seen: dict[tuple[int, int], set[bytes]] = {}
    heads = set()
    for row in recording.rows:
        payload = udp_payload(row)
        if payload in wanted:
            heads.add(row["skb_tracking"]["orig_head"])
            seen.setdefault(packet_id(row), set()).add(payload)
    assert len(heads) < len(payloads), "no memory was used twice: the test proves nothing"
    assert all(len(found) == 1 for found in seen.values())
    assert len(seen) == len(payloads), "each datagram has one id for both of its events"


def test_reused_memory_is_a_new_packet_tcp() -> None:
    """TCP frees most packets without a tracepoint; each id must still have one IP id and sequence number."""
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)

        def traffic() -> None:
            for _ in range(20):
                tcp_transfer(pair.a, pair.b, pair.b.v4, 900)

        recording = record(traffic, probes=PROBES)
    assert not recording.gaps
    packets = [row for row in recording.rows if ipv4(row)[9:10] == b"\x06"]
    assert len(packets) > 200
    by_id: dict[tuple[int, int], set[bytes]] = {}
    by_packet: dict[bytes, set[tuple[int, int]]] = {}
    for row in packets:
        ip = ipv4(row)
        # Flow, IP id, sequence and acknowledgement numbers.
        packet = ip[4:6] + ip[12:32]
        by_id.setdefault(packet_id(row), set()).add(packet)
        by_packet.setdefault(packet, set()).add(packet_id(row))
    assert all(len(found) == 1 for found in by_id.values()), "two packets under one id"
    assert all(len(found) == 1 for found in by_packet.values()), "one packet under two ids"
