"""Connections that are created and destroyed, as `conntrack -E` has them, and what was done to them."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fyke.capture.filters import FilterOptions
from fyke.errors import Unsupported
from live import recording
from live.conntrack import connections, conntrack_events, event
from live.needs import missing
from live.recording import RX, TX, Recording, Row, record
from live.sctp import sctp_init
from live.topology import Host, Routed, nft, routed, two_ns
from live.traffic import PORT, ping, tcp_refused, tcp_transfer, udp_send

CREATED = "__nf_conntrack_hash_insert"
RULES = "table inet t { chain c { type filter hook forward priority 0; ct state invalid drop; }; }"
OWN = "table inet t { chain c { type filter hook output priority 0; ct state invalid drop; }; }"
HIDDEN = """
table inet t {
  chain labels {
    type filter hook forward priority 0;
    udp dport 7001 ct label set 5;
    ct label 5 ct label set 100;
  }
  chain behind { type nat hook postrouting priority 100; oifname %s masquerade; }
}
"""


@contextmanager
def tracking(rules: str = RULES) -> Iterator[Routed]:
    """A router that tracks connections; the kernel is looked at anew: rules may have loaded the module."""
    with routed() as net, nft(net.router, rules.replace("%s", net.to_b.dev)):
        recording.kernel.cache_clear()
        yield net


def events(done: Recording, event: str = "", inode: int = 0) -> list[Row]:
    """Return the rows of connections, of one kind and in one namespace if asked."""
    rows = [row for row in done.table.to_pylist() if row["ct_event"]]
    return [
        row
        for row in rows
        if event in ("", row["ct_event"]["event"]) and inode in (0, (row["netns"] or {}).get("inum"))
    ]


def reasons(rows: list[Row]) -> Counter[tuple[int, str | None]]:
    """Return how often each reason was given, by protocol."""
    return Counter((row["ct"]["protocol"], row["ct_event"]["reason"]) for row in rows)


def test_it_works_or_says_why() -> None:
    with tracking():
        if not missing("kprobe"):
            symbols = [probe.symbol for probe in recording.plan(collectors=("ct",), ct_events=True).probes]
            assert symbols[0] == CREATED
            assert symbols[1].endswith("nf_ct_delete_from_lists")
            return
        with pytest.raises(Unsupported) as caught:
            recording.plan(collectors=("ct",), ct_events=True)
    assert "no kprobes here" in caught.value.message


def many(net: Routed) -> None:
    """Begin a few hundred connections of four protocols."""
    for to, ports in ((net.b.v4, 100), (net.b.v6, 20)):
        for port in range(6000, 6000 + ports):
            udp_send(net.a, to, b"?", port=port)
        assert ping(net.a, to) == 1
    for number in range(60):
        echo(net.a, net.b.v4, number)
        sctp_init(net.a, net.b.v4, 7000 + number, 9)
    for port in range(7000, 7015):
        tcp_refused(net.a, net.b.v4, port=port)
    tcp_transfer(net.a, net.b, net.b.v4, 1000)


def echo(host: Host, to: str, number: int) -> None:
    """Send an echo request with an identifier of its own."""
    body = struct.pack("!BBHHH", 8, 0, 0, 40000 + number, 1)
    total = sum(struct.unpack("!4H", body))
    body = body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
    with host.ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
        sender.sendto(body, (to, 0))


@pytest.mark.needs("kprobe")
def test_they_are_those_of_conntrack() -> None:
    with tracking() as net, conntrack_events(net.router) as monitor:

        def traffic() -> None:
            many(net)
            for protocol in ("icmp", "sctp", "udp"):
                net.router.run("conntrack", "-D", "-f", "ipv4", "-p", protocol)
            net.router.run("conntrack", "-F")  # few are left: it goes so fast that `conntrack -E` loses some

        done = record(traffic, collectors=("ct", "ns"), ct_events=True)
        rows = events(done, inode=net.router.inode)
        theirs = monitor.events(at_least=len(rows))
    assert not done.gaps
    assert Counter(map(event, rows)) == Counter(theirs)
    created = [row for row in rows if row["ct_event"]["event"] == "created"]
    assert {row["ct"]["protocol"] for row in created} == {1, 6, 17, 58, 132}
    assert len(created) > 250
    assert {(row["ct_event"]["reason"], row["ct_event"]["by"]) for row in created} == {
        (None, "__nf_conntrack_confirm")
    }
    assert {row["ct"]["state"] for row in rows} == {None}
    assert {row["packet"] for row in rows} == {None}
    destroyed = [row for row in rows if row["ct_event"]["event"] == "destroyed"]
    assert reasons(destroyed) == {
        (1, "deleted"): 61,
        (6, "reset"): 15,
        (6, "flushed"): 1,
        (17, "deleted"): 100,
        (17, "flushed"): 20,
        (58, "flushed"): 1,
        (132, "deleted"): 60,
    }
    assert {row["task"]["comm"] for row in destroyed if row["ct_event"]["reason"] == "flushed"} == {
        "conntrack"
    }
    tags = {row["ct"]["reply_vtag"] for row in created if row["ct"]["protocol"] == 132}
    assert tags == set(range(7000, 7060)), "what INIT says of itself is what replies must have"


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_time_runs_out() -> None:
    with tracking() as net:
        net.router.sysctl({"netfilter.nf_conntrack_udp_timeout": 1})

        def traffic() -> None:
            udp_send(net.a, net.b.v4, b"?", port=6000, source_port=6001)
            udp_send(net.a, net.b.v4, b"?", port=6000, source_port=6002)
            time.sleep(2)  # not a condition to wait for: to look at the table takes what is over out of it
            udp_send(net.a, net.b.v4, b"?", port=6000, source_port=6001)
            net.router.run("conntrack", "-L")

        rows = events(record(traffic, collectors=("ct", "ns"), ct_events=True), inode=net.router.inode)
    told = [(row["ct_event"]["event"], row["ct_event"]["reason"], row["ct"]["orig_sport"]) for row in rows]
    # The kernel's own collection may come before the new packet, or the list, finds it.
    assert Counter(told) == {
        ("created", None, 6001): 2,
        ("created", None, 6002): 1,
        ("destroyed", "timeout", 6001): 1,
        ("destroyed", "timeout", 6002): 1,
    }
    assert {row["ct"]["timeout_ms"] for row in rows if row["ct_event"]["event"] == "destroyed"} == {0}


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_a_new_connection_with_the_same_ports() -> None:
    def connect() -> None:
        with net.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sender.settimeout(30)
            sender.bind((net.a.v4, 5050))
            sender.connect((net.b.v4, PORT))

    def traffic() -> None:
        with net.b.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind((net.b.v4, PORT))
            listener.listen()
            connect()
            connect()

    with tracking() as net:
        rows = events(record(traffic, collectors=("ct", "ns"), ct_events=True), inode=net.router.inode)
    assert [(row["ct_event"]["event"], row["ct_event"]["reason"]) for row in rows] == [
        ("created", None),
        ("destroyed", "replaced"),
        ("created", None),
    ]
    assert rows[1]["ct"]["proto_state"] == "CLOSE"


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_what_users_add() -> None:
    line = "-I -p udp -s 192.0.2.77 -d 192.0.2.78 --sport 7 --dport 8 -t 100 -u SEEN_REPLY"
    with tracking() as net:
        net.router.run("conntrack", "-L")  # has its module loaded
        done = record(
            lambda: net.router.run("conntrack", *line.split()), collectors=("ct", "ns"), ct_events=True
        )
        (row,) = events(done, inode=net.router.inode)
    assert (row["ct_event"]["event"], row["ct_event"]["reason"]) == ("created", "added")
    assert (row["ct"]["orig_src"], row["ct"]["orig_dport"], row["task"]["comm"]) == (
        "192.0.2.77",
        8,
        "conntrack",
    )


@contextmanager
def small_table(size: int) -> Iterator[None]:
    """Let every namespace have few connections, in few buckets, so that some is found to make room."""
    values = {"nf_conntrack_max": size, "nf_conntrack_buckets": 512}
    paths = {Path("/proc/sys/net/netfilter", name): value for name, value in values.items()}
    before = {path: path.read_text() for path in paths}
    try:
        for path, value in paths.items():
            path.write_text(str(value))
        yield
    finally:
        for path, text in reversed(before.items()):
            path.write_text(text)


@pytest.mark.needs("kprobe")
def test_a_full_table() -> None:
    def traffic() -> None:
        for port in range(10000, 10300):
            with suppress(PermissionError):  # nothing could be dropped for it, for a moment
                udp_send(net.a, net.b.v4, b"?", port=port)

    with tracking() as net, conntrack_events(net.router) as monitor, small_table(100):
        done = record(traffic, collectors=("ct", "ns"), ct_events=True)
        rows = events(done, inode=net.router.inode)
        theirs = monitor.events(at_least=len(rows))
    assert Counter(map(event, rows)) == Counter(theirs)
    destroyed = [row for row in rows if row["ct_event"]["event"] == "destroyed"]
    assert len(destroyed) > 20
    assert {(row["ct_event"]["reason"], row["ct_event"]["by"]) for row in destroyed} <= {
        ("early_drop", "early_drop"),
        ("early_drop", "gc_worker"),
    }


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_a_namespace_that_ends() -> None:
    inodes = []

    def traffic() -> None:
        with two_ns() as pair, nft(pair.a.ns, OWN):
            inodes.append(pair.a.ns.inode)
            assert ping(pair.a, pair.b.v4) == 1

    def gone(hits: dict[str, int]) -> bool:
        return any(hits[symbol] for symbol in hits if symbol != CREATED)

    with tracking():
        done = record(traffic, collectors=("ct", "ns"), ct_events=True, enough=gone)
    rows = [row for row in events(done, inode=inodes[0]) if row["ct"]["protocol"] == 1]
    assert [(row["ct_event"]["event"], row["ct_event"]["reason"]) for row in rows] == [
        ("created", None),
        ("destroyed", "netns_exit"),
    ]


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_labels_and_an_address_that_is_gone() -> None:
    def traffic() -> None:
        udp_send(net.a, net.b.v4, b"?", port=7001)
        udp_send(net.a, net.b.v4, b"?", port=7002)
        net.router.ip(f"link set {net.to_b.dev} down")

    with tracking(HIDDEN) as net:
        done = record(
            traffic,
            collectors=("ct", "ns"),
            ct_events=True,
            enough=lambda hits: sum(hits.values()) >= 4,
        )
        rows = events(done, inode=net.router.inode)
    assert reasons(rows) == {(17, None): 2, (17, "masquerade"): 2}
    labels = {row["ct"]["orig_dport"]: (row["ct"]["labels_low"], row["ct"]["labels_high"]) for row in rows}
    assert labels == {7001: (1 << 5, 1 << 36), 7002: (None, None)}
    for row in rows:
        assert row["ct"]["reply_dst"] == net.to_b.v4


@pytest.mark.needs("kprobe")
@pytest.mark.ends_only
def test_filters_choose_the_connections_of_their_packets() -> None:
    def traffic() -> None:
        for port in range(7001, 7005):
            udp_send(net.a, net.b.v4, b"?", port=port)
        net.router.run("conntrack", "-F")

    for collectors in (("ct", "ns"), ("skb-tracking", "skb", "ct", "ns")):
        with tracking() as net:
            udp_send(net.a, net.b.v4, b"before", port=7003, source_port=7000)
            done = record(
                traffic,
                collectors=collectors,
                ct_events=True,
                probes=(RX, TX),
                filters=FilterOptions(packet="udp dst port 7002 or udp dst port 7003"),
            )
            rows = events(done, inode=net.router.inode)
        assert not any("nothing passes" in note for note in done.plan.notes)
        told = [(row["ct_event"]["event"], row["ct"]["orig_dport"]) for row in rows]
        assert Counter(told) == {
            (what, port): 1 for what in ("created", "destroyed") for port in (7002, 7003)
        }


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_a_namespace_chooses_its_own() -> None:
    with tracking() as net, nft(net.a.ns, OWN):
        udp_send(net.a, net.b.v4, b"before", port=7003)

        def traffic() -> None:
            udp_send(net.a, net.b.v4, b"?", port=7004)
            for ns in (net.router, net.a.ns):
                ns.run("conntrack", "-F")

        filters = FilterOptions(netns=net.router.name)
        done = record(traffic, collectors=("ct",), ct_events=True, filters=filters)
        rows = events(done)
        assert not connections(net.router)
    told = [(row["ct_event"]["event"], row["ct"]["orig_dport"]) for row in rows]
    assert told[0] == ("created", 7004)
    assert set(told[1:]) == {("destroyed", 7003), ("destroyed", 7004)}
    assert len(told) == 3
