"""What is probed on made-up kernels, what is taken there, and what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest
from made_kernel import SUBSYSTEMS, made_kernel
from made_plan import COLLECTORS, DROP, NO_GSO, RX, TX, USUAL, asked, exits, planned, probes, refused

from fyke.capture.filters import FilterOptions
from fyke.capture.plan import Options, make_plan
from fyke.capture.planned import PlannedProbe
from fyke.errors import Unsupported, UsageError

# What is collected


def test_by_default_two_tracepoints_and_drops_are_probed_by_every_collector() -> None:
    plan = planned()
    assert [c.name for c in plan.collectors] == COLLECTORS
    assert set(plan.sections) == USUAL | {"skb_drop"}
    there = asked(plan)
    assert list(there) == [RX, TX, DROP]
    assert there[RX] == PlannedProbe(RX, "raw_tracepoint", frozenset(USUAL), {"skb": 0}, asked=("default",))
    assert there[TX].arguments == {"skb": 0, "dev": 1}
    assert there[DROP].arguments == {"skb": 0, "reason": 2}
    assert there[DROP].sections == USUAL | {"skb_drop"}
    assert there[DROP].asked == ("skb-drop",)
    assert plan.tracking
    assert exits(plan)
    assert not plan.verify_identity
    # `napi_reuse_skb` isn't in this kernel; what it adds is small, and nothing is said of it.
    assert plan.notes == ()


@pytest.mark.parametrize("named", [("auto",), ("auto", "auto")])
def test_defaults_are_for_auto_alone(named: tuple[str, ...]) -> None:
    assert set(asked(planned(collectors=named))) == {RX, TX, DROP}
    assert set(asked(planned(collectors=("auto", "dev")))) == {DROP}
    assert set(asked(planned(collectors=named, probes=("ip_rcv",)))) == {"ip_rcv", DROP}


def test_named_collectors_only() -> None:
    plan = planned(collectors=("dev", "ns"), probes=("ip_rcv", "ip_output", "dev_open", "tp:" + RX))
    assert [c.name for c in plan.collectors] == ["ns", "dev"]
    assert plan.sections == ("netns", "dev")
    assert not plan.tracking
    assert not exits(plan)
    there = probes(plan)
    assert set(there) == {"ip_rcv", "ip_output", "dev_open", RX}
    assert all(p.sections == {"netns", "dev"} and p.flags == frozenset() for p in there.values())
    assert there["ip_rcv"].arguments == {"skb": 0, "dev": 1}
    assert there["ip_output"].arguments == {"net": 0, "skb": 2}
    assert there["dev_open"].arguments == {"dev": 0}


def test_each_probe_takes_only_what_its_arguments_give() -> None:
    there = probes(planned(probes=("dev_open", "unregister_pernet", "drop_for", "ip_rcv")))
    assert there["dev_open"].sections == {"netns", "dev"}
    assert there["unregister_pernet"].sections == {"netns"}
    assert there["ip_rcv"].sections == USUAL
    assert there["drop_for"].sections == USUAL | {"skb_drop"}
    assert there["drop_for"].arguments == {"skb": 1, "reason": 2}


@pytest.mark.parametrize("subsystem", SUBSYSTEMS)
def test_reasons_of_subsystems_are_drop_reasons(subsystem: str) -> None:
    kernel = made_kernel(more={"drops": ("skb", "int", subsystem)})
    probe = probes(planned(kernel, probes=("drops",)))["drops"]
    assert probe.arguments == {"skb": 0, "reason": 2}
    assert probe.sections == USUAL | {"skb_drop"}


def test_unknown_collectors_are_named() -> None:
    error = refused(collectors=("skb", "skb-dropp"))
    assert error.message == "unknown collector 'skb-dropp'"
    assert error.hint == "collectors: auto, skb-tracking, skb-drop, skb, ns, dev, ovs, nft, ct"


def test_a_typing_mistake_is_found_before_the_kernel_is_asked() -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked the kernel for {name}")

    nobody: Any = Untouchable()
    for options in ({"collectors": ("skbb",)}, {"probes": ("ip_rcv/stak",)}):
        with pytest.raises(UsageError, match=r"skbb|stak"):
            make_plan(Options(**options), nobody, 1)


@pytest.mark.parametrize(
    ("words", "sections"),
    [
        ((), set()),
        (("meta",), {"skb_meta"}),
        (("dataref", "gso"), {"skb_dataref", "skb_gso"}),
        (("all",), {"skb_meta", "skb_dataref", "skb_gso"}),
    ],
)
def test_skb_sections(words: tuple[str, ...], sections: set[str]) -> None:
    plan = planned(skb_sections=words)
    assert set(plan.sections) == USUAL | {"skb_drop"} | sections
    assert asked(plan)[RX].sections == USUAL | sections


def test_without_helpers_no_connection_has_a_parent() -> None:
    assert "ct_parent" in planned().sections
    assert "ct_parent" not in planned(made_kernel(modules=())).sections


def test_a_collector_that_cannot_work_fails_when_named_and_is_left_out_of_auto(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import dataclasses

    from fyke.capture import plan as module

    def lame(collector: Any) -> Any:
        if collector.name != "dev":
            return collector
        return dataclasses.replace(
            collector, unavailable=lambda k: None if k.has_type("struct", "netdev") else "no netdev"
        )

    monkeypatch.setattr(module, "COLLECTORS", tuple(map(lame, module.COLLECTORS)))
    plan = planned()
    assert [c.name for c in plan.collectors] == ["skb-tracking", "skb-drop", "skb", "ns", "ct"]
    assert plan.notes == ("dev is off: no netdev",)
    assert "dev" not in plan.sections
    error = refused(collectors=("auto", "dev"))
    assert isinstance(error, Unsupported)
    assert error.message == "collector dev can't work here: no netdev"


def test_a_kernel_without_drop_reasons_still_shows_drops() -> None:
    plan = planned(made_kernel(reasons=False))
    drop = asked(plan)[DROP]
    assert drop.sections == USUAL | {"skb_drop"}
    assert drop.arguments == {"skb": 0}
    assert plan.notes == ("skb-drop: this kernel gives no drop reasons; drops are shown as NOT_SPECIFIED",)
    # Only its own probe means a drop where no argument says so.
    assert (
        "skb_drop"
        not in asked(planned(made_kernel(reasons=False), probes=("drop_for",)))["drop_for"].sections
    )


# Where


def test_a_probe_that_gives_nothing_is_refused_by_name_with_the_reason() -> None:
    error = refused(probes=("ip_rcv", "ip_select"))
    assert isinstance(error, UsageError)
    assert error.message == (
        "no enabled collector (skb-tracking, skb-drop, skb, ns, dev, ct) can take anything from ip_select: "
        "its arguments are (int, int)"
    )
    assert "struct sk_buff *" in error.hint
    assert refused(probes=("tp:net:napi_poll",)).message.endswith(
        "from net:napi_poll: its arguments are (struct napi_struct *, int)"
    )
    assert refused(collectors=("skb",), probes=("dev_open",)).message == (
        "no enabled collector (skb) can take anything from dev_open: "
        "its arguments are (struct net_device *, int)"
    )


def test_a_function_without_types_or_arguments_is_refused() -> None:
    kernel = made_kernel(more={"takes_nothing": ()})
    assert refused(probes=("no_btf",)).message.endswith(
        "from no_btf: the kernel's BTF doesn't describe its arguments"
    )
    assert refused(kernel, probes=("takes_nothing",)).message.endswith(
        "from takes_nothing: it has no arguments"
    )


def test_wildcards_leave_out_what_gives_nothing_and_say_so() -> None:
    plan = planned(collectors=("skb",), probes=("ip_*", "tp:net:*"))
    assert set(probes(plan)) == {"ip_rcv", "ip_output", RX, TX}
    assert plan.notes == (
        "ip_*: 1 of 3 matches left out, no collector takes data there",
        "tp:net:*: 1 of 3 matches left out, no collector takes data there",
    )
    assert probes(plan)["ip_rcv"].asked == ("ip_*",)


def test_wildcards_that_match_nothing_or_nothing_useful() -> None:
    assert refused(probes=("udp_*",)).message == "nothing here matches udp_*"
    assert refused(probes=("tp:udp:*",)).message == "nothing here matches tp:udp:*"
    assert refused(collectors=("skb",), probes=("*e*open",)).message == (
        "no enabled collector (skb) can take anything from dev_open: "
        "its arguments are (struct net_device *, int)"
    )
    assert refused(collectors=("skb",), probes=("*r*e*ister*", "dev_*n")).message.startswith(
        "no enabled collector (skb) can take anything from unregister_pernet"
    )
    error = refused(collectors=("skb",), probes=("*pe*n*",))
    assert error.message == (
        "no enabled collector (skb) can take anything from any of the 2 matches of *pe*n*: "
        "none has an argument they know"
    )


def test_what_is_not_there_is_named_with_what_is_near() -> None:
    error = refused(probes=("ip_rvc",))
    assert error.message == "ip_rvc is inlined, in a module that isn't loaded, or not in this kernel"
    assert error.hint == "near: ip_rcv"
    error = refused(probes=("tp:skb:kfree_skp",))
    assert error.message == "there is no tracepoint skb:kfree_skp in this kernel and its loaded modules"
    assert error.hint == "near: skb:kfree_skb"
    assert (
        refused(probes=("tp:net:kfree_skb",)).message
        == "there is no tracepoint net:kfree_skb, but skb:kfree_skb"
    )


def test_wildcards_of_tracepoints_need_tracefs() -> None:
    kernel = made_kernel(tracefs=False)
    assert {RX, TX, DROP} == set(asked(planned(kernel)))
    assert isinstance(refused(kernel, probes=("tp:net:*",)), Unsupported)


@pytest.mark.parametrize("names", [("skb",), ("skb-tracking",), ("dev", "ns", "ct"), ("ct", "skb-tracking")])
def test_collectors_without_probes_of_their_own_have_the_default_ones(names: tuple[str, ...]) -> None:
    there = asked(planned(collectors=names))
    assert {symbol: probe.asked for symbol, probe in there.items()} == {RX: ("default",), TX: ("default",)}


def test_collectors_with_probes_of_their_own_have_no_others() -> None:
    assert asked(planned(collectors=("ct", "skb-drop"))).keys() == {DROP}


def test_functions_of_modules() -> None:
    there = probes(planned(probes=("nft_do_chain", "tp:nft:nft_trace")))
    assert there["nft_do_chain"].arguments == {"skb": 0}
    assert there["nft_do_chain"].mechanism == "kprobe_multi"
    assert there["nft:nft_trace"].sections == USUAL


def test_only_arguments_in_registers_count_for_functions() -> None:
    there = probes(planned(probes=("five_then_skb", "tp:fib:wide", "dev_and_six_then_skb")))
    assert there["five_then_skb"].arguments == {"skb": 5}
    assert there["fib:wide"].arguments == {"skb": 7}
    # What its seventh argument would give is not promised.
    assert there["dev_and_six_then_skb"].arguments == {"dev": 0}
    assert there["dev_and_six_then_skb"].sections == {"netns", "dev"}
    error = refused(made_kernel(("kprobe",)), probes=("six_then_skb",))
    assert error.message.endswith(
        "from six_then_skb: its arguments are (int, int, int, int, int, int, struct sk_buff *), of which "
        "only the first 6 can be read"
    )


def test_the_first_argument_of_a_type_is_the_one() -> None:
    assert probes(planned(probes=("ip_rcv",)))["ip_rcv"].arguments == {"skb": 0, "dev": 1}


@pytest.mark.parametrize(
    ("features", "mechanism"), [(("kprobe", "kprobe_multi"), "kprobe_multi"), (("kprobe",), "kprobe")]
)
def test_mechanism_of_functions(features: tuple[str, ...], mechanism: str) -> None:
    plan = planned(made_kernel(features), probes=("ip_rcv", "k:ip_output", "tp:" + RX))
    assert {p.mechanism for p in plan.probes if ":" not in p.symbol} == {mechanism}
    assert probes(plan)[RX].mechanism == "raw_tracepoint"
    assert any(note.startswith(NO_GSO) for note in plan.notes)
    assert not exits(plan)


def test_a_type_given_by_name_is_kept() -> None:
    plan = planned(probes=("fe:ip_rcv", "k:ip_rcv", "fe:ip_out*", "fe:six_then_skb"))
    assert {(p.symbol, p.mechanism, *p.asked) for p in plan.probes if p.asked and ":" not in p.symbol} == {
        ("ip_rcv", "fentry", "fe:ip_rcv"),
        ("ip_rcv", "kprobe_multi", "k:ip_rcv"),
        ("ip_output", "fentry", "fe:ip_out*"),
        ("six_then_skb", "fentry", "fe:six_then_skb"),
    }
    assert [p.arguments for p in plan.probes if p.symbol == "six_then_skb"] == [{"skb": 6}]


def test_a_type_given_by_name_is_refused_where_it_is_not_there() -> None:
    error = refused(made_kernel(("kprobe",)), probes=("fe:ip_rcv",))
    assert isinstance(error, Unsupported)
    assert error.message == "can't probe function ip_rcv by fentry: the kernel refuses it"
    assert error.hint == "write func: for whatever works here"


def test_returns_have_the_value_behind_what_the_entry_had() -> None:
    plan = planned(probes=("kr:ip_rcv", "fx:ip_rcv", "fx:six_then_skb", "k:ip_rcv"))
    there = {(p.symbol, p.mechanism): p for p in plan.probes if p.asked and ":" not in p.symbol}
    assert {place: p.arguments for place, p in there.items()} == {
        ("ip_rcv", "kretprobe_multi"): {"skb": 0, "dev": 1, "result": 6},
        ("ip_rcv", "fexit"): {"skb": 0, "dev": 1, "result": 4},
        ("six_then_skb", "fexit"): {"skb": 6, "result": 7},
        ("ip_rcv", "kprobe_multi"): {"skb": 0, "dev": 1},
    }
    assert {p.mechanism for p in there.values() if "retval" in p.sections} == {"kretprobe_multi", "fexit"}
    assert [p.returns.text for p in there.values() if p.returns] == ["int"] * 3
    assert plan.any_return
    assert plan.sections[0] == "retval"
    assert "retval" not in planned(probes=("fe:ip_rcv",)).sections


@pytest.mark.parametrize(
    ("kind", "features", "message"),
    [
        ("kr", ("fentry",), "can't probe function ip_rcv: no kprobes here, this kernel doesn't have it"),
        ("fx", ("kprobe",), "can't probe function ip_rcv by fexit: the kernel refuses it"),
    ],
)
def test_returns_are_refused_where_they_are_not_there(
    kind: str, features: tuple[str, ...], message: str
) -> None:
    error = refused(made_kernel(features), probes=(f"{kind}:ip_rcv",))
    assert isinstance(error, Unsupported)
    assert error.message == message


def test_filters_of_the_return_value_are_for_returns() -> None:
    fields = FilterOptions(fields="retval < 0")
    plan = planned(probes=("kr:ip_rcv", "tp:" + RX), filters=fields)
    assert [n for n in plan.notes if "field filter" in n] == [
        f"nothing passes the field filter at {RX}, {DROP}: only exit probes have a return value"
    ]
    assert refused(probes=("ip_rcv",), filters=fields).message == (
        "nothing can pass the field filter at ip_rcv, skb:kfree_skb: only exit probes have a return value"
    )


def test_a_function_without_a_type_gets_what_works() -> None:
    plan = planned(made_kernel(("fentry",)), probes=("ip_rcv",), collectors=("skb",))
    assert [p.mechanism for p in plan.probes if p.asked] == ["fentry"]
    assert plan.notes == ("ip_rcv is probed by fentry: no kprobes here, this kernel doesn't have it",)


def test_a_function_without_a_type_gets_what_reads_its_arguments() -> None:
    plan = planned(probes=("ip_rcv", "*_skb", "k:five_then_skb"), collectors=("skb",))
    assert {(p.symbol, p.mechanism) for p in plan.probes if "*_skb" in p.asked} == {
        ("five_then_skb", "kprobe_multi"),
        ("six_then_skb", "fentry"),
        ("dev_and_six_then_skb", "fentry"),
    }
    why = "kprobes read only the first 6 arguments"
    assert plan.notes == (f"2 functions of *_skb are probed by fentry: {why}",)
    assert plan.choices == {"kprobe_multi": "one program and one link serve all functions", "fentry": why}
    assert planned(made_kernel(("kprobe",)), probes=("ip_rcv",)).choices.keys() == {"kprobe"}
    assert not planned(probes=("k:ip_rcv",)).choices


@pytest.mark.parametrize("probes", [("fe:ip_rcv", "ip_rcv"), ("ip_rcv", "fe:ip_rcv")])
def test_a_function_without_a_type_joins_the_probe_that_is_there(probes: tuple[str, ...]) -> None:
    """Else everything would be told twice."""
    plan = planned(probes=probes, collectors=("skb",))
    assert [(p.symbol, p.mechanism, set(p.asked)) for p in plan.probes if p.asked] == [
        ("ip_rcv", "fentry", {"fe:ip_rcv", "ip_rcv"})
    ]


def test_fentry_needs_no_kprobes() -> None:
    plan = planned(made_kernel(("fentry",)), probes=("fe:ip_rcv",), collectors=("skb",))
    assert [p.mechanism for p in plan.probes if p.asked] == ["fentry"]


def test_many_kprobes_one_by_one_are_warned_of() -> None:
    more = {f"many_{n}": ("skb",) for n in range(60)}
    slow = planned(made_kernel(("kprobe", "fentry"), more=more), probes=("many_*",))
    assert [n for n in slow.notes if "one by one" in n] == [
        "64 functions are probed one by one, which takes a while at the start and the end: this kernel "
        "has no kprobe.multi"
    ]
    for kernel in (made_kernel(more=more), made_kernel(("kprobe", "fentry"))):
        assert not [n for n in planned(kernel, probes=("*_rcv",)).notes if "one by one" in n]


def test_stack_is_for_one_probe_or_for_all() -> None:
    plan = planned(probes=("ip_rcv/stack", "ip_output"))
    assert plan.any_stack
    assert {s for s, p in probes(plan).items() if "STACK" in p.flags} == {"ip_rcv"}
    assert {s for s, p in asked(planned(stack=True)).items() if "STACK" in p.flags} == {RX, TX, DROP}
    assert not planned().any_stack


def test_a_place_named_twice_is_probed_once() -> None:
    there = probes(planned(probes=("ip_rcv", "ip_rcv/stack", "tp:skb:kfree_skb", "skb:*")))
    assert there["ip_rcv"].flags == {"STACK"}
    assert there["ip_rcv"].asked == ("ip_rcv", "ip_rcv/stack")
    assert there[DROP].asked == ("tp:skb:kfree_skb", "skb:*", "skb-drop")
    assert there[DROP].sections == USUAL | {"skb_drop"}


@pytest.mark.parametrize("word", ["dev", "skb-drop"])
def test_a_probe_that_is_spelled_like_a_collector_is_no_collectors_own(word: str) -> None:
    if word == "dev":
        error = refused(made_kernel(more={"dev": ("int",)}), probes=(word,))
        assert error.message.endswith("from dev: its arguments are (int)")
    else:
        assert refused(probes=(word,)).message == "'skb-drop' in 'skb-drop' is no function name"
