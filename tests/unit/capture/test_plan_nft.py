"""The probe of nftables' collector: where it is, what leads to the packet there, and when it can't be."""

from __future__ import annotations

import pytest
from made_kernel import INT, NFT_TRACE, made_kernel
from made_plan import asked, planned, refused

from fyke.capture.begin import checked_options
from fyke.capture.filters import FilterOptions
from fyke.errors import Unsupported, UsageError


def test_since_6_4_the_packet_is_in_the_first_argument() -> None:
    probe = asked(planned(made_kernel(nft="new"), collectors=("nft", "skb")))[NFT_TRACE]
    assert probe.sections == {"nft", "packet", "vlan_accel"}
    assert probe.asked == ("nft",)
    assert (probe.arguments["skb"], probe.steps) == (0, {"skb": (0,)})
    names = ("nft_verdict", "nft_rule", "nft_info", "nft_type")
    assert [probe.arguments[name] for name in names] == [1, 2, 3, 4]


def test_before_it_was_one_step_further() -> None:
    probe = asked(planned(made_kernel(nft="old"), collectors=("nft", "skb")))[NFT_TRACE]
    assert (probe.arguments["skb"], probe.steps) == (0, {"skb": (8, 0)})
    assert [probe.arguments[name] for name in ("nft_info", "nft_chain", "nft_type")] == [0, 1, 2]


def test_the_users_probe_there_is_the_same_one() -> None:
    plan = planned(made_kernel(nft="new"), collectors=("nft", "skb"), probes=(f"{NFT_TRACE}/stack",))
    (probe,) = asked(plan).values()
    assert probe.asked == (f"{NFT_TRACE}/stack", "nft")
    assert "STACK" in probe.flags
    assert probe.steps == {"skb": (0,)}


def test_an_argument_that_is_a_packet_needs_no_steps() -> None:
    kernel = made_kernel(nft="new", more={"both": ("pktinfo", "skb")})
    probe = asked(planned(kernel, collectors=("skb",), probes=("both",)))["both"]
    assert (probe.arguments["skb"], probe.steps) == (1, {})


def test_filters_find_the_packet() -> None:
    kernel = made_kernel(nft="new")
    assert planned(kernel, collectors=("nft",), filters=FilterOptions(packet="icmp")).notes == ()


def test_without_nftables() -> None:
    error = refused(collectors=("nft",))
    assert isinstance(error, Unsupported)
    assert "CONFIG_NF_TABLES" in error.message


def test_without_types_of_the_module() -> None:
    error = refused(made_kernel(more={NFT_TRACE: (INT,)}), collectors=("nft",))
    assert "no types (BTF) of its module nf_tables" in error.message


def test_without_kprobes() -> None:
    error = refused(made_kernel((), nft="new"), collectors=("nft",))
    assert f"{NFT_TRACE} can't be probed: no kprobes here" in error.message


def test_verdicts_are_checked() -> None:
    assert checked_options().nft_verdicts == ("drop", "accept")
    assert checked_options(nft_verdicts=["jump"]).nft_verdicts == ("jump",)
    with pytest.raises(UsageError) as caught:
        checked_options(nft_verdicts=["drop", "stop"])
    assert caught.value.message == "unknown --nft-verdicts value 'stop'"
    assert "continue" in caught.value.hint
