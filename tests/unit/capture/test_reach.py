"""What arguments lead to, on a kernel made up here."""

from __future__ import annotations

import pytest
from made_kernel import DEV, FAR, INT, NET, PSKB, QDISC, SKB, SOCK, SOCKET, STATE, WRONG, made_kernel

from fyke.capture.getters import ENDS, GETTERS
from fyke.capture.plan import Options, make_plan
from fyke.capture.reach import Reach, Reaches


def reach(*kinds: str, mechanism: str = "kprobe") -> Reach:
    kernel = made_kernel(more={"probed": kinds})
    prototype = kernel.function_prototype("probed")
    assert prototype
    return Reaches(kernel).of(prototype.params, mechanism)


@pytest.mark.parametrize(
    ("kinds", "arguments", "steps", "ways"),
    [
        ((INT, SOCK), {"net": 1}, {"net": (48,)}, {"net": "sock->__sk_common.skc_net.net"}),
        ((SOCKET,), {"net": 0}, {"net": (24, 48)}, {"net": "socket->sk->__sk_common.skc_net.net"}),
        ((QDISC, INT), {"dev": 0}, {"dev": (64, 0)}, {"dev": "queueing->dev_queue->dev"}),
        (
            (STATE,),
            {"dev": 0, "net": 0},
            {"dev": (16,), "net": (32,)},
            {"dev": "state->out", "net": "state->net"},
        ),
        ((SKB, STATE), {"skb": 0, "dev": 1, "net": 1}, {"dev": (16,), "net": (32,)}, {}),
        ((PSKB,), {"skb": 0}, {"skb": (0,)}, {"skb": "*pskb"}),
        ((FAR,), {}, {}, {}),
        ((WRONG,), {}, {}, {}),
        ((INT, INT), {}, {}, {}),
    ],
)
def test_ways(
    kinds: tuple[str, ...], arguments: dict[str, int], steps: dict[str, tuple[int, ...]], ways: dict[str, str]
) -> None:
    found = reach(*kinds)
    assert (found.arguments, found.steps) == (arguments, steps)
    for end, way in ways.items():
        assert found.getters[end].path(kinds[arguments[end]]) == way
    assert {ENDS[end] for end in arguments} <= found.types


def test_an_argument_is_better_than_a_way_and_an_earlier_way_than_a_later_one() -> None:
    assert reach(STATE, DEV, SOCK, NET).steps == {}
    assert reach(STATE, DEV, SOCK, NET).arguments == {"dev": 1, "net": 3}
    for kinds in ((SOCK, STATE), (STATE, SOCK)):
        assert reach(*kinds).arguments["net"] == kinds.index(STATE)


def test_only_what_can_be_read_leads_anywhere() -> None:
    kinds = (INT, INT, INT, INT, INT, INT, SOCK)
    assert reach(*kinds).arguments == {}
    assert reach(*kinds, mechanism="fentry").arguments == {"net": 6}


def test_a_pointer_to_a_pointer_is_followed_by_its_name_only() -> None:
    """Others hold a result, and what is there before the function has run is anything."""
    kernel = made_kernel(more={"probed": (PSKB,)})
    prototype = kernel.function_prototype("probed")
    assert prototype
    (param,) = prototype.params
    assert param.type == "struct sk_buff **"
    renamed = type(param)("last", param.type_id, param.type)
    assert Reaches(kernel).of([renamed], "kprobe").arguments == {}


def test_a_plan_takes_the_ways_into_its_probes() -> None:
    kernel = made_kernel(more={"sk_probed": (INT, SOCK)})
    plan = make_plan(Options(collectors=("ns", "dev"), probes=("sk_probed", "ip_rcv")), kernel, 2)
    there, usual = plan.probes
    assert (there.symbol, there.arguments, there.steps) == ("sk_probed", {"net": 1}, {"net": (48,)})
    assert there.sections == {"netns"}
    assert (usual.symbol, usual.steps) == ("ip_rcv", {})


def test_no_way_is_there_twice_and_each_is_short_enough() -> None:
    assert len(set(GETTERS)) == len(GETTERS)
    assert max(getter.way.count("->") for getter in GETTERS) < 3  # struct probe has room for 3 pointers
