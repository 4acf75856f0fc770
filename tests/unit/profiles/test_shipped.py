"""The profiles that come with fyke, as far as they can be looked at without a kernel."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from profile_samples import MadeMachine, profile

from fyke.capture.probe_spec import parse_probe
from fyke.cli.main import parser_of
from fyke.profiles.arguments import Command
from fyke.profiles.conditions import SymbolCondition
from fyke.profiles.find import SHIPPED, files_in
from fyke.profiles.model import Profile, Variant

PROFILES = {one.name: one for file in files_in(SHIPPED) for one in file.profiles}
OF_RETIS = {"dropmon", "nft-dropmon", "generic", "ifdump"}


def value(variant: Variant, key: str) -> object:
    return next((argument.value for argument in variant.args if argument.key == key), None)


def probes(variant: Variant) -> list[str]:
    found = value(variant, "probe")
    return [found] if isinstance(found, str) else list(found)  # type: ignore[call-overload]


def chosen(name: str, *symbols: str) -> Variant:
    return PROFILES[name].variant("collect", MadeMachine(symbols=frozenset(symbols)))


def test_they_are_all_there_and_nothing_in_them_is_without_effect() -> None:
    assert set(PROFILES) == OF_RETIS | {"container", "dns", "latency", "ovs", "tcp"}
    for file in files_in(SHIPPED):
        assert file.errors == ()
    for one in PROFILES.values():
        assert one.odd == ()
        assert 20 < len(one.about) < 120


@pytest.mark.parametrize("one", PROFILES.values(), ids=lambda one: one.name)
def test_what_a_variant_probes_is_what_it_asks_for(one: Profile) -> None:
    variants = one.variants["collect"]
    assert variants[-1].when == (), "one is for every kernel"
    for variant in variants[:-1]:
        asked = {condition.name for condition in variant.when if isinstance(condition, SymbolCondition)}
        functions = {s.target for s in map(parse_probe, probes(variant)) if s.type != "raw_tracepoint"}
        assert functions == asked


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"nft-dropmon"}))
def test_without_functions_there_are_tracepoints(name: str) -> None:
    for probe in probes(chosen(name)):
        assert parse_probe(probe).type == "raw_tracepoint"


# What Retis' profiles of the same names ask for.
def test_dropmon_and_its_like_are_those_of_retis() -> None:
    drop, nft, dump = (chosen(name) for name in ("dropmon", "nft-dropmon", "ifdump"))
    assert (value(drop, "collectors"), probes(drop)) == ("skb-drop,skb,dev,ns", ["tp:skb:kfree_skb/stack"])
    assert (value(nft, "collectors"), probes(nft)) == ("nft,skb,dev,ns", ["kprobe:__nft_trace_packet/stack"])
    assert value(nft, "nft_verdicts") == "drop"
    assert probes(dump) == ["tp:net:netif_receive_skb", "tp:net:net_dev_start_xmit"]
    for name, target in (("dropmon", "skb:kfree_skb"), ("nft-dropmon", "__nft_trace_packet")):
        (one,) = probes(PROFILES[name].variant("pcap", MadeMachine()))
        assert one.partition(":")[2] == target


GENERIC = [
    "net:netif_receive_skb",
    "net:netif_rx",
    "net:napi_gro_receive_entry",
    "net:napi_gro_frags_entry",
    "net:net_dev_queue",
    "net:net_dev_start_xmit",
    "arp_process",
    "ip_rcv",
    "ipv6_rcv",
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    "tcp_gro_receive",
    "tcp6_gro_receive",
    "tcp_rcv_established",
    "tcp_rcv_state_process",
    "__tcp_retransmit_skb",
    "udp_rcv",
    "udpv6_rcv",
    "udp_gro_receive",
    "udp6_gro_receive",
    "icmp_rcv",
    "icmpv6_rcv",
    "ip_output",
    "ip6_output",
    "skb_scrub_packet",
]


def test_generic_has_the_probes_of_retis() -> None:
    variant = chosen("generic", *GENERIC)
    assert sorted(parse_probe(probe).target for probe in probes(variant)) == sorted(GENERIC)


def test_generic_without_some_functions() -> None:
    gro = {name for name in GENERIC if name.endswith("gro_receive")}
    ipv6 = {name for name in GENERIC if "6" in name}
    for missing, name in ((gro, "IPv4 and IPv6"), (ipv6, "IPv4"), ({"ip_rcv"}, "tracepoints")):
        variant = chosen("generic", *(set(GENERIC) - missing))
        assert variant.name == name
        assert not missing & {parse_probe(probe).target for probe in probes(variant)}


PAGE = (Path(__file__).parents[3] / "docs" / "profiles.md").read_text()


def test_the_page_has_all_of_them() -> None:
    assert set(re.findall(r"^\| `([\w-]+)` \|", PAGE, re.M)) == set(PROFILES)


def test_the_example_of_the_page_is_right() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    example = profile(text)
    assert example.odd == ()
    old, new = MadeMachine("4.19.0"), MadeMachine("6.1.0", frozenset({"__tcp_retransmit_skb"}))
    assert [example.variant("collect", machine).name for machine in (old, new)] == ["Default", "functions"]
    for command, variants in example.variants.items():
        options = Command(partial(parser_of, command))
        assert all(options.of_variant(variant) for variant in variants)
