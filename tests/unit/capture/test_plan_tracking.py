"""Tracking's own probes on made-up kernels: its functions, their returns, and what stands in for them."""

from __future__ import annotations

import pytest
from made_kernel import FLAG, INT, SKB, made_kernel
from made_plan import CONSUME, DROP, NO_GSO, RX, TX, USUAL, exits, planned, probes, refused

from fyke.capture.plan import Plan
from fyke.capture.planned import PlannedProbe
from fyke.errors import Unsupported
from fyke.kernel.view import LiveKernel

FREES_UNSEEN = (
    "skb-tracking doesn't see every end of a packet ({}): it knows a packet again by its headers, "
    "and can't follow one that is encrypted in place or sent again"
)
NO_KPROBES = "no kprobes here, this kernel doesn't have it"
NO_GRO = "skb-tracking: can't see which packet others were merged into by GRO"
NO_LISTS = "skb-tracking: can't see which list of packets others were put into by GRO"
NO_RETURNS = (
    f"{NO_GSO}, nor which packet others were merged into by GRO, nor which list of packets others were put "
    "into by GRO (no fexit here, the kernel refuses it)"
)
SYMBOLS_OF_EXITS = {"__skb_gso_segment", "skb_gro_receive", "skb_gro_receive_list", "pskb_expand_head"}


def function(symbol: str, flag: str, mechanism: str = "kprobe_multi", **more: int) -> PlannedProbe:
    return PlannedProbe(symbol, mechanism, frozenset(), {"skb": 0} | more, frozenset({flag}))


# Besides the frees of data.
MOVES = [
    function("kfree_skb_partial", "FREE_IF_STOLEN", other=1),
    function("pskb_expand_head", "EXPAND"),
    function("napi_skb_free_stolen_head", "FREE"),
]


def own(plan: Plan) -> list[PlannedProbe]:
    return [p for p in plan.probes if p.internal and p.mechanism != "fexit"]


# Where it is reached


def test_tracking_adds_its_functions_where_it_can_probe_them() -> None:
    plan = planned(collectors=("skb-tracking",), probes=("ip_rcv",))
    assert own(plan) == [function("skb_free_head", "FREE"), *MOVES]
    assert not plan.verify_identity
    assert plan.notes == ()


def test_where_the_memory_is_used_again_at_once_the_skb_is_the_second_argument() -> None:
    there = probes(planned(made_kernel(more={"napi_reuse_skb": ("napi", SKB)})))
    assert there["napi_reuse_skb"] == PlannedProbe(
        "napi_reuse_skb", "kprobe_multi", frozenset(), {"skb": 1}, frozenset({"FREE"})
    )


def test_without_tracking_nothing_is_added() -> None:
    plan = planned(collectors=("skb",), probes=("ip_rcv",))
    assert [p.symbol for p in plan.probes] == ["ip_rcv"]
    assert not plan.tracking
    assert not plan.verify_identity


def test_a_move_that_cannot_be_seen_is_said() -> None:
    plan = planned(made_kernel(without=("kfree_skb_partial",)))
    assert plan.notes == (
        "skb-tracking: can't see packets that became part of another (kfree_skb_partial) "
        "(kfree_skb_partial can't be probed here)",
    )
    assert "kfree_skb_partial" not in probes(plan)
    assert not plan.verify_identity


def test_moves_of_data_are_seen_at_both_ends_or_not_at_all() -> None:
    plan = planned(made_kernel(without=("pskb_expand_head",)))
    assert plan.notes == (
        "skb-tracking: can't see packets whose data moves to other memory (pskb_expand_head) "
        "(pskb_expand_head can't be probed here)",
    )
    assert "pskb_expand_head" not in probes(plan)
    assert set(exits(plan)) == SYMBOLS_OF_EXITS - {"pskb_expand_head"}


