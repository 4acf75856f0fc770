"""Pairs of packet filter and packet in fyke's own program and the real kernel: its verdicts are libpcap's.

The packets are made up in kernel memory (live.image), most of them linear. What can't be read of
the others is never a match by chance: where the rest would matter it is counted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

import pytest

from live.filter_pairs import (
    Libpcap,
    Packet,
    expression,
    filtering,
    mismatch,
    packet,
    readable,
    verdict_of,
    without_link_layer,
)
from live.image import HEADROOM, Image
from live.recording import kernel

pytestmark = pytest.mark.ends_only

# For an emulated kernel, where loading takes seconds: each has something that the others don't.
FEW = (
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 or icmp6 or src host 10.0.0.1",
    "(ip[ip[0] & 15] & 7 = 4 or ip6[40 + (ip6[6] & 3):4] > 9) or portrange 53-443",
    "vlan 100 and (udp or ip6 net 2001:db8::/32) or mpls 1000 or len % 7 = 3",
    "not ether src 02:00:00:00:00:01 and (arp or tcp[(tcp[12] & 0xf0) >> 2:2] > 0x1703 or greater 300)",
    "ip6 or (1 << (ip[8] - 30) = 0 and len % ip[1] > 3)",
)
ADDRESSES, TAG = 12, 4


def filters_of(random: Random, count: int) -> Iterator[str]:
    """Yield expressions that are accepted."""
    while count:
        text = expression(random)
        if Libpcap.accepts(text):
            yield text
            count -= 1


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with Image(kernel()) as image:
        yield image


@pytest.mark.parametrize(
    ("made", "count"),
    [pytest.param(60, 150, id="made_up", marks=pytest.mark.host_only), pytest.param(0, 150, id="few")],
)
def test_random_packets(image: Image, made: int, count: int) -> None:
    random = Random(count)
    texts: Sequence[str] = list(filters_of(random, made)) if made else FEW
    wrong: list[str] = []
    kinds: Counter[str] = Counter()
    for number, text in enumerate(texts):
        libpcap = Libpcap(text)
        with filtering(number, packet=text) as run:
            for one in filter(readable, (packet(random) for _ in range(count))):
                # skb->data is at the link-layer header when sent, behind it when received.
                data_at = random.choice((0, one.network))
                pairs = [(libpcap.ethernet, one, verdict_of(run, image, one, data_at=data_at))]
                raw = one.from_network()
                if readable(raw) and random.random() < 0.4:
                    pairs.append((libpcap.raw, raw, without_link_layer(run, image, raw)))
                for program, judged, verdict in pairs:
                    kinds["recorded" if verdict.recorded else "rejected"] += 1
                    kinds.update(verdict.counted.keys() & {"unreadable", "no_link_layer"})
                    if why := mismatch(program, judged, verdict):
                        wrong.append(f"{text}: {why}: {judged}")
    assert not wrong
    assert kinds["recorded"] + kinds["rejected"] > len(texts) * count
    assert all(kinds[kind] > 15 for kind in ("recorded", "rejected", "unreadable", "no_link_layer")), kinds


# Where the bytes are


TCP = bytes.fromhex("020000000002020000000001 0800 4500003c00004000400600000a0000010a000002") + bytes.fromhex(
    "0050ffff000000010000000250020400000000000000000000000000"
)
# Each load ends a byte behind the one before, near the head and past it, absolute and at an offset: one that
# goes too far finds what fills the room behind a packet (live.image).
FARTHER = (
    "ether[20] = 0xee or ether[21] = 0xee or ether[22:2] & 0xff = 0xee or ether[21:4] & 0xff = 0xee"
    " or tcp[14] = 0xee or tcp[15] = 0xee or tcp[15:2] & 0xff = 0xee or tcp[14:4] & 0xff = 0xee"
    " or ether[76] = 0xee or ether[77] = 0xee or ether[77:2] & 0xff = 0xee or ether[79] = 0xa5 or len = 57"
)
# What was checked on one way to a load, or of another offset, holds for that only.
OTHERWISE = (
    "len > 46 and ip[34] = 1 or ip[30] = 0xee"
    " or (tcp[13] & 2 = 0 and tcp[30] = 1 or tcp[22] = 0xee) or ip[len - 40] = 0xee or ip[len - 14] = 0xee"
)


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        pytest.param(FARTHER, 0, id="farther"),
        pytest.param(OTHERWISE, 1, id="otherwise"),
        pytest.param(FARTHER, 2, id="farther_2", marks=pytest.mark.host_only),
        pytest.param(OTHERWISE, 3, id="otherwise_3", marks=pytest.mark.host_only),
    ],
)
def test_every_length(image: Image, text: str, lacks: int) -> None:
    libpcap = Libpcap(text)
    wholes = [TCP.ljust(79, b"\0") + b"\xa5", TCP[:48] + b"\xee", TCP.ljust(76, b"\0") + b"\xee"]
    with filtering(lacks, packet=text) as run:
        for whole in wholes:
            for length, most in product(range(1, len(whole) + 1), (80, 54, 34)):
                one = Packet(whole[:length], min(length, most), 14)
                assert mismatch(libpcap.ethernet, one, verdict_of(run, image, one)) == "", one
                raw = one.from_network()
                if readable(raw):
                    verdict = without_link_layer(run, image, raw)
                    assert mismatch(libpcap.raw, raw, verdict) == "", raw
        nothing = verdict_of(run, image, Packet(TCP, 0, 14))
    assert not nothing.recorded


def test_the_end_of_memory(image: Image) -> None:
    """What can be read counts, also where the packet's memory is the last there is or ends early."""
    text = "tcp port 80 and ip[60] = 0xee"
    whole = TCP.ljust(75, b"\xee")
    libpcap = Libpcap(text)
    with filtering(packet=text) as run:
        for behind in range(0, 200, 3):  # bytes from the packet's end to the memory's
            image.clear()
            skb, start = at_the_end(image, whole, behind)
            verdict = run(skb)
            if start + 160 <= image.unmapped:
                assert mismatch(libpcap.ethernet, Packet(whole, 75, 14), verdict) == ""
                assert verdict.recorded
            elif not verdict.recorded:
                # A packet's head is fetched as one; the kernel has struct skb_shared_info behind it.
                assert verdict.counted["unreadable"] == 1
        # The tail is beyond the memory: nothing is made up.
        image.clear()
        skb, _ = at_the_end(image, whole[:60], 0, tail=75)
        verdict = run(skb)
    assert (verdict.recorded, verdict.counted["unreadable"]) == (False, 1)


