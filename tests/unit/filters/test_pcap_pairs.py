"""Packet filters have libpcap's verdicts: random expressions and programs on random packets."""

from __future__ import annotations

from random import Random

import pytest
from pcap_pairs import Tally, compare_classic, compare_expressions, compare_filter, some_packets

from fyke.filters.pcap import MATCH, REJECT, UNREADABLE
from fyke.filters.pcap.compile import compile_packet_filter

EVERYDAY = (
    "tcp port 80",
    "host 10.0.0.1 and not port 53",
    "vlan 100 and ip6",
    "mpls 1000 and ip",
    "pppoes 7 and udp",
    "geneve 11 and tcp",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "ip[6:2] & 0x1fff != 0",
    "ether host 02:00:00:00:00:01 or arp",
    "icmp6 and ip6[40] == 135",
)


def assert_same(tally: Tally) -> None:
    assert not tally.differences, "\n".join(tally.differences[:3])
    assert all(tally.verdicts[verdict] > tally.pairs // 100 for verdict in (REJECT, MATCH, UNREADABLE))


@pytest.mark.parametrize("seed", range(4))
def test_random_expressions(seed: int) -> None:
    random, tally = Random(seed), Tally()
    compare_expressions(random, 100, some_packets(random, 80), tally)
    assert tally.pairs > 6_000
    assert tally.refused < 40
    assert_same(tally)


def test_random_programs() -> None:
    """Instructions that libpcap's compiler hardly emits, among them memory read before it is written."""
    random, tally = Random(5), Tally()
    compare_classic(random, 300, some_packets(random, 20), tally)
    assert_same(tally)


@pytest.mark.parametrize("text", EVERYDAY)
def test_every_length(text: str) -> None:
    """Packets cut short at every byte."""
    packets = [one for one in some_packets(Random(text), 400) if len(one.whole) < 130]
    packet_filter, tally = compile_packet_filter(text), Tally()
    random = Random(text)
    for variable_stack_reads in (False, True):
        cut = [one.cut(seen) for one in random.sample(packets, 8) for seen in range(len(one.whole) + 1)]
        compare_filter(packet_filter, cut, tally, variable_stack_reads=variable_stack_reads)
    assert not tally.differences, "\n".join(tally.differences[:3])


@pytest.mark.parametrize("text", EVERYDAY)
def test_matches_happen(text: str) -> None:
    """The packets are such that an everyday expression takes some and leaves some."""
    random, tally = Random(text), Tally()
    compare_filter(compile_packet_filter(text), some_packets(random, 3_000), tally, variable_stack_reads=True)
    assert not tally.differences
    assert tally.verdicts[MATCH]
    assert tally.verdicts[REJECT]
