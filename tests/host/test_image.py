"""What live traffic rarely shows, on packets made up in kernel memory: odd places, odd pointers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fyke.events.escape import name_from_bytes
from live.image import HEADROOM, HEADROOM_BYTE, UNSET, Image
from live.image_run import ImageRun
from live.recording import TX, Row, kernel

ETHERNET_BYTES = 14
FRAME = bytes(range(100))
ERR_PTR, POISON, SMALL = (1 << 64) - 22, 0xDEAD000000000100, 0x1234
"""Things that a pointer may be (include/linux/err.h, include/linux/poison.h) or share its place with."""

# How the programs read: as this kernel lets them, and by copying as older ones must.
pytestmark = [
    pytest.mark.ends_only,
    pytest.mark.parametrize("run", [(), ("bpf_rdonly_cast",)], ids=["as_is", "copying"], indirect=True),
]


@pytest.fixture(scope="module")
def memory() -> Iterator[Image]:
    with Image(kernel()) as image:
        yield image


@pytest.fixture
def image(memory: Image) -> Image:
    memory.clear()
    return memory


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Iterator[ImageRun]:
    with ImageRun(request.param, snaplen=64, skb_sections=("all",)) as run:
        yield run


# Where the packet begins


@dataclass(frozen=True)
class Geometry:
    """Offsets from skb->head, as the kernel has them, and the rest that decides what is kept of a packet."""

    mac: int
    network: int
    data: int
    tail: int
    len: int
    protocol: int

    def lay_out(self, image: Image, packet: bytes) -> int:
        return image.skb(
            packet, data_at=self.data - HEADROOM, protocol=self.protocol,
            mac_header=self.mac, network_header=self.network, tail=self.tail, len=self.len,
        )  # fmt: skip


def expected_packet(image: Image, head: int, g: Geometry, snaplen: int) -> Row | None:
    """Say what is recorded of a packet: from its link-layer header on if it has one that is in front of where
    the network header is, else from that on, behind a made-up one."""
    has_network = g.network not in (0, UNSET)
    own = g.mac != UNSET and not (has_network and g.mac >= g.network)
    if not own and not (has_network and g.protocol and snaplen >= ETHERNET_BYTES):
        return None
    header = b"" if own else bytes(12) + g.protocol.to_bytes(2, "big")
    start = g.mac if own else g.network
    count = min(g.tail - start, snaplen - len(header))
    if g.tail <= start or (kept := readable(image, head + start, count)) is None:
        return None
    length = g.len + g.data - start + len(header)
    return {
        "len": length % (1 << 32),
        "capture_len": len(header) + count,
        "data": header + kept,
        "link_layer": own,
    }


def readable(image: Image, address: int, size: int) -> bytes | None:
    """Return bytes of the image, None when some are behind its end, where there is no memory."""
    try:
        return image.read(address, size)
    except IndexError:
        return None


@pytest.mark.parametrize(
    ("mac", "network", "data", "start"),
    [
        pytest.param(0, 14, 0, 0, id="sent"),
        pytest.param(0, 14, 14, 0, id="received"),
        pytest.param(-14, 0, 0, -14, id="header-in-front-of-the-data"),
        pytest.param(0, None, 0, 0, id="network-header-unset"),
        pytest.param(20, None, 0, 20, id="network-header-unset-mac-header-inside"),
    ],
)
def test_a_packet_begins_with_its_link_layer_header(
    image: Image, run: ImageRun, mac: int, network: int | None, data: int, start: int
) -> None:
    packet = run(image.skb(FRAME, mac=mac, network=network, data_at=data, protocol=0x0800)).row["packet"]
    expected = bytes([HEADROOM_BYTE]) * max(-start, 0) + FRAME[max(start, 0) :]
    assert packet == {"len": len(expected), "capture_len": 64, "data": expected[:64], "link_layer": True}


@pytest.mark.parametrize(
    ("mac", "network"),
    [
        pytest.param(None, 0, id="mac-header-unset"),
        pytest.param(20, 20, id="both-at-the-same-place"),
        pytest.param(34, 20, id="left-behind-by-a-tunnel"),
    ],
)
def test_without_one_it_is_made_up(image: Image, run: ImageRun, mac: int | None, network: int) -> None:
    packet = run(image.skb(FRAME, mac=mac, network=network, protocol=0x86DD)).row["packet"]
    expected = bytes(12) + b"\x86\xdd" + FRAME[network:]
    assert packet == {"len": len(expected), "capture_len": 64, "data": expected[:64], "link_layer": False}


@pytest.mark.parametrize(
    ("mac", "network", "protocol", "linear"),
    [
        pytest.param(None, 0, 0, 100, id="zero-protocol"),
        pytest.param(None, None, 0x0800, 100, id="no-header"),
        pytest.param(0, 14, 0x0800, 0, id="tail-at-the-start"),
        pytest.param(50, 64, 0x0800, 40, id="tail-before-the-start"),
        pytest.param(None, 50, 0x0800, 40, id="tail-before-the-network-header"),
    ],
)
def test_of_some_nothing_can_be_kept(
    image: Image, run: ImageRun, mac: int | None, network: int | None, protocol: int, linear: int
) -> None:
    row = run(image.skb(FRAME, mac=mac, network=network, protocol=protocol, linear=linear)).row
    assert row["packet"] is None
    assert row["skb_meta"]["len"] == 100, "the rest is there"


@pytest.mark.parametrize("linear", [15, 63, 64, 65, 99])
def test_what_is_in_fragments_counts_but_is_not_kept(image: Image, run: ImageRun, linear: int) -> None:
    row = run(image.skb(FRAME, network=14, linear=linear)).row
    kept = min(linear, 64)
    assert (row["packet"]["len"], row["packet"]["capture_len"]) == (100, kept)
    assert row["packet"]["data"] == FRAME[:kept]
    assert (row["skb_meta"]["len"], row["skb_meta"]["data_len"]) == (100, 100 - linear)
    assert row["skb_gso"]["frags"] == 1


def any_geometry(rng: random.Random, length: int) -> Geometry:
    """Return offsets that are mostly near each other, often the same, sometimes absurd."""
    near = [rng.randrange(200) for _ in range(3)]

    def offset(*special: int) -> int:
        return rng.choice([*near, *near, rng.randrange(200), *special])

    return Geometry(
        mac=offset(0, UNSET, UNSET, rng.randrange(1 << 16)),
        network=offset(0, 0, UNSET, rng.randrange(1 << 16)),
        data=offset(0, HEADROOM),
        tail=offset(0, HEADROOM + length, HEADROOM + length, 1 << 16, (1 << 32) - 1),
        len=rng.choice([length, length, 0, rng.randrange(1 << 32)]),
        protocol=rng.choice([0x0800, 0x86DD, 0x0806, 0, rng.randrange(1 << 16)]),
    )


@pytest.mark.parametrize("snaplen", [13, 14, 90])
def test_any_geometry(image: Image, run: ImageRun, snaplen: int, request: pytest.FixtureRequest) -> None:
    rng = random.Random(snaplen)
    without = request.node.callspec.params["run"]
    expected, seen = [], []
    with ImageRun(without, snaplen=snaplen, collectors=("skb",), skb_sections=("meta",)) as here:
        for _ in range(200):
            image.clear()
            packet = rng.randbytes(rng.randrange(150))
            geometry = any_geometry(rng, len(packet))
            head = image.address  # the first thing in it
            skb = geometry.lay_out(image, packet)
            expected.append((geometry, expected_packet(image, head, geometry, snaplen)))
            seen.append((geometry, here(skb).row["packet"]))
    assert seen == expected
    kinds = [packet and packet["link_layer"] for _, packet in expected]
    assert min(kinds.count(True), kinds.count(None)) > 20
    assert snaplen < ETHERNET_BYTES or kinds.count(False) > 20


# The fields of the skb


@pytest.mark.parametrize("tci", [0, 1, 0x0FFF, 0x1000, 0xE000, 0xABCD])
@pytest.mark.parametrize("ethertype", [0x8100, 0x88A8])
def test_accelerated_vlan_tag(image: Image, run: ImageRun, ethertype: int, tci: int) -> None:
    tag = run(image.skb(FRAME, vlan=(ethertype, tci))).row["vlan_accel"]
    assert tag == {"proto": ethertype, "pcp": tci >> 13, "dei": bool(tci & 0x1000), "vid": tci & 0x0FFF}


def test_no_vlan_tag(image: Image, run: ImageRun) -> None:
    assert run(image.skb(FRAME)).row["vlan_accel"] is None
    # What an old tag left behind is none, where the kernel says by a bit of its own whether there is one.
    left = run(image.skb(FRAME, vlan_proto=b"\x81\x00", vlan_tci=5)).row["vlan_accel"]
    assert (left is None) == (image.place("sk_buff", "vlan_present") is not None)


def test_any_fields(image: Image, run: ImageRun) -> None:
    """Every field at once: a bit that is taken from, or given to, its neighbour shows."""
    rng = random.Random(5)
    # Linux kernel commit 06b4feb37e64 ("net: group skb_shinfo zerocopy related bits together.") (in v5.12).
    flags = "flags" if image.place("skb_shared_info", "flags") else "tx_flags"
    for _ in range(100):
        image.clear()
        meta: dict[str, Any] = {
            name: rng.getrandbits(32) for name in ("len", "data_len", "hash", "csum", "priority")
        }
        meta |= {"ip_summed": rng.randrange(4), "csum_level": rng.randrange(4)}
        bits: dict[str, Any] = {
            "nohdr": rng.randrange(2),
            "cloned": rng.randrange(2),
            "fclone": rng.randrange(4),
        }
        users, dataref = rng.choice([1, rng.getrandbits(32)]), rng.choice([1, rng.getrandbits(32)])
        gso = {"size": rng.choice([0, rng.getrandbits(16)]), "frags": rng.choice([0, rng.randrange(256)])}
        gso |= {"segs": rng.getrandbits(16), "type": rng.getrandbits(32), "flags": rng.getrandbits(8)}
        shared = {"gso_size": gso["size"], "gso_segs": gso["segs"], "gso_type": gso["type"]}
        shared |= {"nr_frags": gso["frags"], flags: gso["flags"], "dataref.counter": dataref}
        counts: dict[str, Any] = {"users.refs.counter": users}
        row = run(image.skb(FRAME, shared=shared, **meta, **bits, **counts)).row
        assert row["skb_meta"] == meta
        # The columns have 8 bits.
        assert row["skb_dataref"] == bits | {"users": users & 0xFF, "dataref": dataref & 0xFF}
        assert row["skb_gso"] == (gso if gso["size"] or gso["frags"] else None)


# The device and the namespace


def device(image: Image, *, inum: int = 4026531999, **members: int | bytes) -> int:
    net = image.struct("net", **{"ns.inum": inum})
    usual: dict[str, int | bytes] = {"name": b"eth0", "ifindex": 7, "nd_net.net": net}
    return image.struct("net_device", **usual | members)


def socket(image: Image, inum: int) -> int:
    net = image.struct("net", **{"ns.inum": inum})
    return image.struct("sock", **{"__sk_common.skc_net.net": net})


@pytest.mark.parametrize("name", [b"a", b"fifteen-letters", b"sixteen-letters!", b"\xff\x1b[m\\", b""])
@pytest.mark.parametrize("received_on", [0, 3])
def test_device(image: Image, run: ImageRun, name: bytes, received_on: int) -> None:
    row = run(image.skb(FRAME, dev=device(image, name=name), skb_iif=received_on)).row
    assert row["dev"] == {
        "name": name_from_bytes(name),
        "ifindex": 7,
        "rx_ifindex": received_on or None,
    }
    assert row["netns"] == {"cookie": None, "inum": 4026531999}


@pytest.mark.parametrize("what", ["null", "small", "error", "poison", "unmapped"])
@pytest.mark.parametrize("with_socket", [False, True], ids=["alone", "with_socket"])
def test_no_device_there(image: Image, run: ImageRun, what: str, with_socket: bool) -> None:
    pointers = {"null": 0, "small": SMALL, "error": ERR_PTR, "poison": POISON, "unmapped": image.unmapped}
    sk = socket(image, inum=77) if with_socket else pointers[what]
    row = run(image.skb(FRAME, dev=pointers[what], sk=sk)).row
    assert row["dev"] is None
    assert row["netns"] == ({"cookie": None, "inum": 77} if with_socket else None)
    assert row["packet"]["data"] == FRAME[:64], "the rest is there"


def test_the_devices_namespace_comes_first(image: Image, run: ImageRun) -> None:
    sk = socket(image, inum=77)
    assert run(image.skb(FRAME, dev=device(image, inum=5), sk=sk)).row["netns"]["inum"] == 5
    nowhere = device(image, **{"nd_net.net": 0})
    assert run(image.skb(FRAME, dev=nowhere, sk=sk)).row["netns"]["inum"] == 77


def test_a_namespaces_cookie(image: Image, run: ImageRun) -> None:
    # Linux kernel commit 3d368ab87cf6 ("net: initialize net->net_cookie at netns setup") (in v5.12): before,
    # the cookie is atomic, and given out when somebody asks for it.
    old = "net_cookie.counter" if image.place("net", "net_cookie.counter") else ""
    net = image.struct("net", **{"ns.inum": 5, old or "net_cookie": 1 << 40 | 9})
    netns = run(image.skb(FRAME, dev=device(image, **{"nd_net.net": net}))).row["netns"]
    assert netns == {"cookie": None if old else 1 << 40 | 9, "inum": 5}


def test_a_queues_links_are_no_device(image: Image, run: ImageRun) -> None:
    """TCP keeps packets in a tree, whose node lies over skb->next and skb->dev (struct sk_buff's rbnode)."""
    left = device(image)
    skb = image.skb(FRAME, dev=left, next=left)
    assert run(skb).row["dev"]["ifindex"] == 7, "it looks like a device, and would be taken for one"
    image.write(left, "rb_node", __rb_parent_color=skb | 1)
    assert run(skb).row["dev"] is None


def test_the_device_may_be_an_argument(image: Image, run: ImageRun, request: pytest.FixtureRequest) -> None:
    without = request.node.callspec.params["run"]
    argument = device(image, name=b"argument", ifindex=8)
    with ImageRun(without, probes=(f"tp:{TX}",)) as here:  # takes an skb and a device
        assert here(image.skb(FRAME), argument).row["dev"]["name"] == "argument"
        assert here(image.skb(FRAME, dev=device(image)), argument).row["dev"]["name"] == "eth0"
        assert here(0, argument).row["dev"]["name"] == "argument"


# Nothing to look at


@pytest.mark.parametrize("skb", [0, SMALL, 1 << 62, ERR_PTR])
def test_what_is_no_packet_makes_no_event(run: ImageRun, skb: int) -> None:
    assert not run(skb).recorded


def test_memory_that_is_not_there(image: Image, run: ImageRun) -> None:
    """A wild pointer reads as zeros: nothing is made up, nothing breaks."""
    for skb in (POISON, image.unmapped, image.skb(FRAME, head=image.unmapped, data=image.unmapped, end=0)):
        row = run(skb).row
        assert [row[name] for name in ("packet", "vlan_accel", "skb_gso", "dev", "netns")] == [None] * 5
        assert row["skb_dataref"]["dataref"] == 0