def at_the_end(image: Image, content: bytes, behind: int, tail: int = 0) -> tuple[int, int]:
    """Put a packet where the image ends; return its skb and where it starts."""
    start = image.unmapped - behind - len(content)
    image.write_bytes(start, content)
    head = start - HEADROOM
    length = tail or len(content)
    where = {"mac_header": HEADROOM, "network_header": HEADROOM + 14, "tail": HEADROOM + length}
    return image.struct("sk_buff", head=head, data=start, len=length, **where), start


# VLAN tags that the kernel keeps beside the bytes


def tagged(one: Packet, proto: int, tci: int) -> Packet:
    """Return the packet with a tag in its place. A linear area without room for one is as it was."""
    if one.seen <= ADDRESSES:
        return one
    tag = struct.pack("!HH", proto, tci)
    whole = one.whole[:ADDRESSES] + tag + one.whole[ADDRESSES:]
    return Packet(whole, one.seen + TAG, one.network + TAG)


VLAN = "greater 280 or (vlan 100 and (udp port 53 or tcp or len % 7 = 3 or ether[170] > 99 or vlan 1))"
NO_VLAN = "udp port 53 or tcp or ether[14:2] & 0xfff = 100 or len % 7 = 3 or ether[170] > 99 or greater 280"


@pytest.mark.parametrize("text", [VLAN, NO_VLAN], ids=["seen", "not_seen"])
@pytest.mark.parametrize(
    ("lacks", "count"), [(0, 150), *(pytest.param(n, 600, marks=pytest.mark.host_only) for n in (0, 1, 2))]
)
def test_accelerated_vlan_tags(image: Image, lacks: int, count: int, text: str) -> None:
    random = Random(7)
    libpcap = Libpcap(text)
    kinds: Counter[bool] = Counter()
    with filtering(lacks, packet=text) as run:
        for _ in range(count):
            one = packet(random)
            if not readable(one):
                continue
            tag = random.choice((0x8100, 0x88A8)), random.choice((100, 0x2064, 100, 1, 0))
            verdict = verdict_of(run, image, one, vlan=tag)
            assert mismatch(libpcap.ethernet, tagged(one, *tag) if text == VLAN else one, verdict) == "", one
            kinds[verdict.recorded] += 1
            raw = one.from_network()
            if readable(raw):  # there is no link-layer header that the tag could be in
                assert mismatch(libpcap.raw, raw, without_link_layer(run, image, raw, vlan=tag)) == "", one
    assert min(kinds[True], kinds[False]) > count / 10


@pytest.mark.parametrize("text", ["ether host 02:00:00:00:00:01", "vlan 5", "link[0] & 1 = 0 or tcp"])
def test_what_needs_a_link_layer_header_counts_packets_without(image: Image, text: str) -> None:
    with filtering(packet=text) as run:
        one = Packet(TCP, len(TCP), 14).from_network()
        verdict = without_link_layer(run, image, one)
    assert (verdict.recorded, verdict.counted) == (False, {"hits": 1, "no_link_layer": 1})
