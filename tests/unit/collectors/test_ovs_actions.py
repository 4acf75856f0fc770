"""Actions of the datapath, from bytes as the kernel has them (include/uapi/linux/openvswitch.h) to words."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.collectors.ovs import actions
from fyke.collectors.ovs.sections import OVS_ACTION
from fyke.events.ovs import ACTIONS

NUMBERS = {name: number for number, name in enumerate(ACTIONS)}
TO_MASKED = 27  # of Linux 6.12
KERNEL = {
    **{number: f"OVS_ACTION_ATTR_{name.upper()}" for name, number in NUMBERS.items()},
    26: "__OVS_ACTION_ATTR_MAX",
    TO_MASKED: "OVS_ACTION_ATTR_SET_TO_MASKED",
}
MAC = bytes.fromhex("020000000009")
V4 = ip_address("192.0.2.1").packed
V6 = ip_address("2001:db8::1").packed


class Names:
    """What the kernel calls its actions; `known` is False for one that doesn't say."""

    def __init__(self, *, known: bool = True) -> None:
        self.known = known

    def enum(self, name: str) -> dict[int, str]:
        return KERNEL if self.known and name == "ovs_action_attr" else {}


def attr(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute, filled up to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def raw(kind: int | str, arguments: bytes = b"") -> bytes:
    number = NUMBERS[kind] if isinstance(kind, str) else kind
    return struct.pack("=HH", number, len(arguments)) + arguments.ljust(104, b"\xa5")


def masked(value: bytes, mask: bytes) -> bytes:
    return value + mask


IPV4_TTL = masked(bytes(10) + b"\x3f\0", bytes(10) + b"\xff\0")
IPV6_SOURCE = masked(V6.ljust(40, b"\0"), (b"\xff" * 16).ljust(40, b"\0"))
_TUNNEL = struct.Struct("!8s32sHHHBBBx")
TUNNEL = attr(31, b"")[:4] + _TUNNEL.pack(b"\0\0\0\0\0\0\0\x2a", bytes(4) + V4, 0, 4789, 0x104, 0, 64, 1)
TUNNEL6 = TUNNEL[:4] + _TUNNEL.pack(bytes(8), V6 + V6, 7, 6081, 0x201, 4, 64, 3)


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        ("output", struct.pack("=I", 3), None),
        ("recirc", struct.pack("=I", 3), None),
        ("pop_vlan", b"", None),
        (
            "userspace",
            attr(1, struct.pack("=I", 9)) + attr(2, b"\1\2") + attr(4, b""),
            "pid=9,userdata(0102),actions",
        ),
        ("set", attr(4, MAC + MAC), "eth(src=02:00:00:00:00:09,dst=02:00:00:00:00:09)"),
        ("set", attr(15, struct.pack("=I", 0x12)), "skb_mark(0x12)"),
        ("set", TUNNEL, "tunnel(tun_id=0x2a,dst=192.0.2.1,ttl=64,tp_dst=4789,flags(df|key))"),
        (
            "set",
            TUNNEL6,
            "tunnel(ipv6_src=2001:db8::1,ipv6_dst=2001:db8::1,tos=0x4,ttl=64,tp_src=7,tp_dst=6081,"
            "flags(oam|csum))",
        ),
        ("set_masked", attr(7, IPV4_TTL), "ipv4(ttl=63)"),
        ("set_masked", attr(8, IPV6_SOURCE), "ipv6(src=2001:db8::1)"),
        ("set_masked", attr(24, masked(struct.pack("=I", 5), struct.pack("=I", 0xFF))), "ct_mark(0x5/0xff)"),
        ("set_masked", attr(10, masked(b"\0\x35\0\0", b"\xff\xff\0\0")), "udp(src=53)"),
        (TO_MASKED, attr(7, IPV4_TTL), "ipv4(ttl=63)"),
        ("push_vlan", struct.pack("!HH", 0x8100, 0x700A), "vid=10,pcp=3"),
        ("push_vlan", struct.pack("!HH", 0x88A8, 0x100A), "vid=10,pcp=0,tpid=0x88a8"),
        (
            "push_mpls",
            struct.pack("!IH", 100 << 12 | 1 << 8 | 64, 0x8847),
            "label=100,tc=0,ttl=64,bos=1,eth_type=0x8847",
        ),
        ("add_mpls", struct.pack("!IHH", 3 << 12, 0x8847, 0), "label=3,tc=0,ttl=0,bos=0,eth_type=0x8847"),
        ("pop_mpls", struct.pack("!H", 0x800), "eth_type=0x800"),
        ("hash", struct.pack("=II", 0, 7), "hash_l4(7)"),
        ("trunc", struct.pack("=I", 100), "100"),
        ("meter", struct.pack("=I", 2), "2"),
        ("push_eth", MAC + MAC, "src=02:00:00:00:00:09,dst=02:00:00:00:00:09"),
        ("sample", attr(1, struct.pack("=II", 0, 0x7FFF_FFFF)), "50.0%"),
        ("check_pkt_len", attr(4, struct.pack("=HBB", 1500, 0, 0)), "size=1500"),
        ("psample", attr(1, struct.pack("=I", 4)) + attr(2, b"\xab"), "group=4,cookie=ab"),
        (
            "push_nsh",
            attr(28, attr(1, struct.pack("!BBBBI", 0, 63, 1, 3, 0x1234FE))),
            "flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=254",
        ),
        ("dec_ttl", attr(1, b""), None),
    ],
)
def test_arguments(kind: int | str, arguments: bytes, text: str | None) -> None:
    assert actions.arguments(raw(kind, arguments), Names()) == text