def test_where_the_free_is_inlined_its_caller_and_tracepoints_stand_in() -> None:
    plan = planned(made_kernel(without=("skb_free_head",)))
    assert plan.tracking
    assert plan.verify_identity
    assert own(plan) == [
        function(CONSUME, "FREE_SHARED", "raw_tracepoint"),
        function("skb_release_data", "RELEASE"),
        *MOVES,
    ]
    drop = probes(plan)[DROP]
    assert drop.flags == {"FREE_SHARED"}
    assert drop.sections == USUAL | {"skb_drop"}
    assert drop.arguments == {"skb": 0, "reason": 2}
    assert drop.asked == ("skb-drop",)
    assert set(exits(plan)) == SYMBOLS_OF_EXITS
    assert plan.notes == (FREES_UNSEEN.format("skb_free_head can't be probed"),)


def test_where_its_caller_is_not_there_either_the_rest_is() -> None:
    plan = planned(made_kernel(without=("skb_free_head", "skb_release_data", "kfree_skb_partial")))
    assert plan.verify_identity
    assert own(plan) == [function(CONSUME, "FREE_SHARED", "raw_tracepoint"), *MOVES[1:]]
    assert [note.partition(" (")[0] for note in plan.notes] == [
        "skb-tracking doesn't see every end of a packet",
        "skb-tracking: can't see packets that became part of another",
    ]


def test_without_kprobes_tracepoints_and_returns_remain() -> None:
    plan = planned(made_kernel(("fentry",)))
    assert plan.tracking
    assert plan.verify_identity
    assert set(probes(plan)) == {RX, TX, DROP, CONSUME}
    assert own(plan) == [function(CONSUME, "FREE_SHARED", "raw_tracepoint")]
    assert probes(plan)[DROP].flags == {"FREE_SHARED"}
    assert set(exits(plan)) == SYMBOLS_OF_EXITS
    assert plan.notes == (FREES_UNSEEN.format(NO_KPROBES),)


def test_tracking_by_tracepoints_alone() -> None:
    plan = planned(made_kernel(()))
    assert plan.verify_identity
    assert set(probes(plan)) == {RX, TX, DROP, CONSUME}
    assert not exits(plan)
    assert plan.notes == (
        FREES_UNSEEN.format(NO_KPROBES),
        NO_RETURNS,
    )


def test_without_kprobes_functions_are_refused_with_the_reason() -> None:
    for probe in ("ip_rcv", "k:ip_rcv", "ip_*"):
        error = refused(made_kernel(()), probes=(probe,))
        assert isinstance(error, Unsupported)
        target = probe.removeprefix("k:")
        assert error.message == f"can't probe function {target}: {NO_KPROBES}"
        assert error.hint == "use tracepoints: -p tp:SUBSYSTEM:NAME"


def test_a_users_probe_at_trackings_place_serves_both() -> None:
    plan = planned(probes=("pskb_expand_head/stack", "skb_free_head", "tp:skb:consume_skb"))
    there = probes(plan)
    free = there["skb_free_head"]
    assert free.flags == {"FREE"}
    assert free.sections == USUAL
    assert free.asked == ("skb_free_head",)
    expand = there["pskb_expand_head"]
    assert expand.flags == {"STACK", "EXPAND"}
    assert expand.sections == USUAL
    assert not expand.internal
    # Functions are probed, so this tracepoint frees nothing.
    assert there[CONSUME].flags == frozenset()


def test_a_users_fentry_at_trackings_place_serves_both() -> None:
    """A program of its own might run first and forget the packet before its event is made."""
    there = probes(planned(probes=("fe:skb_free_head",)))["skb_free_head"]
    assert (there.mechanism, there.flags, there.sections) == ("fentry", {"FREE"}, USUAL)


# Where it returns


def test_returns_are_planned_as_any_probe() -> None:
    plan = planned(collectors=("skb-tracking",), probes=("ip_rcv",))
    merge = frozenset({"skb_tracking"})
    on_list, of_one = {"skb": 1, "other": 0, "result": 2}, {"skb": 0, "result": 3}
    expected = [
        PlannedProbe("__skb_gso_segment", "fexit", frozenset(), of_one, exit="gso"),
        PlannedProbe("skb_gro_receive", "fexit", merge, on_list, exit="gro"),
        PlannedProbe("skb_gro_receive_list", "fexit", merge, on_list, exit="gro_list"),
        PlannedProbe("pskb_expand_head", "fexit", frozenset(), {"skb": 0, "result": 4}, exit="expand"),
    ]
    assert list(exits(plan).values()) == expected
    assert all(p.internal for p in exits(plan).values())


