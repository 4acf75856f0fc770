"""The connections of packets, compared with conntrack(8) and with the rules that make them what they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from live.conntrack import Way, connections, way
from live.recording import RX, TX, Recording, Row, record
from live.topology import Routed, nft, routed
from live.traffic import PORT, ping, udp_echo, udp_send

PROBES = (f"tp:{RX}", f"tp:{TX}")
SEEN = ("skb", "skb-tracking", "dev", "ns", "ct")
CONFIRMED, SEEN_REPLY, ASSURED, SRC_NAT, DST_NAT = 8, 2, 4, 16, 32  # enum ip_conntrack_status

# Before conntrack itself looks at a packet (priority -200) zones are chosen; the rest comes after.
NAT = """
table inet t {{
  chain early {{ type filter hook prerouting priority -300; {early} }}
  chain before {{ type nat hook prerouting priority -100;
    ip daddr {v4} dnat ip to {b4}
    ip6 daddr {v6} dnat ip6 to {b6}
  }}
  chain marks {{ type filter hook forward priority 0;
    ct mark set 0x1234
    ct state established,related accept
  }}
  chain behind {{ type nat hook postrouting priority 100; oifname {dev} masquerade; }}
}}
"""
SERVICE4, SERVICE6 = "198.51.100.77", "2001:db8:1::77"


@contextmanager
def natted(*, early: str = "") -> Iterator[Routed]:
    """Hosts behind a router that gives b's services other addresses, and hides a."""
    with routed() as net:
        rules = NAT.format(early=early, v4=SERVICE4, v6=SERVICE6, b4=net.b.v4, b6=net.b.v6, dev=net.to_b.dev)
        with nft(net.router, rules):
            yield net


def of_router(recording: Recording, net: Routed) -> list[Row]:
    """Return the events in the router's namespace of packets that have a connection."""
    return [row for row in recording.rows if row["ct"] and row["netns"]["inum"] == net.router.inode]


def tracked(rows: list[Row]) -> list[Row]:
    """Leave out what isn't tracked: of IPv6 the kernel itself says so of neighbour discovery."""
    return [row for row in rows if row["ct"]["state"] != "untracked"]


def test_tuples_states_and_marks_are_those_of_conntrack() -> None:
    with natted() as net:

        def traffic() -> None:
            assert ping(net.a, SERVICE4, count=2) == 2
            assert ping(net.a, SERVICE6, count=2) == 2
            with net.b.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.bind((net.b.v4, PORT))
                udp_send(net.a, SERVICE4, b"one", source_port=5001)
                data, source = server.recvfrom(100)
                server.sendto(data, source)
            udp_send(net.a, SERVICE4, b"nobody hears", source_port=5002, port=9)
            tcp_transfer_to(net, SERVICE4)

        recording = record(traffic, collectors=SEEN, probes=PROBES)
        theirs = connections(net.router)
        rows = of_router(recording, net)
    ours: dict[Way, Row] = {}
    for row in tracked(rows):
        ours[way(row["ct"], "orig")] = row["ct"]
        assert row["ct_parent"] is None
    assert {key.protocol for key in ours} >= {1, 6, 17, 58}
    assert ours.keys() <= theirs.keys()
    assert {key.ports[-2:] for key in theirs if key.protocol == 17} >= {(5001, PORT), (5002, 9)}
    for key, ct in ours.items():
        other = theirs[key]
        assert way(ct, "reply") == other.reply
        assert (ct["mark"], ct["zone_id"], ct["zone_dir"]) == (other.mark, 0, "Default")
        assert (ct["proto_state"] or "") == other.state, key
        assert 0 <= ct["timeout_ms"] / 1000 - other.seconds <= 60, key
        assert bool(ct["status"] & ASSURED) == other.assured
        assert bool(ct["status"] & SEEN_REPLY) != other.unreplied
        assert ct["status"] & (CONFIRMED | SRC_NAT | DST_NAT) == CONFIRMED | SRC_NAT | DST_NAT


def tcp_transfer_to(net: Routed, address: str) -> None:
    """Send over TCP from a to an address that b is reached by."""
    with net.b.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((net.b.v4, PORT))
        listener.listen()
        with net.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
            sender.connect((address, PORT))
            with listener.accept()[0] as connection:
                sender.sendall(b"x" * 5000)
                sender.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
            assert sender.recv(1) == b""


