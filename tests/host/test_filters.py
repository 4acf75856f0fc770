"""Filters on live traffic: what is recorded is what was asked for, and what others saw of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fyke.capture.filters import FilterOptions
from live import traffic
from live.emulated import few
from live.recording import RX, TX, Recording, Row, ipv4, packet_id, record, udp_payload
from live.sockets import know_each_other
from live.sources import capture
from live.topology import TwoNs, nft, tunnel, two_ns, vlan

pytestmark = pytest.mark.ends_only

DROP = "skb:kfree_skb"
PROBES = (f"tp:{RX}", f"tp:{TX}")
HEADERS = 14 + 20 + 20
# Without tracking: a packet that matched once is followed, whatever it looks like later.
JUDGED = ("skb", "ns", "dev")


def filtered(run: Callable[[], object], collectors: tuple[str, ...] = JUDGED, **filters: Any) -> Recording:
    return record(run, collectors=collectors, probes=PROBES, filters=FilterOptions(**filters))


def some_of_everything(pair: TwoNs) -> None:
    traffic.ping(pair.a, pair.b.v4)
    traffic.ping(pair.a, pair.b.v6)
    traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"short")
    traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"long" * 200, port=5353)
    traffic.tcp_transfer(pair.a, pair.b, pair.b.v4, 3000)


@pytest.mark.parametrize(
    "expression",
    few(
        (
            "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
            "ether src 02:00:00:00:00:01 and not ip6",
            "icmp or icmp6",
            "udp port 5353 and greater 300",
        ),
        2,
    ),
)
def test_a_packet_filter_takes_what_tcpdump_takes(expression: str) -> None:
    with (
        two_ns() as pair,
        capture(pair.b.ns, pair.b.dev, expression, direction="in", snaplen=HEADERS) as seen,
    ):
        recording = filtered(lambda: some_of_everything(pair), packet=expression)
        received = recording.at(RX, dev=pair.b.dev)
        theirs = seen.wait(max(len(received), 1))
    # Of a local sender's TCP only the headers are in the linear area, and recorded.
    assert sorted(p.data for p in theirs) == sorted(row["packet"]["data"][:HEADERS] for row in received)
    assert recording.hits[RX] > recording.written[RX]


RENAMED = """table ip t {
  chain c {
    type nat hook prerouting priority -100
    udp dport 4000 dnat to 192.0.2.2:4001
  }
}"""


@pytest.mark.parametrize(("port", "followed"), [(4000, True), (4001, False)])
def test_a_packet_that_matched_once_is_followed(port: int, followed: bool) -> None:
    """b gets it for port 4000, makes it 4001 of it, where nobody listens: there it is dropped."""
    with two_ns() as pair, nft(pair.b.ns, RENAMED):
        know_each_other(pair.a, pair.b)
        recording = record(
            lambda: traffic.udp_send(pair.a, pair.b.v4, b"renamed", port=4000),
            collectors=("skb-tracking", "skb", "skb-drop", "ns"),
            probes=PROBES,
            filters=FilterOptions(packet=f"udp dst port {port}"),
        )
    rows = [row for row in recording.rows if udp_payload(row) == b"renamed"]
    assert [row["kernel"]["symbol"] for row in rows] == [TX, RX, DROP] if followed else [DROP]
    ports = [int.from_bytes(ipv4(row)[22:24]) for row in rows]
    assert ports == ([4000, 4000, 4001] if followed else [4001])
    assert len({packet_id(row) for row in rows}) == 1


@pytest.mark.needs("vlan")
def test_vlan_means_the_tag_wherever_it_is() -> None:
    with vlan(7) as (plain, tagged):

        def both() -> None:
            traffic.ping(tagged.a, tagged.b.v4)
            traffic.ping(plain.a, plain.b.v4)

        one = filtered(both, packet="vlan 7 and icmp")
        other = filtered(both, packet="vlan 8")
        none = filtered(both, packet="icmp and dst host 203.0.113.2")
    addresses = {ipv4_addresses(row) for row in one.rows}
    assert addresses == {("203.0.113.1", "203.0.113.2"), ("203.0.113.2", "203.0.113.1")}
    # On the lower devices the kernel keeps the tag beside the bytes; on the upper ones there is none.
    assert {row["dev"]["name"] for row in one.rows} == {plain.a.dev, plain.b.dev}
    assert all(row["vlan_accel"] and row["vlan_accel"]["vid"] == 7 for row in one.rows)
    assert not [row for row in other.rows if ipv4_addresses(row)]
    # As in Retis and tcpdump, an expression without `vlan` doesn't mind a tag beside the bytes.
    assert [row for row in none.at(RX, dev=plain.b.dev) if row["vlan_accel"]]


def ipv4_addresses(row: Row) -> tuple[str, str] | None:
    ip = ipv4(row)
    return (".".join(map(str, ip[12:16])), ".".join(map(str, ip[16:20]))) if ip else None


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.needs(kind)) for kind in ("vxlan", "geneve", "gre", "ipip")]
)
def test_an_inner_filter_sees_into_tunnels(kind: str) -> None:
    with two_ns() as pair, tunnel(pair, kind) as inside:

        def run() -> None:
            traffic.ping(inside.a, inside.b.v4)
            traffic.udp_send(inside.a, inside.b.v4, b"inside", port=7777)
            traffic.udp_send(pair.a, pair.b.v4, b"outside", port=7777)

        with capture(pair.b.ns, pair.b.dev, "ip", direction="in") as seen:
            pings = filtered(run, inner="icmp[icmptype] == icmp-echo and src host 198.51.100.1")
            theirs = [p for p in seen.wait(1, lambda p: is_ping_inside(p.data)) if is_ping_inside(p.data)]
        assert [p.data[:256] for p in theirs] == [
            row["packet"]["data"] for row in pings.at(RX, dev=pair.b.dev)
        ]
        # 5.10 leaves the outer packet's link-layer header in front of what it unwrapped from IPIP.
        assert {row["dev"]["name"] for row in pings.rows} - {inside.b.dev} == {pair.a.dev, pair.b.dev}
        udp = filtered(run, inner="udp port 7777", packet=f"host {pair.a.v4}")
        assert udp.at(RX, dev=pair.b.dev)
        assert all(b"inside" in row["packet"]["data"] for row in udp.rows)


def is_ping_inside(frame: bytes) -> bool:
    addresses = bytes([198, 51, 100, 1, 198, 51, 100, 2])
    at = frame.find(addresses)
    return at > 0 and frame[at - 12 + 9] == 1 and frame[at + 8] == 8