def test_a_returned_value_is_behind_all_arguments_however_many() -> None:
    plan = planned(made_kernel(more={"__skb_gso_segment": (SKB, INT, FLAG, INT, INT, INT, INT)}))
    assert exits(plan)["__skb_gso_segment"].arguments == {"skb": 0, "result": 7}


def test_a_merge_is_recorded_whatever_else_is_collected_with_tracking_alone() -> None:
    assert exits(planned(skb_sections=("all",)))["skb_gro_receive"].sections == {"skb_tracking"}


@pytest.mark.parametrize("features", [("kprobe", "kprobe_multi"), ("kprobe",)])
def test_without_fexit_lineage_is_not_seen_and_each_loss_said(features: tuple[str, ...]) -> None:
    plan = planned(made_kernel(features))
    assert not exits(plan)
    # Moves are: the skb is known again when it is seen next.
    assert probes(plan)["pskb_expand_head"].flags == {"EXPAND"}
    assert not plan.verify_identity
    assert plan.notes == (NO_RETURNS,)


MISSING = [
    ("__skb_gso_segment", NO_GSO),
    ("skb_gro_receive", NO_GRO),
    ("skb_gro_receive_list", NO_LISTS),
]


@pytest.mark.parametrize(("missing", "lost"), MISSING)
def test_a_function_that_is_not_there_costs_its_return_alone(missing: str, lost: str) -> None:
    plan = planned(made_kernel(without=(missing,)))
    assert set(exits(plan)) == SYMBOLS_OF_EXITS - {missing}
    assert plan.notes == (f"{lost} ({missing} can't be probed here)",)
    assert not plan.verify_identity


def test_a_function_without_types_has_no_place_for_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = made_kernel()
    params = kernel.function_params
    monkeypatch.setattr(
        kernel, "function_params", lambda name: None if name == "skb_gro_receive" else params(name)
    )
    plan = planned(kernel)
    assert set(exits(plan)) == SYMBOLS_OF_EXITS - {"skb_gro_receive"}
    assert plan.notes == (f"{NO_GRO} (skb_gro_receive can't be probed here)",)


def test_a_function_that_is_not_traced_has_no_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has types, but ftrace can't put anything there."""
    kernel = made_kernel()
    has = kernel.has_function
    monkeypatch.setattr(kernel, "has_function", lambda name: name != "__skb_gso_segment" and has(name))
    plan = planned(kernel)
    assert set(exits(plan)) == SYMBOLS_OF_EXITS - {"__skb_gso_segment"}
    assert plan.notes == (f"{NO_GSO} (__skb_gso_segment can't be probed here)",)


@pytest.mark.parametrize(
    ("kernel", "mechanism"), [(made_kernel(), "kprobe_multi"), (made_kernel(("kprobe", "fentry")), "kprobe")]
)
def test_the_user_probes_the_entry_of_a_function_whose_return_tracking_looks_at(
    kernel: LiveKernel, mechanism: str
) -> None:
    plan = planned(kernel, probes=("skb_gro_receive/stack",))
    assert probes(plan)["skb_gro_receive"] == PlannedProbe(
        "skb_gro_receive",
        mechanism,
        frozenset(USUAL),
        {"skb": 0},  # as at any other function: the first one
        frozenset({"STACK"}),
        ("skb_gro_receive/stack",),
    )
    assert exits(plan)["skb_gro_receive"] == exits(planned())["skb_gro_receive"]
    assert sum(p.symbol == "skb_gro_receive" for p in plan.probes) == 2


def test_returns_count_as_probes() -> None:
    count = len(probes(planned())) + len(SYMBOLS_OF_EXITS)
    assert len(planned(max_probes=count).probes) == count
    assert refused(max_probes=count - 1).message == f"{count} probes are more than --max-probes {count - 1}"