def test_a_packet_becomes_part_of_a_connection_and_the_reply_is_one() -> None:
    with natted() as net:
        rows = of_router(record(lambda: ping(net.a, SERVICE4, count=2), collectors=SEEN, probes=PROBES), net)
    out = [
        (row["kernel"]["symbol"], row["dev"]["name"], row["ct"]["state"])
        for row in rows
        if row["packet"]["data"][12:14] == b"\x08\x00"
    ]
    # What comes in has no connection yet where it comes in.
    assert out == [
        (TX, net.to_b.dev, "new"),
        (TX, net.to_a.dev, "reply"),
        (TX, net.to_b.dev, "established"),
        (TX, net.to_a.dev, "reply"),
    ]


def test_zones() -> None:
    with natted(early="ct zone set 77;") as net:
        rows = of_router(record(lambda: ping(net.a, net.b.v4), collectors=SEEN, probes=PROBES), net)
        theirs = connections(net.router)
    (ours,) = {way(row["ct"], "orig"): row["ct"] for row in tracked(rows)}.items()
    assert (ours[1]["zone_id"], theirs[ours[0]].zone) == (77, 77)


def test_packets_that_are_not_tracked_say_so() -> None:
    rules = "table inet t { chain c { type filter hook prerouting priority -300; udp dport 4242 notrack; }; }"
    with routed() as net, nft(net.router, rules):
        recording = record(lambda: udp_echo(net.a, net.b, net.b.v4, b"hello"), collectors=SEEN, probes=PROBES)
        cts = [(row["dev"]["name"], row["ct"]) for row in of_router(recording, net)]
    (ct,) = [ct for dev, ct in cts if dev == net.to_b.dev and ct["state"] == "untracked"]
    assert {name for name, value in ct.items() if value is not None} == {"state"}


def test_related_errors_belong_to_the_connection_they_are_about() -> None:
    with natted() as net:
        rows = of_router(record(lambda: unreachable(net), collectors=SEEN, probes=PROBES), net)
    (error,) = [row["ct"] for row in rows if row["ct"]["state"].startswith("related")]
    assert error["state"] == "related_reply"
    assert (error["protocol"], error["orig_dport"], error["orig_dst"]) == (17, 9, SERVICE4)


def unreachable(net: Routed) -> None:
    """Send to a port that nobody listens at, and wait for the error."""
    with net.a.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(30)
        sender.connect((SERVICE4, 9))
        sender.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            sender.recv(1)


FTP = """
table ip t {
  ct helper ftp { type "ftp" protocol tcp; }
  chain c { type filter hook prerouting priority 0; tcp dport 21 ct helper set "ftp"; }
}
"""


@pytest.mark.needs("ftp_helper")
def test_the_data_of_ftp_belongs_to_its_control() -> None:
    with routed() as net, nft(net.router, FTP):
        rows = of_router(record(lambda: ftp(net), collectors=SEEN, probes=PROBES), net)
    data = [row for row in rows if row["ct"]["orig_dport"] == 5005]
    assert {row["ct"]["state"] for row in data} == {"related", "established", "reply"}
    for row in data:
        parent = row["ct_parent"]
        assert (parent["protocol"], parent["orig_dport"], parent["orig_src"]) == (6, 21, net.a.v4)
        assert parent["proto_state"] == "ESTABLISHED"


def ftp(net: Routed) -> None:
    """Have a and b say what makes conntrack expect a second connection, and make it."""
    answer = f"227 Entering Passive Mode ({net.b.v4.replace('.', ',')},{5005 // 256},{5005 % 256}).\r\n"
    with (
        net.b.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as control,
        net.b.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as data,
    ):
        for listener, port in ((control, 21), (data, 5005)):
            listener.bind((net.b.v4, port))
            listener.listen()
        with net.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect((net.b.v4, 21))
            with control.accept()[0] as server:
                server.sendall(b"220 hello\r\n")
                assert client.recv(100)
                client.sendall(b"PASV\r\n")
                assert server.recv(100)
                server.sendall(answer.encode())
                assert client.recv(100)
                with net.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as second:
                    second.connect((net.b.v4, 5005))
                    with data.accept()[0] as sink:
                        second.sendall(b"content")
                        assert sink.recv(100)