@pytest.mark.parametrize("known", [True, False])
def test_names(known: bool) -> None:
    names = Names(known=known)
    found = [actions.action(raw(number), names) for number in NUMBERS.values()]
    assert found == [None, *ACTIONS[1:]]
    assert actions.action(raw(TO_MASKED), names) == ("set" if known else str(TO_MASKED))


def conntrack(flags: int, family: int = 2, low: bytes = V4, high: bytes = V4) -> bytes:
    ports = [int.from_bytes(struct.pack("!H", port), "little") for port in (80, 90)]
    ends = [end.ljust(16, b"\0") for end in (low, high)]
    marks = 5, 0xFF, b"\1".ljust(16, b"\0"), b"\xff".ljust(16, b"\0")
    return raw(
        "ct", struct.pack("=IHHHH16s16sII16s16s16s", flags, 7, family, *ports, *ends, *marks, b"ftp\0")
    )


def columns(raw_action: bytes) -> dict[str, object]:
    return {
        c.name: c.label(raw_action, Names()) for c in OVS_ACTION.columns if c.label and c.source == "action"
    }


def test_conntrack_with_nat() -> None:
    found = columns(conntrack(0b1_1011_0101))
    assert found == {
        "action": "ct",
        "ct_flags": 0b1_1011_0101,
        "ct_zone": 7,
        "nat_dir": "src",
        "nat_min_addr": "192.0.2.1",
        "nat_max_addr": "192.0.2.1",
        "nat_min_port": 80,
        "nat_max_port": 90,
        "arguments": f"mark=0x5/0xff,label={1 << 120:#x}/{0xFF << 120:#x},helper=ftp",
    }
    assert columns(conntrack(0b1101_1000, 10, V6, V6))["nat_max_addr"] == "2001:db8::1"
    plain = columns(conntrack(1))
    assert [plain[name] for name in ("nat_dir", "nat_min_addr", "nat_min_port")] == [None] * 3


@given(st.integers(0, 40), st.binary(max_size=104), st.integers(0, 200), st.booleans())
def test_any_bytes_have_some_text(kind: int, data: bytes, length: int, known: bool) -> None:
    made = struct.pack("=HH", kind, length) + data.ljust(104, b"\0")
    for column in OVS_ACTION.columns:
        if column.label and column.source == "action":
            value = column.label(made, Names(known=known))
            assert value is None or isinstance(value, str | int)
