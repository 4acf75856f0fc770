"""Field filters and the everyday filters on live traffic, each against what others say of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from fyke.capture.filters import FilterOptions
from fyke.cli.main import main
from live import traffic
from live.netns import Netns
from live.recording import RX, TX, Recording, ipv4, record, udp_payload
from live.sockets import know_each_other
from live.sources import capture
from live.topology import TwoNs, nft, two_ns

pytestmark = pytest.mark.ends_only

PROBES = (f"tp:{RX}", f"tp:{TX}")
MARKS = """table ip t {
  chain out {
    type filter hook output priority 0
    udp dport 4001 meta mark set 0x17
    udp dport 4002 meta mark set 0x27
  }
}"""
CONNECTION_MARK = """table ip t {
  chain in {
    type filter hook input priority 0
    udp dport 4001 ct mark set 0x1234
  }
}"""


def filtered(run: Callable[[], object], sections: tuple[str, ...] = (), **filters: Any) -> Recording:
    # Without tracking: a packet that matched once is followed, whatever it looks like later.
    return record(
        run,
        collectors=("skb", "ns", "dev"),
        probes=PROBES,
        skb_sections=sections,
        filters=FilterOptions(**filters),
    )


def three_datagrams(pair: TwoNs) -> None:
    for port in (4000, 4001, 4002):
        traffic.udp_send(pair.a, pair.b.v4, str(port).encode(), port=port)


def pings(recording: Recording) -> list[str]:
    """Return where echo requests and replies were seen; neighbours may be asked for beside them."""
    return [row["kernel"]["symbol"] for row in recording.rows if ipv4(row)[9:10] == b"\x01"]


def payloads(recording: Recording, symbol: str = TX) -> list[bytes]:
    return [payload for row in recording.at(symbol) if (payload := udp_payload(row))]


@pytest.mark.host_only
@pytest.mark.parametrize(
    ("expression", "ports"),
    [
        ("sk_buff.mark:0xf == 7", [b"4001", b"4002"]),
        ("sk_buff.mark in {1, 0x20-0x2f}", [b"4002"]),
        ("not sk_buff.mark and sk_buff.protocol == 0x800", [b"4000"]),
        ("sk_buff.mark > 0x17 or sk_buff.mark == 0 and sk_buff.len == 0", [b"4002"]),
    ],
)
def test_the_mark(expression: str, ports: list[bytes]) -> None:
    with two_ns() as pair, nft(pair.a.ns, MARKS):
        know_each_other(pair.a, pair.b)
        assert payloads(filtered(lambda: three_datagrams(pair), fields=expression)) == ports


def test_the_device_and_its_namespace() -> None:
    with two_ns() as pair:
        run = partial(traffic.ping, pair.a, pair.b.v4)
        know_each_other(pair.a, pair.b)
        by_root = filtered(run, fields=f'net_device.name == "{pair.b.dev}"')
        by_inode = filtered(run, fields=f"sk_buff.dev.nd_net.net.ns.inum == {pair.b.ns.inode}")
        either = filtered(run, fields=f"net_device.mtu < 68 or net_device.ifindex == {pair.a.ifindex}")
        for recording in (by_root, by_inode):
            assert pings(recording) == [RX, TX]
            assert {row["dev"]["name"] for row in recording.rows} == {pair.b.dev}
            assert {row["netns"]["inum"] for row in recording.rows} == {pair.b.ns.inode}
        assert pair.a.dev in {row["dev"]["name"] for row in either.rows}


def test_the_mark_of_the_connection() -> None:
    with two_ns() as pair, nft(pair.b.ns, CONNECTION_MARK):

        def run() -> None:
            for port in (4000, 4001):
                traffic.udp_echo(pair.a, pair.b, pair.b.v4, str(port).encode(), port=port)

        know_each_other(pair.a, pair.b)
        recording = filtered(run, fields="nf_conn.mark == 0x1234")
        like_retis = filtered(run, fields="sk_buff._nfct:~0x7:nf_conn.mark == 0x1234")
    for found in (recording, like_retis):
        assert payloads(found) == [b"4001"]  # the answer; when it came in it had no connection yet
        assert {row["dev"]["name"] for row in found.rows} == {pair.b.dev}


@pytest.mark.host_only
def test_the_kind_of_packet() -> None:
    with two_ns() as pair:
        frame = traffic.ethernet(
            pair.a,
            pair.b,
            0x800,
            traffic.ipv4(pair.a.v4, pair.b.v4, 17, traffic.udp(pair.a.v4, pair.b.v4, b"astray")),
        )
        astray = bytes.fromhex("020000009999") + frame[6:]

        def run() -> None:
            traffic.send_frame(pair.a, frame)
            traffic.send_frame(pair.a, astray)

        other = filtered(run, fields="sk_buff.pkt_type == PACKET_OTHERHOST")
        ours = filtered(run, fields="sk_buff.pkt_type == 0")
    assert [row["packet"]["data"][:6] for row in other.at(RX)] == [astray[:6]]
    assert astray[:6] not in {row["packet"]["data"][:6] for row in ours.at(RX)}
    assert frame[:6] in {row["packet"]["data"][:6] for row in ours.at(RX)}


def test_clones() -> None:
    with two_ns() as pair, capture(pair.a.ns, pair.a.dev, direction="out"):  # its copies are clones

        def run() -> None:
            traffic.ping(pair.a, pair.b.v4)

        clones = filtered(run, ("dataref",), fields="sk_buff.cloned")
        others = filtered(run, ("dataref",), fields="!sk_buff.cloned")
    assert clones.at(TX, dev=pair.a.dev)
    assert others.at(TX, dev=pair.b.dev)
    assert all(row["skb_dataref"]["cloned"] for row in clones.rows)
    assert not any(row["skb_dataref"]["cloned"] for row in others.rows)


def test_both_filters_mean_both() -> None:
    with two_ns() as pair, nft(pair.a.ns, MARKS):
        know_each_other(pair.a, pair.b)
        recording = filtered(
            lambda: three_datagrams(pair), packet="udp dst port 4002", fields="sk_buff.mark:0xf == 7"
        )
    assert payloads(recording) == [b"4002"]


def test_the_socket_that_sent_a_packet() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        inet = filtered(lambda: three_datagrams(pair), fields="sock.__sk_common.skc_family == 2")
        inet6 = filtered(lambda: three_datagrams(pair), fields="sock.__sk_common.skc_family == 10")
    assert payloads(inet) == [b"4000", b"4001", b"4002"]
    assert payloads(inet6) == []


# The everyday filters


@pytest.mark.host_only
def test_the_namespace() -> None:
    with two_ns() as pair:
        run = partial(traffic.ping, pair.a, pair.b.v4)
        know_each_other(pair.a, pair.b)
        recording = filtered(run, netns=pair.b.ns.name)
        assert pings(recording) == [RX, TX]
        assert {row["netns"]["inum"] for row in recording.rows} == {pair.b.ns.inode}


def test_a_device_of_a_namespace() -> None:
    with two_ns() as pair:
        run = partial(traffic.ping, pair.a, pair.b.v4)
        know_each_other(pair.a, pair.b)
        recording = filtered(run, netns=pair.a.ns.name, netif=pair.a.dev)
        loopback = filtered(run, netns=pair.a.ns.name, netif="lo")
    assert {row["dev"]["name"] for row in recording.rows} == {pair.a.dev}
    assert pings(recording) == [TX, RX]
    assert pings(loopback) == []


def test_a_process() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        sender = _waiting_sender(pair.a.ns, pair.b.v4)
        with sender:
            assert sender.stdin is not None

            def run() -> None:
                traffic.udp_send(pair.a, pair.b.v4, b"mine", port=4000)
                sender.communicate(b"go", timeout=60)

            recording = filtered(run, pid=sender.pid)
    assert payloads(recording) == [b"its own"]
    assert {row["task"]["tgid"] for row in recording.at(TX)} == {sender.pid}


def _waiting_sender(ns: Netns, to: str) -> subprocess.Popen[bytes]:
    """Start a process that sends a datagram when its input ends."""
    code = (
        "import os,socket,sys; fd=os.open(sys.argv[1], 0); import ctypes; "
        "assert not ctypes.CDLL(None).setns(fd, 0); sys.stdin.read(); "
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'its own', (sys.argv[2], 4000))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(ns.path), to], stdin=subprocess.PIPE)


def test_what_cannot_pass_anywhere_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    # Not ovs, which would have returns of its own where the module is there.
    for words in (("-m", "retval < 0"), ("-m", "tcp_sock.snd_cwnd > 10")):
        assert main(["collect", "-c", "skb,ns", *words]) == 2
        said = capsys.readouterr().err
        assert "nothing can pass the field filter" in said
        assert "hint:" in said
