"""`--ct-events`: which functions are probed, which connections are told of, and when it can't be."""

from __future__ import annotations

import pytest
from made_kernel import INT, made_kernel
from made_plan import RX, asked, planned, probes, refused

from fyke.capture.begin import checked_options
from fyke.capture.connections import Connections, plan_connections
from fyke.capture.filters import FilterOptions, Filters, parse_filters
from fyke.capture.probes import ProbeSet
from fyke.collectors.ct import COLLECTOR as CT
from fyke.errors import Unsupported, UsageError
from fyke.kernel import netns

INSERT, DELETE, CONFIRM = "__nf_conntrack_hash_insert", "__nf_ct_delete_from_lists", "__nf_conntrack_confirm"
FUNCTIONS: dict[str, tuple[str, ...]] = {INSERT: (INT,), DELETE: (INT,), CONFIRM: (INT,)}
KERNEL = made_kernel(more=FUNCTIONS)
SECTIONS = {"ct_event", "ct", "ct_parent", "netns"}


def test_it_is_off_unless_asked_for() -> None:
    plan = planned(KERNEL, collectors=("ct",), probes=(f"tp:{RX}",))
    assert list(asked(plan)) == [RX]
    assert plan.connections == Connections()
    assert "ct_event" not in plan.sections


def test_the_places_where_connections_come_and_go() -> None:
    plan = planned(KERNEL, ct_events=True)
    assert "ct_event" in plan.sections
    for symbol, flag in ((INSERT, "CREATED"), (DELETE, "DESTROYED")):
        probe = asked(plan)[symbol]
        assert (probe.sections, probe.flags, probe.arguments) == (SECTIONS, {flag}, {"other": 0})
        assert probe.program == "connection_kprobe_multi"
    assert "ct_event" not in asked(plan)[RX].sections
    assert CONFIRM not in probes(plan)


def test_stacks_are_for_every_event() -> None:
    filters = FilterOptions(packet="udp")
    plan = planned(KERNEL, collectors=("ct",), ct_events=True, stack=True, filters=filters)
    assert {symbol for symbol, probe in asked(plan).items() if "STACK" in probe.flags} == {INSERT, DELETE}


def test_they_need_no_others() -> None:
    plan = planned(KERNEL, collectors=("ct",), ct_events=True)
    assert list(asked(plan)) == [INSERT, DELETE]
    assert {section for probe in plan.probes for section in probe.sections} == SECTIONS - {"netns"}


def test_an_older_name() -> None:
    old = {INSERT: (INT,), "nf_ct_delete_from_lists": (INT,)}
    plan = planned(made_kernel(("kprobe",), more=old), collectors=("ct",), ct_events=True)
    probe = asked(plan)["nf_ct_delete_from_lists"]
    assert (probe.flags, probe.program) == ({"DESTROYED"}, "connection_kprobe")


def test_the_users_probe_there_is_another_one() -> None:
    kernel = made_kernel(more={**FUNCTIONS, INSERT: ("skb",)})
    plan = planned(kernel, collectors=("ct", "skb"), probes=(INSERT,), ct_events=True)
    both = [(p.program, p.asked) for p in plan.probes if p.symbol == INSERT]
    assert both == [
        ("probe_kprobe_multi", (INSERT,)),
        ("connection_kprobe_multi", ("--ct-events",)),
    ]


def test_filters_are_asked_of_the_packet_that_begins_a_connection() -> None:
    plan = planned(KERNEL, ct_events=True, filters=FilterOptions(packet="udp"))
    assert plan.connections == Connections(noted=True)
    confirm = asked(plan)[CONFIRM]
    assert (confirm.sections, confirm.flags, confirm.arguments) == (frozenset(), {"CONNECTS"}, {"skb": 0})
    assert confirm.program == "probe_kprobe_multi"
    assert not any(symbol in note for note in plan.notes for symbol in FUNCTIONS)


def test_field_filters_start_from_that_packet() -> None:
    probes = ProbeSet(KERNEL, (CT,), ("ct", "ct_event"), stack=False, roots=("net", "sk_buff"))
    probes.add_connections(judge=True)
    assert probes.by_place[CONFIRM, "kprobe_multi", "probe_kprobe_multi"].roots == {"sk_buff": 0}
    assert probes.by_place[INSERT, "kprobe_multi", "connection_kprobe_multi"].roots == {}


def test_a_filter_may_leave_only_connections() -> None:
    plan = planned(KERNEL, collectors=("ct",), ct_events=True, filters=FilterOptions(packet="udp"))
    assert list(asked(plan)) == [INSERT, DELETE, CONFIRM]


def test_a_namespace_alone_is_asked_of_the_connection() -> None:
    own = str(netns.own_inode())
    alone = parse_filters(FilterOptions(netns=own))
    assert plan_connections(alone, Filters()) == Connections(netns=int(own))
    both = parse_filters(FilterOptions(netns=own, packet="udp"))
    assert plan_connections(both, Filters(packet=both.packet)) == Connections(noted=True)


def test_what_cannot_be_seen_is_told() -> None:
    plan = planned(made_kernel(more={DELETE: (INT,)}), collectors=("ct",), ct_events=True)
    assert list(asked(plan)) == [DELETE]
    (note,) = plan.notes
    assert note.startswith("--ct-events: can't see connections that are created (")
    assert INSERT in note


@pytest.mark.parametrize(
    ("features", "more", "why"),
    [((), FUNCTIONS, "no kprobes here"), (("kprobe",), {}, f"{INSERT} is inlined, in a module that")],
)
def test_where_it_cannot_work(features: tuple[str, ...], more: dict[str, tuple[str, ...]], why: str) -> None:
    error = refused(made_kernel(features, more=more), collectors=("ct",), ct_events=True)
    assert isinstance(error, Unsupported)
    assert error.message.startswith(f"--ct-events can't work here: {why}")


def test_without_the_collector() -> None:
    error = refused(KERNEL, collectors=("skb",), ct_events=True)
    assert isinstance(error, UsageError)
    assert error.message == "--ct-events needs the collector ct"


def test_without_conntrack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KERNEL, "has_type", lambda kind, name: False)
    error = refused(KERNEL, ct_events=True)
    assert isinstance(error, Unsupported)
    assert error.message.startswith("--ct-events can't work here: this kernel has no connection tracking")


def test_options() -> None:
    assert not checked_options().ct_events
    assert checked_options(ct_events=True).ct_events
