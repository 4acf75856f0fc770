"""`--filter-inner` in the real kernel: its verdicts are libpcap's of the inner packet that a test put there.

What can't be read on the way to the inner packet is counted; what isn't there is no match.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random

import pytest

from live.filter_pairs import Libpcap, Packet, filtering, judge, mismatch, packet, verdict_of
from live.image import Image
from live.image_run import ImageRun, Verdict
from live.recording import kernel

pytestmark = pytest.mark.ends_only

MACS = bytes.fromhex("020000000002020000000001")
IPV4, IPV6, TEB = 0x0800, 0x86DD, 0x6558
GRE, UDP, IPIP, SIT, FRAGMENT, OPTIONS = 47, 17, 4, 41, 44, 60
INNER = "portrange 53-443 or icmp6 or ether[5] & 1 = 1 or greater 150"
INNER_L3 = "tcp or ip6[6] = 17 and less 100 or ip[8] = 1"


@dataclass(frozen=True)
class Tunnelled:
    """An outer packet. inner: where the inner one begins, None when there is none to be found."""

    whole: bytes
    network: int
    inner: int | None
    is_ethernet: bool = True


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with Image(kernel()) as image:
        yield image


# Headers


def ipv4(protocol: int, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    length = 20 + len(options) + len(payload)
    head = struct.pack("!BBHHH", 0x45 + len(options) // 4, 0, length & 0xFFFF, 1, fragment)
    return head + struct.pack("!BBHII", 64, protocol, 0, 0x0A000001, 0x0A000002) + options + payload


def ipv6(protocol: int, payload: bytes, *extensions: tuple[int, int]) -> bytes:
    """extensions: the kind of each, and its length in bytes."""
    for kind, length in reversed(extensions):
        size = 0 if kind == FRAGMENT else length // 8 - 1
        payload = bytes([protocol, size]).ljust(length, b"\1") + payload
        protocol = kind
    return struct.pack("!IHBB", 6 << 28, len(payload) & 0xFFFF, protocol, 64) + bytes(32) + payload


def udp(port: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", 40000, port, (8 + len(payload)) & 0xFFFF, 0) + payload


def vxlan(payload: bytes, *, port: int = 4789, flags: int = 8) -> bytes:
    return udp(port, struct.pack("!BBHI", flags, 0, 0, 7 << 8) + payload)


def geneve(proto: int, payload: bytes, *, options: bytes = b"", version: int = 0) -> bytes:
    head = struct.pack("!BBHI", version << 6 | len(options) // 4, 0x40, proto, 7 << 8)
    return udp(6081, head + options + payload)


def gre(proto: int, payload: bytes, *, c: int = 0, k: int = 0, s: int = 0, other: int = 0) -> bytes:
    fields = b"".join(bytes([n] * 4) for n, there in enumerate((c, k, s), 1) if there)
    return struct.pack("!HH", c << 15 | k << 13 | s << 12 | other, proto) + fields + payload


def tunnelled(network: bytes, inner: bytes | None, *tags: int, is_ethernet: bool = True) -> Tunnelled:
    """Put an Ethernet header, with tags, in front. inner: what is last in the network packet, or None."""
    link = MACS + b"".join(struct.pack("!HH", tag, 5) for tag in tags)
    link += struct.pack("!H", IPV6 if network[0] >> 4 == 6 else IPV4)
    whole = link + network
    return Tunnelled(whole, len(link), None if inner is None else len(whole) - len(inner), is_ethernet)


# What tunnels there are


def found(random: Random) -> Iterator[Tunnelled]:
    """Yield each kind of tunnel, each with another inner packet."""
    yield from ethernet_inside(random)
    yield from ip_inside(random)


def ethernet_inside(random: Random) -> Iterator[Tunnelled]:
    def frame() -> bytes:
        return bytes(packet(random).whole)

    for port in (4789, 8472):
        inner = frame()
        yield tunnelled(ipv4(UDP, vxlan(inner, port=port)), inner)
    inner = frame()
    yield tunnelled(ipv4(UDP, vxlan(inner, flags=0xFF), options=b"\1" * 40), inner)
    yield tunnelled(ipv6(UDP, vxlan(inner)), inner)
    for options in (b"", b"\0\0\0\0", bytes(60), bytes(252)):
        inner = frame()
        yield tunnelled(ipv4(UDP, geneve(TEB, inner, options=options)), inner)
    for c, k, s in product((0, 1), repeat=3):
        inner = frame()
        yield tunnelled(ipv6(GRE, gre(TEB, inner, c=c, k=k, s=s)), inner)
    inner = frame()
    yield tunnelled(ipv6(GRE, gre(TEB, inner), (0, 16), (43, 24), (OPTIONS, 8)), inner)
    yield tunnelled(ipv4(UDP, vxlan(inner)), inner, 0x8100)
    yield tunnelled(ipv6(GRE, gre(TEB, inner)), inner, 0x88A8, 0x8100)
    # The first fragment begins with what is inside.
    yield tunnelled(ipv4(UDP, vxlan(inner), fragment=0x2000), inner)


def ip_inside(random: Random) -> Iterator[Tunnelled]:
    def network() -> tuple[bytes, int, int]:
        """Return an IP packet with its ethertype and its protocol number in IP."""
        while True:
            one = packet(random)
            inner = one.whole[one.network :]
            if inner and inner[0] >> 4 in (4, 6):
                return inner, *((IPV4, IPIP) if inner[0] >> 4 == 4 else (IPV6, SIT))

    def made(outer: bytes, *tags: int) -> Tunnelled:
        return tunnelled(outer, inner, *tags, is_ethernet=False)

    for options in (b"", b"\0\0\0\0", bytes(60), bytes(252)):
        inner, ethertype, _ = network()
        yield made(ipv6(UDP, geneve(ethertype, inner, options=options)))
    for c, k, s in product((0, 1), repeat=3):
        inner, ethertype, _ = network()
        yield made(ipv4(GRE, gre(ethertype, inner, c=c, k=k, s=s)))
    for _ in range(2):
        inner, _, protocol = network()
        yield made(ipv4(protocol, inner))
        yield made(ipv6(protocol, inner))
        # Linux' own IPv6 tunnels put a tunnel encapsulation limit in front (RFC 2473).
        yield made(ipv6(protocol, inner, (OPTIONS, 8)))
        yield made(ipv4(protocol, inner), 0x8100, 0x8100)


def not_found() -> Iterator[tuple[str, Tunnelled]]:
    """Yield what is no tunnel, by what is wrong with it; each holds what would match."""
    frame = MACS + struct.pack("!H", IPV4) + ipv4(6, bytes(200))
    inner = frame[14:]

    def no(why: str, network: bytes, *tags: int) -> tuple[str, Tunnelled]:
        return why, tunnelled(network, None, *tags)

    for fragment in (0x0001, 0x0100, 0x1FFF, 0x2003):
        yield no("a later fragment", ipv4(UDP, vxlan(frame), fragment=fragment))
    yield no("an IPv6 fragment", ipv6(UDP, vxlan(frame), (FRAGMENT, 8)))
    yield no("another port", ipv4(UDP, vxlan(frame, port=4790)))
    yield no("VXLAN without an identifier", ipv4(UDP, vxlan(frame, flags=0xF7)))
    yield no("another version of Geneve", ipv4(UDP, geneve(TEB, frame, version=1)))
    yield no("Geneve of MPLS", ipv4(UDP, geneve(0x8847, frame)))
    yield no("GRE of PPP", ipv4(GRE, gre(0x880B, frame)))
    for version in range(1, 8):
        yield no("another version of GRE", ipv4(GRE, gre(TEB, frame, other=version)))
    yield no("GRE with routing", ipv4(GRE, gre(TEB, frame, other=0x4000)))
    yield no("not IP", b"\x75" + ipv4(IPIP, inner)[1:])
    yield no("TCP", ipv4(6, vxlan(frame)))
    yield no("three tags", ipv4(IPIP, inner), 0x8100, 0x8100, 0x8100)
    yield no("four extensions", ipv6(IPIP, inner, *[(OPTIONS, 8)] * 4))
    arp = MACS + struct.pack("!H", 0x0806) + ipv4(IPIP, inner)
    yield "ARP", Tunnelled(arp, 14, None)


# What is compared


def judged(one: Tunnelled, seen: int, programs: Libpcap, verdict: Verdict) -> str:
    """Say what is wrong with a verdict; "" for nothing."""
    wire = len(one.whole)
    if one.inner is None or one.inner >= wire:
        unreadable = verdict.counted.get("unreadable", 0)
        right = not verdict.recorded and unreadable <= (seen < wire)
        return "" if right else f"no inner packet, {verdict.counted}"
    if seen <= one.inner:
        right = not verdict.recorded and verdict.counted.get("unreadable") == 1
        return "" if right else f"the inner packet can't be read, {verdict.counted}"
    inner = Packet(one.whole[one.inner :], seen - one.inner, 0)
    return mismatch(programs.ethernet if one.is_ethernet else programs.raw, inner, verdict)


def run_both(
    run: ImageRun, image: Image, one: Tunnelled, seen: int
) -> Iterator[tuple[Tunnelled, int, Verdict]]:
    """Yield verdicts of the packet with its link-layer header, and without."""
    yield one, seen, verdict_of(run, image, Packet(one.whole, seen, one.network))
    if seen <= one.network:
        return
    inner = None if one.inner is None else one.inner - one.network
    if one.whole[12:14] == b"\x08\x06" or one.network > 22:
        return  # what it begins with is all that was wrong
    bare = Tunnelled(one.whole[one.network :], 0, inner, one.is_ethernet)
    verdict = verdict_of(run, image, Packet(bare.whole, seen - one.network, 0), mac=None, network=0)
    yield bare, seen - one.network, verdict


@pytest.mark.parametrize("text", [INNER, INNER_L3], ids=["link_layer", "network"])
@pytest.mark.parametrize("lacks", [0, *(pytest.param(n, marks=pytest.mark.host_only) for n in (1, 2, 3))])
def test_random_inner_packets(image: Image, lacks: int, text: str) -> None:
    random = Random(lacks)
    libpcap = Libpcap(text)
    wrong: list[str] = []
    kinds: Counter[str] = Counter()
    with filtering(lacks, inner=text) as run:
        for _ in range(5):
            for tunnel in found(random):
                wire = len(tunnel.whole)
                for seen in (wire, random.randint(1, wire), random.randint(1, min(wire, 90))):
                    for one, part, verdict in run_both(run, image, tunnel, seen):
                        kinds["recorded" if verdict.recorded else "rejected"] += 1
                        kinds.update(verdict.counted.keys() & {"unreadable", "no_link_layer"})
                        if why := judged(one, part, libpcap, verdict):
                            wrong.append(f"{why}: {part} bytes of {one}")
    assert not wrong
    assert all(kinds[kind] > 60 for kind in ("recorded", "rejected", "unreadable")), kinds
    assert (kinds["no_link_layer"] > 60) == (text == INNER), "`ether` means nothing in IP in IP"


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.host_only), 5])
def test_every_length_of_the_headers(image: Image, step: int) -> None:
    """Whether a packet ends on the way to the inner one, or what can be read of it does."""
    libpcap = Libpcap(INNER_L3)
    with filtering(inner=INNER_L3) as run:
        for tunnel in found(Random(1)):
            assert tunnel.inner is not None
            for length in range(tunnel.inner % step + 1, min(tunnel.inner + 30, 130), step):
                one = Tunnelled(tunnel.whole[:length], tunnel.network, tunnel.inner, tunnel.is_ethernet)
                verdict = verdict_of(run, image, Packet(one.whole, length, one.network))
                assert judged(one, length, libpcap, verdict) == "", (length, one)
                verdict = verdict_of(run, image, Packet(tunnel.whole, length, one.network))
                assert judged(tunnel, length, libpcap, verdict) == "", (length, tunnel)


def test_what_is_no_tunnel(image: Image) -> None:
    with filtering(inner="greater 1") as run:
        for tunnel in found(Random(2)):
            for _, _, verdict in run_both(run, image, tunnel, len(tunnel.whole)):
                assert verdict.recorded, tunnel
        for why, tunnel in not_found():
            for one, _, verdict in run_both(run, image, tunnel, len(tunnel.whole)):
                assert (verdict.recorded, verdict.counted) == (False, {"hits": 1}), (why, one)


@pytest.mark.parametrize("lacks", [0, pytest.param(2, marks=pytest.mark.host_only)])
def test_all_filters_together(image: Image, lacks: int) -> None:
    """A packet must pass them all; each finds the packet as it was, whatever the one before did."""
    outer, inner = Libpcap("udp port 4789 or greater 250"), Libpcap(INNER)
    random = Random(3)
    kinds: Counter[tuple[bool, bool, bool]] = Counter()
    filters = {"packet": "udp port 4789 or greater 250", "inner": INNER, "fields": "sk_buff.mark == 7"}
    with filtering(lacks, **filters) as run:
        for tunnel in [one for _ in range(4) for one in found(random)]:
            if not tunnel.is_ethernet:
                continue
            mark = random.choice((7, 7, 8))
            whole = Packet(tunnel.whole, len(tunnel.whole), tunnel.network)
            verdict = verdict_of(run, image, whole, mark=mark)
            passed = (
                judge(outer.ethernet, tunnel.whole),
                judge(inner.ethernet, tunnel.whole[tunnel.inner :]),
                mark == 7,
            )
            assert verdict.recorded == all(passed), (passed, tunnel)
            kinds[passed] += 1
            if verdict.recorded:
                assert verdict.row["skb_meta"]["len"] == len(tunnel.whole)
    assert len(kinds) == 8
