"""GSO segments and GRO merges carry the id of the packet they were cut from or merged into."""

from __future__ import annotations

import pytest

from live.recording import RX, TX, ipv4, packet_id, parent_id, record
from live.sockets import know_each_other
from live.topology import offloads, two_ns
from live.traffic import tcp_transfer

QUEUE, GRO = "net:net_dev_queue", "skb_gro_receive"


def payload_range(ip: bytes, length: int) -> tuple[int, int]:
    """Return the first sequence number of a TCP packet and the one behind its last byte."""
    sequence = int.from_bytes(ip[24:28], "big")
    return sequence, sequence + length - 20 - (ip[32] >> 4) * 4


@pytest.mark.needs("fentry")
def test_segments_know_their_packet() -> None:
    """The device can't segment, so the kernel does between net_dev_queue and net_dev_start_xmit."""
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        offloads(pair.a, tso=False, gso=True)
        offloads(pair.b, gro=False)
        recording = record(
            lambda: tcp_transfer(pair.a, pair.b, pair.b.v4, 60_000), probes=(f"tp:{QUEUE}", f"tp:{TX}")
        )
    whole = {packet_id(r): r for r in recording.at(QUEUE, dev=pair.a.dev) if r["packet"]["len"] > 1514}
    segments = [row for row in recording.at(TX, dev=pair.a.dev) if parent_id(row)]
    assert whole
    assert len(segments) > len(whole)
    for row in segments:
        parent = whole[parent_id(row)]  # type: ignore[index]
        first, last = payload_range(ipv4(row), row["packet"]["len"] - 14)
        from_, to = payload_range(ipv4(parent), parent["packet"]["len"] - 14)
        assert from_ <= first < last <= to, "a segment's bytes are of the packet it was cut from"
        assert packet_id(row) != packet_id(parent)
    for id_, parent in whole.items():
        mine = sum(row["packet"]["len"] - 14 - 52 for row in segments if parent_id(row) == id_)
        assert mine == parent["packet"]["len"] - 14 - 52, "all of it was cut into segments that know it"


@pytest.mark.needs("fentry", "veth_gro")
def test_merged_packets_know_where_they_went() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        offloads(pair.a, tso=False, gso=True)
        offloads(pair.b, gro=True)
        recording = record(
            lambda: tcp_transfer(pair.a, pair.b, pair.b.v4, 400_000), probes=(f"tp:{TX}", f"tp:{RX}")
        )
    merged = [row for row in recording.rows if row["kernel"]["symbol"] == GRO]
    assert merged
    received = {packet_id(row): row for row in recording.at(RX, dev=pair.b.dev)}
    for row in merged:
        into = received[parent_id(row)]  # type: ignore[index]
        assert packet_id(row) not in received, "it didn't go on by itself"
        sent = next(r for r in recording.at(TX, dev=pair.a.dev) if packet_id(r) == packet_id(row))
        first, last = payload_range(ipv4(sent), sent["packet"]["len"] - 14)
        from_, to = payload_range(ipv4(into), into["packet"]["len"] - 14)
        assert from_ <= first < last <= to, "its bytes are in the packet it was merged into"
