"""Many messages at once: of a packet that GSO made of many, and of a burst of new flows."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from socket import AF_INET, SOCK_DGRAM, SOCK_STREAM, socket
from typing import NamedTuple

import pyarrow as pa
import pytest

from live import recording
from live.collected import collected
from live.datapath import counters
from live.inner_packet import inner_packet
from live.recording import Row, packet_id, parent_id
from live.sockets import know_each_other
from live.topology import TwoNs, plugged
from live.traffic import PORT
from live.vswitchd import Vswitchd, programs
from live.waiting import eventually

pytestmark = [pytest.mark.ends_only, pytest.mark.needs("openvswitch", "kprobe")]
COLLECTORS = ("skb-tracking", "skb", "ovs")
RECEIVED = "ip_local_deliver"
FLOWS, FIRST_PORT = 600, 20_000


class Switch(NamedTuple):
    """A running switch with two hosts at its bridge br0."""

    ovs: Vswitchd
    pair: TwoNs


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    recording.kernel.cache_clear()  # the module has come since
    built = programs()
    assert built
    with plugged() as (pair, ports), Vswitchd(built, tmp_path_factory.mktemp("ovs")) as ovs:
        ovs.vsctl(*f"add-br br0 -- add-port br0 {ports[0]} -- add-port br0 {ports[1]}".split())
        know_each_other(pair.a, pair.b)
        yield Switch(ovs, pair)


class Message(NamedTuple):
    """A message's events."""

    enqueue: list[Row]
    received: list[Row]
    requests: list[str]
    actions: list[Row]

    @property
    def whole(self) -> bool:
        """Whether all of it was recorded."""
        return bool(self.enqueue and self.received and "exec" in self.requests and self.actions)


def messages(rows: list[Row]) -> dict[int, Message]:
    """Return the messages that were sent, by number."""
    found: dict[int, Message] = defaultdict(lambda: Message([], [], [], []))
    for row in rows:
        if (upcall := row["ovs_upcall"]) and upcall["event"] == "upcall_enqueue" and not upcall["ret"]:
            found[upcall["queue_id"]].enqueue.append(row)
        elif row["ovs_recv"]:
            found[row["ovs_recv"]["queue_id"]].received.append(row)
        elif row["ovs_operation"]:
            found[row["ovs_operation"]["queue_id"]].requests.append(row["ovs_operation"]["op_type"])
        elif row["ovs_action"] and row["ovs_action"]["queue_id"]:
            found[row["ovs_action"]["queue_id"]].actions.append(row)
    return found


def checked(rows: list[Row], lost: int) -> list[Message]:
    """Return the messages that were recorded whole: all but those of which an event was lost.

    What comes back of each is the packet that was sent up, and all its events are of one journey.
    """
    found = messages(rows)
    whole = [message for message in found.values() if message.whole]
    assert len(found) - len(whole) <= lost
    for message in whole:
        (enqueue,), (received,) = message.enqueue, message.received
        for row in message.actions:
            assert identity(row) == identity(enqueue)
        assert received["ovs_recv"]["pkt_size"] == enqueue["packet"]["len"]
        assert {packet_id(row) for row in (received, *message.actions)} == {packet_id(enqueue)}
    return whole


def identity(row: Row) -> bytes:
    """Return what tells an event's packet from all others."""
    return inner_packet(row["packet"]["data"]).identity


def exchange(sender: socket, receiver: socket, data: bytes) -> None:
    """Send over TCP, and receive it all."""
    sender.sendall(data)
    got = b""
    while len(got) < len(data):
        got += receiver.recv(1 << 16)
    assert got == data


def test_a_packet_of_many_segments_is_many_messages(switch: Switch) -> None:
    """GSO: each segment goes up and comes back by itself, in a journey that is cut from the whole."""
    a, b = switch.pair.a, switch.pair.b
    data = bytes(range(256)) * 200

    def traffic(_batches: list[pa.RecordBatch]) -> None:
        with b.ns.socket(AF_INET, SOCK_STREAM) as listener, a.ns.socket(AF_INET, SOCK_STREAM) as sender:
            listener.bind((b.v4, PORT))
            listener.listen()
            sender.settimeout(30)
            sender.connect((b.v4, PORT))
            receiver, _ = listener.accept()
            with receiver:
                receiver.settimeout(30)
                exchange(sender, receiver, data)  # so that the next packets are large
                switch.ovs.appctl("revalidator/purge")
                exchange(sender, receiver, data)

    batches, lost = collected(
        traffic, collectors=COLLECTORS, ovs_track=True, filter="tcp", probes=[f"kprobe:{RECEIVED}"]
    )
    rows = pa.Table.from_batches(batches).to_pylist()
    of_upcall: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for message in checked(rows, lost):
        (row,) = message.enqueue
        of_upcall[row["ovs_upcall"]["upcall_timestamp_ns"], row["ovs_upcall"]["upcall_cpu"]].append(row)
    most = max(of_upcall.values(), key=len)
    assert len(most) >= 3, "the first packet after the flows had gone was one of many segments"
    begun = {
        (row["timestamp_ns"], row["cpu"]): row
        for row in rows
        if (row["ovs_upcall"] or {}).get("event") == "upcall"
    }
    headers = 14 + 20 + 32  # Ethernet, IP, TCP with the time
    for key, segments in of_upcall.items():
        if len(segments) > 1:  # each is a packet of its own, cut from the whole
            assert len({packet_id(row) for row in segments}) == len(segments)
            assert {parent_id(row) for row in segments} == {packet_id(begun[key])}
        sizes = [row["packet"]["len"] - headers for row in segments]
        assert lost or sum(sizes) == begun[key]["packet"]["len"] - headers, "all bytes of the whole"
    arrived = {
        identity(row): packet_id(row) for row in rows if row["kernel"] and row["kernel"]["symbol"] == RECEIVED
    }
    missing = [row for row in most if arrived.get(identity(row)) != packet_id(row)]
    assert len(missing) <= lost


def settle(batches: list[pa.RecordBatch]) -> None:
    """Wait until no more events come: for two seconds none."""
    seen, since = -1, 0.0

    def none_for_long() -> bool:
        nonlocal seen, since
        now = sum(map(len, batches))
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > 2

    eventually(none_for_long)


def test_a_burst_of_new_flows(switch: Switch) -> None:
    """Each datagram to a port of its own; sizes repeat, payloads don't."""
    ovs, (a, b) = switch.ovs, (switch.pair.a, switch.pair.b)
    payloads = {FIRST_PORT + n: b"%06d" % n * (4 + n % 3) for n in range(FLOWS)}
    ovs.appctl("upcall/disable-megaflows")  # each port a flow
    noted: list[Counter[str]] = []

    def traffic(batches: list[pa.RecordBatch]) -> None:
        noted.append(counters(ovs))
        with a.ns.socket(AF_INET, SOCK_DGRAM) as sender:
            for port, payload in payloads.items():
                sender.sendto(payload, (b.v4, port))
        noted.append(counters(ovs))
        settle(batches)

    batches, lost = collected(
        traffic,
        collectors=COLLECTORS,
        ovs_track=True,
        filter=f"udp dst portrange {FIRST_PORT}-{FIRST_PORT + FLOWS}",
    )
    rows = pa.Table.from_batches(batches).to_pylist()
    whole = checked(rows, lost)
    refused = noted[1]["lost"] - noted[0]["lost"]
    assert len({packet_id(message.enqueue[0]) for message in whole}) == len(whole)
    assert FLOWS - refused - lost <= len(whole) <= FLOWS - refused
