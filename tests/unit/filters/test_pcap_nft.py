"""Rules of nftables made of packet filters pass what libpcap passes, or more."""

from __future__ import annotations

from random import Random

import cypcap
import pytest
from pcap_expressions import classic, expression
from pcap_packets import Packet, packet
from pcap_pairs import CLEAR

from fyke.errors import UsageError
from fyke.filters.pcap.classic import ClassicInsn
from fyke.filters.pcap.compile import compile_packet_filter
from fyke.filters.pcap.nft import Condition, Load, Rule, rules

EXACT = (
    "icmp",
    "icmp and src 10.0.0.2",
    "not icmp",
    "host 10.0.0.1 or ip6 host 2001:db8::1",
    "net 10.0.0.0/8 and not port 53",
    "dst net 2001:db8::/32",
    "tcp port 80",
    "src port 53 and not host 10.0.0.1",
    "udp portrange 50-90",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "ip6 and not tcp",
    "ip[8] < 5 or ip proto 47",
    "icmp[icmptype] == icmp-echo",
    "not (tcp port 80 or tcp port 443) and not arp",
)


def said(text: str) -> list[Rule]:
    program = compile_packet_filter(text).raw
    assert program is not None
    found = rules(program)
    assert found is not None
    return found


def passes(found: list[Rule], data: bytes) -> bool:
    return any(all(holds(condition, data) for condition in rule) for rule in found)


def holds(condition: Condition, data: bytes) -> bool:
    """As nftables has it: what can't be read doesn't match."""
    load = condition.load
    begin = load.offset
    if load.base == "th":
        if data[0] >> 4 != 4 or int.from_bytes(data[6:8]) & 0x1FFF:
            return False
        begin += 4 * (data[0] & 0xF)
    raw = data[begin : begin + load.size]
    assert 0 <= condition.value <= load.mask <= load.whole
    assert load.offset <= 255
    return len(raw) == load.size and condition.holds(int.from_bytes(raw) & load.mask)


def ip_packets(random: Random, count: int) -> list[Packet]:
    """Packets that come to the hooks of inet: IP, with their header."""
    made: list[Packet] = []
    while len(made) < count:
        one = packet(random).from_network()
        if one.seen == len(one.whole) >= 20 and one.data[0] in (*range(0x45, 0x50), 0x60):
            made.append(one)
    return made


def judged(program: cypcap.BpfProgram, one: Packet) -> bool:
    return bool(program.offline_filter(cypcap.Pkthdr(caplen=one.seen, len=len(one.whole)), one.data))


def libpcap(text: str) -> cypcap.BpfProgram | None:
    """Return libpcap's program; the memory that it may read unset is cleared."""
    program = compile_packet_filter(text).raw
    return None if program is None else cypcap.BpfProgram([*CLEAR, *program])


@pytest.mark.parametrize("text", EXACT)
def test_everyday_filters_are_said_exactly(text: str) -> None:
    found, program = said(text), libpcap(text)
    assert program is not None
    verdicts = {judged(program, one) for one in check(text, found, program, ip_packets(Random(text), 300))}
    assert verdicts == {True, False}


def check(text: str, found: list[Rule], program: cypcap.BpfProgram, packets: list[Packet]) -> list[Packet]:
    for one in packets:
        assert passes(found, one.data) == judged(program, one), (text, one.data.hex())
    return packets


def test_random_filters_never_pass_more_than_their_rules() -> None:
    random = Random(1)
    packets = ip_packets(random, 60)
    compared = more = 0
    for _ in range(60):
        text = expression(random)
        try:
            program = libpcap(text)
            raw = compile_packet_filter(text).raw
        except UsageError:
            continue
        if program is None or raw is None or (found := rules(raw)) is None:
            continue
        for one in packets:
            theirs, ours = judged(program, one), passes(found, one.data)
            assert ours or not theirs, (text, one.data.hex())
            compared, more = compared + 1, more + (ours and not theirs)
    assert compared > 1_000
    assert more < compared / 3


def test_random_programs_never_pass_more_than_their_rules() -> None:
    random = Random(2)
    packets = ip_packets(random, 30)
    for _ in range(300):
        made = classic(random)
        found = rules(tuple(ClassicInsn(*insn) for insn in made))
        program = cypcap.BpfProgram([*CLEAR, *made])
        for one in packets:
            if found is not None and judged(program, one):
                assert passes(found, one.data)


def test_what_can_not_be_said_is_left_out() -> None:
    assert said("less 100") == [()]
    assert said("tcp and less 100") == said("tcp")
    (rule,) = said("udp and udp[300] == 5")
    assert [str(c) for c in rule][:2] == ["@nh,0,8 & 0xf0 == 0x40", "@nh,72,8 == 0x11"]
    assert all(c.load.base == "nh" for c in rule)
    program = compile_packet_filter(" or ".join(f"port {n}" for n in range(30))).raw
    assert program is not None
    assert rules(program) is None


def test_the_transport_header_is_where_both_look_for_it() -> None:
    """nftables has none in later fragments, and of IPv6 it is elsewhere than a program takes it to be."""
    header, port, accept, reject = (0xB1, 0, 0, 0), (0x48, 0, 0, 2), (0x06, 0, 0, 1), (0x06, 0, 0, 0)
    assert made(header, port, (0x15, 0, 1, 53), accept, reject) == [()]
    version = ((0x30, 0, 0, 0), (0x54, 0, 0, 0xF0), (0x15, 0, 4, 0x40))
    (rule,) = made(*version, header, port, (0x15, 0, 1, 53), accept, reject)
    assert len(rule) == 1


def test_masks_add_up() -> None:
    masks = ((0x54, 0, 0, 0x3C), (0x54, 0, 0, 0xF0))
    (rule,) = made((0x30, 0, 0, 9), *masks, (0x15, 0, 1, 0x30), (0x06, 0, 0, 1), (0x06, 0, 0, 0))
    assert rule == (Condition(Load("nh", 9, 1, 0x30), "==", 0x30),)


def made(*program: tuple[int, int, int, int]) -> list[Rule]:
    found = rules(tuple(ClassicInsn(*insn) for insn in program))
    assert found is not None
    return found


def test_as_nft_reads_it() -> None:
    assert str(Condition(Load("th", 2, 2, 0xFFFF), "!=", 80)) == "@th,16,16 & 0xffff != 0x50"
    assert str(Condition(Load("th", 13, 1, 2), "!=", 0)) == "@th,104,8 & 0x2 != 0x0"
