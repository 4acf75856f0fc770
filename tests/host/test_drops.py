"""Drops: the kernel's reason, as often as the kernel's own counters say."""

from __future__ import annotations

import json
import socket

import pytest

from fyke.capture.plan import Options
from live.recording import Recording, kernel, record, udp_payload
from live.sockets import know_each_other, udp_socket
from live.sources import counters
from live.topology import nft, routed, slow_queue, two_ns
from live.traffic import PORT, ethernet, ipv4, send_frame, udp, udp_send

DROP = "skb:kfree_skb"


def reasons_of(recording: Recording, payload: bytes, netns: int | None = None) -> list[str]:
    """Return the drop reasons of packets whose payload begins like this, in one namespace if asked."""
    return [
        row["skb_drop"]["drop_reason"]
        for row in recording.at(DROP)
        if (udp_payload(row) or b"").startswith(payload) and netns in (None, row["netns"]["inum"])
    ]


def expected(*names: str) -> set[str]:
    """Return the names a drop may have here: kernels name more reasons with time, older ones none."""
    return {*names, "NOT_SPECIFIED"} if not _has(names) else set(names)


def _has(names: tuple[str, ...]) -> bool:
    known = {name.removeprefix("SKB_DROP_REASON_") for name in kernel().enum("skb_drop_reason").values()}
    return bool(known & set(names))


def test_defaults_record_drops() -> None:
    assert DROP in {probe.symbol for probe in record(lambda: None, **vars(Options())).plan.probes}


def test_no_socket() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        before = counters(pair.b.ns)["Udp.NoPorts"]
        recording = record(lambda: udp_send(pair.a, pair.b.v4, *[b"nobody"] * 7), collectors=("auto",))
        counted = counters(pair.b.ns)["Udp.NoPorts"] - before
    reasons = reasons_of(recording, b"nobody")
    assert len(reasons) == counted == 7
    assert set(reasons) <= expected("NO_SOCKET")


def test_no_route() -> None:
    """The router has no way to the address: it counts and drops."""
    with routed() as net:
        router = net.router.inode
        before = counters(net.router)
        recording = record(lambda: udp_send(net.a, "203.0.113.9", *[b"lost"] * 4), collectors=("auto",))
        after = counters(net.router)
    reasons = reasons_of(recording, b"lost", router)
    assert len(reasons) == 4
    assert sum(after[name] - before[name] for name in ("IpExt.InNoRoutes", "Ip.OutNoRoutes")) == 4
    assert set(reasons) <= expected("IP_INNOROUTES", "IP_OUTNOROUTES")


def test_bad_checksum() -> None:
    """Datagrams with a wrong UDP checksum, made here; the receiver has a socket but must not get them."""
    with two_ns() as pair, udp_socket(pair.b) as receiver:
        know_each_other(pair.a, pair.b)
        receiver.settimeout(0.2)
        datagram = udp(pair.a.v4, pair.b.v4, b"broken", bad_checksum=True)
        frame = ethernet(pair.a, pair.b, 0x0800, ipv4(pair.a.v4, pair.b.v4, socket.IPPROTO_UDP, datagram))
        before = counters(pair.b.ns)["Udp.InCsumErrors"]

        def traffic() -> None:
            for _ in range(3):
                send_frame(pair.a, frame)
            # UDP checks the checksum when the datagram is read.
            with pytest.raises(TimeoutError):
                receiver.recv(100)

        recording = record(traffic, collectors=("auto",))
        counted = counters(pair.b.ns)["Udp.InCsumErrors"] - before
    reasons = reasons_of(recording, b"broken")
    assert len(reasons) == counted == 3
    assert set(reasons) <= expected("UDP_CSUM")


def test_full_socket() -> None:
    """More datagrams than the receive buffer holds."""
    with two_ns() as pair, udp_socket(pair.b, receive_buffer=1):
        know_each_other(pair.a, pair.b)
        before = counters(pair.b.ns)["Udp.RcvbufErrors"]
        recording = record(lambda: udp_send(pair.a, pair.b.v4, *[b"toomuch" * 50] * 40), collectors=("auto",))
        counted = counters(pair.b.ns)["Udp.RcvbufErrors"] - before
    reasons = reasons_of(recording, b"toomuch")
    assert counted > 10
    assert len(reasons) == counted
    assert set(reasons) <= expected("SOCKET_RCVBUFF", "PROTO_MEM")


@pytest.mark.needs("tbf")
def test_full_queue() -> None:
    """A token bucket that lets next to nothing through, and a queue for two packets."""
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        sender = pair.a.ns.inode
        with slow_queue(pair.a, limit_bytes=3000):
            recording = record(
                lambda: udp_send(pair.a, pair.b.v4, *[b"queued" * 200] * 30), collectors=("auto",)
            )
            said = pair.a.ns.run("tc", "-s", "-j", "qdisc", "show", "dev", pair.a.dev).stdout
    counted = sum(discipline.get("drops", 0) for discipline in json.loads(said))
    # The few that get through are dropped at the receiver, where nobody listens.
    reasons = reasons_of(recording, b"queued", sender)
    assert counted > 10
    assert len(reasons) == counted
    assert set(reasons) <= expected("QDISC_DROP", "QDISC_OVERLIMIT")


def test_firewall() -> None:
    rules = f"""
        table ip filter {{
            chain input {{
                type filter hook input priority 0;
                udp dport {PORT} counter drop
            }}
        }}
    """
    with two_ns() as pair, nft(pair.b.ns, rules):
        know_each_other(pair.a, pair.b)
        recording = record(lambda: udp_send(pair.a, pair.b.v4, *[b"refused"] * 5), collectors=("auto",))
        chain = pair.b.ns.run("nft", "list", "chain", "ip", "filter", "input").stdout
    assert "counter packets 5" in chain
    reasons = reasons_of(recording, b"refused")
    assert len(reasons) == 5
    assert set(reasons) <= expected("NETFILTER_DROP")
