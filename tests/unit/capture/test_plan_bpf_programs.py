"""`xdp:` and `tc:`: which of the loaded programs are probed, what is taken there, and when it can't be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from made_kernel import ALL, INT, NAPI, SKB, made_kernel
from made_plan import USUAL, planned, refused

from fyke.capture.filters import FilterOptions
from fyke.capture.planned import PlannedProbe
from fyke.errors import Unsupported, UsageError
from fyke.kernel.bpf_programs import TC, XDP, BpfProgram

LONG = BpfProgram(3, XDP, "drop_what_nobody_wants", 7)
OTHER = BpfProgram(4, XDP, "balance", 9, arguments=5)
SHAPE = BpfProgram(5, TC, "shape", 8)
TWICE = BpfProgram(6, TC, "mark", 8), BpfProgram(7, TC, "mark", 8)
UNTYPED = BpfProgram(8, XDP, "old", why_not="it was loaded without types (BTF)")
LOADED = (LONG, OTHER, SHAPE, *TWICE)


def at_programs(*probes: str, programs: Sequence[BpfProgram] = LOADED) -> dict[str, PlannedProbe]:
    return asked_returns(probes, programs)


def asked_returns(probes: tuple[str, ...], programs: Sequence[BpfProgram]) -> dict[str, PlannedProbe]:
    plan = planned(made_kernel(programs=programs), probes=probes)
    return {p.symbol: p for p in plan.probes if p.at_program}


def test_each_kind_has_its_own() -> None:
    assert list(at_programs("xdp:*")) == ["xdp:drop_what_nobody_wants", "xdp:balance"]
    assert list(at_programs("tc:*")) == ["tc:shape", "tc:mark#6", "tc:mark#7"]


@pytest.mark.parametrize(
    "text", ["xdp:drop_what_nobody_wants", "xdp:drop_what_nobod", "xdp:id:3", "xdp:*wants", "xdp:d*w*"]
)
def test_the_ways_to_name_one(text: str) -> None:
    (probe,) = at_programs(text).values()
    assert (probe.at_program, probe.asked) == (LONG, (text,))


def test_one_that_is_named_twice_is_probed_once() -> None:
    (probe,) = at_programs("xdp:bal*", "xdp:id:4/stack").values()
    assert probe.asked == ("xdp:bal*", "xdp:id:4/stack")
    assert probe.flags == {"STACK", "FRAMES"}


def test_what_is_taken_of_a_packet_without_skb() -> None:
    probe = at_programs("xdp:*")["xdp:balance"]
    assert probe.sections == {"skb_tracking", "packet", "netns", "dev", "retval"}
    assert (probe.arguments, probe.program, probe.entry_program) == (
        {"xdp": 0, "result": 5},
        "probe_xdp",
        "entry_xdp",
    )
    assert probe.returns is not None
    assert probe.returns.names[1] == "XDP_DROP"


def test_what_is_taken_of_one_with_skb() -> None:
    probe = at_programs("tc:shape")["tc:shape"]
    assert probe.sections == USUAL | {"retval"}
    assert (probe.arguments, probe.program, probe.entry_program) == (
        {"skb": 0, "result": 1},
        "probe_fexit",
        "entry_fexit",
    )
    assert probe.returns is not None
    assert (probe.returns.signed, probe.returns.names[-1], probe.returns.names[2]) == (
        True,
        "TC_ACT_UNSPEC",
        "TC_ACT_SHOT",
    )


def test_a_packet_filter_has_what_to_look_at() -> None:
    plan = planned(
        made_kernel(programs=LOADED), probes=("xdp:*",), filters=FilterOptions(packet="udp port 53")
    )
    assert not plan.notes


@pytest.mark.parametrize("expression", ["retval == XDP_DROP", "retval in {TC_ACT_SHOT, TC_ACT_STOLEN}"])
def test_verdicts_have_names_in_filters(expression: str) -> None:
    plan = planned(made_kernel(programs=LOADED), probes=("xdp:*",), filters=FilterOptions(fields=expression))
    assert plan.filters.fields is not None
    assert plan.filters.fields.uses_result


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("xdp:shape", "no XDP program shape is loaded here", "loaded: balance, drop_what_nobody_wants"),
        ("tc:no*", "no TC program that is loaded here matches tc:no*", "loaded: mark, shape"),
        ("tc:id:3", "no TC program id:3 is loaded here", "loaded: mark, shape"),
    ],
)
def test_those_that_are_not_there(text: str, message: str, hint: str) -> None:
    error = refused(made_kernel(programs=LOADED), probes=(text,))
    assert (type(error), error.message, error.hint) == (UsageError, message, hint)


def test_the_name_of_a_tracepoint_is_no_program() -> None:
    error = refused(made_kernel(programs=()), probes=("xdp:kfree_skb",))
    assert error.hint == "the tracepoint is tp:xdp:kfree_skb"


def test_one_that_cannot_be_attached_to() -> None:
    error = refused(made_kernel(programs=(UNTYPED,)), probes=("xdp:old",))
    assert isinstance(error, Unsupported)
    assert error.message == "can't probe the XDP program old (id 8): it was loaded without types (BTF)"


def test_one_among_others_is_left_out_with_a_note() -> None:
    plan = planned(made_kernel(programs=(*LOADED, UNTYPED)), probes=("xdp:*",))
    assert plan.notes == ("xdp:*: old (id 8) is left out: it was loaded without types (BTF)",)
    assert "xdp:old" not in {p.symbol for p in plan.probes}


def test_where_there_is_no_fentry() -> None:
    kernel = made_kernel([name for name in ALL if name != "fentry"], programs=LOADED)
    error = refused(kernel, probes=("xdp:balance",))
    assert isinstance(error, Unsupported)
    assert error.message == "can't probe BPF programs (xdp:balance): the kernel refuses it"


def test_where_programs_cannot_be_listed() -> None:
    error = refused(made_kernel(programs=None), probes=("tc:*",))
    assert isinstance(error, Unsupported)
    assert error.message == "tc:*: the loaded BPF programs can't be listed: Operation not permitted"


COW: dict[str, tuple[str, ...]] = {"skb_pp_cow_data": (NAPI, SKB, INT)}


@pytest.mark.parametrize(
    ("features", "functions", "probes", "mechanisms"),
    [
        (ALL, COW, ("xdp:*",), ["kprobe_multi", "fexit"]),
        (ALL, COW, ("tc:*",), []),  # what has an skb is followed by that
        (ALL, {}, ("xdp:*",), []),
        (("fentry",), COW, ("xdp:*",), []),
    ],
)
def test_copies_for_xdp_are_seen_at_both_ends_or_not_at_all(
    features: Sequence[str],
    functions: dict[str, tuple[str, ...]],
    probes: tuple[str, ...],
    mechanisms: list[str],
) -> None:
    plan = planned(made_kernel(features, more=functions, programs=LOADED), probes=probes)
    assert [p.mechanism for p in plan.probes if p.symbol == "skb_pp_cow_data"] == mechanisms
    assert not [note for note in plan.notes if "cow" in note]
