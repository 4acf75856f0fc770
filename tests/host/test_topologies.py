"""The ground that live tests stand on: packets take the ways they should, and second sources see them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from live import traffic
from live.netns import Netns
from live.sources import Captured, bpf_objects, capture, counters, links, queues
from live.topology import Host, bridged, mirrored, nft, offloads, routed, slow_queue, two_ns, vlan

VLAN, SERVICE_VLAN, IPV4 = b"\x81\x00", b"\x88\xa8", b"\x08\x00"


@pytest.mark.host_only
def test_two_namespaces_reach_each_other() -> None:
    with two_ns() as pair:
        assert traffic.ping(pair.a, pair.b.v4) == 1
        assert traffic.ping(pair.a, pair.b.v6, count=2) == 2
        assert traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"four") == b"four"
        assert traffic.udp_echo(pair.b, pair.a, pair.a.v6, b"six") == b"six"
        assert traffic.tcp_transfer(pair.a, pair.b, pair.b.v4, 100_000) == 100_000
        assert links(pair.a.ns)[pair.a.dev]["ifindex"] == pair.a.ifindex
        assert links(pair.a.ns)[pair.a.dev]["address"] == pair.a.mac
        assert pair.a.ns.inode != pair.b.ns.inode


@pytest.mark.host_only
def test_nothing_is_left_of_a_topology() -> None:
    with routed() as net:
        left = [net.a.ns.path, net.router.path, net.b.ns.path]
        assert all(path.exists() for path in left)
    assert not any(path.exists() for path in left)


@pytest.mark.host_only
def test_a_topology_that_fails_half_way_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(Path("/run/netns").glob("fyke-*"))
    made: list[Netns] = []

    def fail(ns: Netns, values: dict[str, int]) -> None:
        made.append(ns)
        raise OSError("no such sysctl")

    monkeypatch.setattr(Netns, "sysctl", fail)
    with pytest.raises(OSError, match="no such sysctl"), two_ns():
        pass
    assert made
    assert made[0].path not in before
    assert not made[0].path.exists()


@pytest.mark.host_only
def test_a_router_forwards_and_knows_no_other_way() -> None:
    with routed() as net:
        assert traffic.ping(net.a, net.b.v4) == 1
        assert traffic.ping(net.a, net.b.v6) == 1
        before = counters(net.router)
        traffic.udp_send(net.a, "203.0.113.9", b"no way")
        assert traffic.ping(net.a, net.b.v4) == 1  # behind it: so it has arrived
        assert counters(net.router)["IpExt.InNoRoutes"] - before["IpExt.InNoRoutes"] == 1


@pytest.mark.host_only
def test_a_bridge_forwards() -> None:
    with bridged() as (pair, switch):
        assert traffic.ping(pair.a, pair.b.v4) == 1
        ports = [link for link in links(switch).values() if link.get("master") == switch.name]
        assert len(ports) == 2


@pytest.mark.needs("vlan")
@pytest.mark.parametrize("outer", [None, 7])
def test_frames_bear_a_vlan_tag(outer: int | None) -> None:
    with vlan(42, outer=outer) as (plain, tagged), capture(plain.b.ns, plain.b.dev, direction="in") as seen:
        assert traffic.udp_echo(tagged.a, tagged.b, tagged.b.v4, b"tagged") == b"tagged"
        (frame,) = seen.wait(1, lambda packet: b"tagged" in packet.data)
    inner = VLAN + (42).to_bytes(2) + IPV4
    assert frame.data[12:].startswith(inner if outer is None else SERVICE_VLAN + (7).to_bytes(2) + inner)


@pytest.mark.host_only
def test_tcpdump_sees_the_bytes_that_were_sent() -> None:
    with two_ns() as pair, capture(pair.b.ns, pair.b.dev, "udp", direction="in") as seen:
        port = traffic.udp_send(pair.a, pair.b.v4, b"one", b"two")
        packets = seen.wait(2)
    datagrams = [traffic.ethernet(pair.a, pair.b, 0x0800, b"")[:14] == packet.data[:14] for packet in packets]
    assert datagrams == [True, True]
    assert [packet.data[42:] for packet in packets] == [b"one", b"two"]
    assert {packet.data[34:36] for packet in packets} == {port.to_bytes(2)}
    assert all(packet.wire_len == 45 for packet in packets)


@pytest.mark.host_only
def test_tcpdump_that_cannot_start_says_why() -> None:
    with (
        two_ns() as pair,
        pytest.raises(RuntimeError, match="syntax error"),
        capture(pair.a.ns, pair.a.dev, "("),
    ):
        pass


@pytest.mark.host_only
def test_a_port_without_socket_is_counted() -> None:
    with two_ns() as pair:
        traffic.udp_to_nobody(pair.a, pair.b.v4)
        traffic.udp_to_nobody(pair.a, pair.b.v6)
        traffic.tcp_refused(pair.a, pair.b.v4)
        after = counters(pair.b.ns)
    assert after["Udp.NoPorts"] == 1
    assert after["Udp6NoPorts"] == 1
    assert after["Tcp.OutRsts"] == 1


@pytest.mark.host_only
def test_bad_checksums_are_counted() -> None:
    with two_ns() as pair, pair.b.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((pair.b.v4, traffic.PORT))
        receiver.settimeout(30)
        for bad_ip, bad_udp in ((True, False), (False, True), (False, False)):
            datagram = traffic.udp(pair.a.v4, pair.b.v4, b"sum", bad_checksum=bad_udp)
            packet = traffic.ipv4(pair.a.v4, pair.b.v4, 17, datagram, bad_checksum=bad_ip)
            traffic.send_frame(pair.a, traffic.ethernet(pair.a, pair.b, 0x0800, packet))
        assert receiver.recv(100) == b"sum"
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)
        after = counters(pair.b.ns)
    assert after["IpExt.InCsumErrors"] == 1
    assert after["Udp.InCsumErrors"] == 1


@pytest.mark.host_only
def test_nft_drops() -> None:
    hook = "type filter hook input priority 0"
    rules = f"table inet t {{ chain c {{ {hook}; icmp type echo-request counter drop; }}; }}"
    with two_ns() as pair:
        with nft(pair.b.ns, rules):
            traffic.send_frame(pair.a, _echo_request(pair.a, pair.b))
            assert traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"behind it") == b"behind it"
            assert "counter packets 1 " in pair.b.ns.run("nft", "list", "ruleset").stdout
        assert traffic.ping(pair.a, pair.b.v4) == 1


@pytest.mark.host_only
def test_tc_clones_what_is_sent() -> None:
    with mirrored() as (pair, mirror), capture(mirror.ns, mirror.dev, direction="in") as clones:
        assert traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"twice") == b"twice"
        (clone,) = clones.wait(1, lambda packet: b"twice" in packet.data)
    assert clone.data[:6] == bytes.fromhex(pair.b.mac.replace(":", ""))


@pytest.mark.host_only
def test_a_full_queue_drops() -> None:
    with two_ns() as pair:
        assert traffic.ping(pair.a, pair.b.v4) == 1  # so that the neighbour is known
        with slow_queue(pair.a, limit_bytes=3000):
            traffic.udp_send(pair.a, pair.b.v4, *[b"x" * 1000] * 20)
            queue = queues(pair.a.ns, pair.a.dev)["tbf"]
    assert queue["drops"] + queue["qlen"] + queue["packets"] >= 20  # and what the kernel itself had to say
    assert queue["drops"] >= 15


@pytest.mark.host_only
@pytest.mark.parametrize("segmented", [False, True])
def test_gso_segments_before_the_device_or_not_at_all(*, segmented: bool) -> None:
    def over_mtu(packet: Captured) -> bool:
        return packet.wire_len > 1514

    with two_ns() as pair:
        offloads(pair.a, tso=not segmented, gso=True)
        with capture(pair.b.ns, pair.b.dev, "tcp", direction="in", snaplen=128) as seen:
            assert traffic.tcp_transfer(pair.a, pair.b, pair.b.v4, 200_000) == 200_000
            seen.wait(1, lambda packet: bool(packet.data[47] & 0x01))  # the FIN
            large = [packet for packet in seen.packets if over_mtu(packet)]
    assert bool(large) is not segmented


@pytest.mark.host_only
def test_bpftool_lists_what_is_loaded() -> None:
    assert {found.kind for found in bpf_objects()} <= {"prog", "map", "link"}


def _echo_request(a: Host, b: Host) -> bytes:
    echo = bytes.fromhex("0800 f7fd 0001 0001")
    return traffic.ethernet(a, b, 0x0800, traffic.ipv4(a.v4, b.v4, 1, echo))
