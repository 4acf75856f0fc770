"""Where no argument is a packet, a device or a namespace, but leads to one."""

from __future__ import annotations

from fyke.capture.getters import GETTERS, steps
from live.recording import Recording, kernel, record
from live.topology import two_ns
from live.traffic import tcp_transfer

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
