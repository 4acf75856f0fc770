"""Where no argument is a packet, a device or a namespace, but leads to one."""

from __future__ import annotations

import pytest

from fyke.capture.getters import GETTERS, steps
from live.recording import Recording, kernel, record, udp_payload
from live.sockets import know_each_other
from live.topology import nft, two_ns
from live.traffic import tcp_refused, tcp_transfer, udp_send

STATE, NEIGH, QDISC = "sock:inet_sock_set_state", "neigh:neigh_update", "qdisc:qdisc_destroy"
"""A socket, a neighbour, and a queue that knows its device by way of the device's queue."""


def devices(done: Recording, symbol: str) -> set[tuple[str, int, int]]:
    return {(r["dev"]["name"], r["dev"]["ifindex"], r["netns"]["inum"]) for r in done.at(symbol)}


def test_structures_lead_to_their_device_and_sockets_to_their_namespace() -> None:
    with two_ns() as pair:

        def traffic() -> None:
            tcp_transfer(pair.a, pair.b, pair.b.v4, 1000)
            pair.b.ns.ip(f"neigh replace 192.0.2.1 lladdr 02:00:00:00:00:07 dev {pair.b.dev}")
            pair.a.ns.run("tc", "qdisc", "add", "dev", pair.a.dev, "root", "pfifo")
            pair.a.ns.run("tc", "qdisc", "del", "dev", pair.a.dev, "root")

        probes = tuple(f"tp:{name}" for name in (STATE, NEIGH, QDISC))
        done = record(traffic, collectors=("dev", "ns"), probes=probes)
        a, b = [(host.dev, host.ifindex, host.ns.inode) for host in (pair.a, pair.b)]
    assert {row["netns"]["inum"] for row in done.at(STATE)} == {a[2], b[2]}
    assert all(row["dev"] is None for row in done.at(STATE)), "a socket is on no device"
    assert devices(done, QDISC) == {a}
    assert b in devices(done, NEIGH) <= {a, b}
    assert not done.gaps


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
def test_functions_without_a_device_of_the_packets_know_it_by_their_hook() -> None:
    """What is sent has no device at LOCAL_OUT; the function of a socket knows its namespace."""
    rules = "table ip t { chain o { type filter hook output priority 0; udp dport 9999 accept; }; }"
    with two_ns() as pair, nft(pair.a.ns, rules):
        know_each_other(pair.a, pair.b)

        def traffic() -> None:
            udp_send(pair.a, pair.b.v4, b"by hook")
            tcp_refused(pair.a, pair.b.v4)

        done = record(traffic, collectors=("skb", "dev", "ns"), probes=("k:nf_hook_slow", "k:tcp_v4_connect"))
        hooks = [row for row in done.at("nf_hook_slow") if udp_payload(row) == b"by hook"]
        there = [(row["dev"]["name"], row["dev"]["ifindex"], row["netns"]["inum"]) for row in hooks]
        assert there[0] == (pair.a.dev, pair.a.ifindex, pair.a.ns.inode)
        (connect,) = done.at("tcp_v4_connect")
        assert (connect["netns"]["inum"], connect["packet"]) == (pair.a.ns.inode, None)


def test_every_way_to_what_all_kernels_have_is_there() -> None:
    """A way that no kernel has any more would be one that nobody misses."""
    structs = (
        "sock",
        "socket",
        "napi_struct",
        "Qdisc",
        "neighbour",
        "nf_hook_state",
        "request_sock",
        "tcp_sock",
    )
    for getter in GETTERS:
        if getter.struct in structs:
            assert steps(kernel(), getter) is not None, f"{getter.struct}: {getter.way}"
