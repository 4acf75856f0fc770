"""Where packets are traced, and what nft is told; that the kernel takes it is tested in tests/host."""

from __future__ import annotations

from fyke.capture.trace_chains import ALWAYS, Hook, commands, families, first_hooks
from fyke.filters.pcap.nft import Condition, Load
from fyke.kernel.nfnetlink import Chain

ICMP = (Condition(Load("nh", 9, 1, 0xFF), "==", 1),)


def chain(family: str, hook: int | None, *devices: bytes) -> Chain:
    return Chain(family, b"t", b"c", 1, hook, devices, b"")


def test_families_are_taken_where_they_are_used() -> None:
    assert first_hooks([]) == ALWAYS
    assert first_hooks([chain("bridge", None), chain("ip", 0)]) == ALWAYS
    assert families(first_hooks([chain("arp", 0), chain("bridge", 2)])) == ("inet", "bridge", "arp")


def test_devices_of_one_hook_share_a_chain() -> None:
    used = [chain("netdev", 0, b"eth1"), chain("inet", 5, b"eth0"), chain("netdev", 1, b"lo")]
    assert first_hooks(used)[len(ALWAYS) :] == (
        Hook("netdev", "ingress", 'ingress devices = { "eth0", "eth1" }'),
        Hook("netdev", "egress", 'egress devices = { "lo" }'),
    )


def test_names_that_nft_can_not_say_are_left_out() -> None:
    assert first_hooks([chain("netdev", 0, b'a"b', b"x}")]) == ALWAYS
    assert "eth0.5" in first_hooks([chain("netdev", 0, b"\xff", b"eth0.5")])[-1].where


def test_rules_of_a_filter_are_for_packets_of_ip() -> None:
    hooks = first_hooks([chain("arp", 0), chain("bridge", 0)])
    inet, bridge, arp = commands("x", hooks, [ICMP], owner=True).split("table ")[1:]
    rule = "@nh,72,8 == 0x1 meta nftrace set 1 accept"
    assert inet.splitlines()[:4] == [
        "inet x {",
        "flags owner;",
        "chain prerouting {",
        "type filter hook prerouting priority -2147483648;",
    ]
    assert inet.count(rule) == inet.count("nftrace") == 2
    assert (bridge.count(rule), bridge.count("meta protocol != { ip, ip6 } meta nftrace set 1")) == (2, 2)
    assert arp.count("\nmeta nftrace set 1 accept\n") == arp.count("nftrace") == 2


def test_without_a_filter_all_packets_are_traced_and_with_one_that_passes_nothing_none() -> None:
    everything = commands("x", ALWAYS, [()], owner=False)
    assert everything.count("\nmeta nftrace set 1 accept\n") == 2
    assert "owner" not in everything
    assert "nftrace" not in commands("x", ALWAYS, [], owner=False)
