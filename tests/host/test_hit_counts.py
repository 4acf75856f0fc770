"""What fyke counts at functions is what the kernel's own tracer counts there."""

from __future__ import annotations

from collections import Counter

import pytest

from live.ftrace import traced
from live.recording import record
from live.sockets import know_each_other, udp_socket
from live.topology import two_ns
from live.traffic import udp_send
from live.waiting import eventually

FUNCTIONS = ("ip_rcv", "ip_local_deliver", "udp_rcv", "ip_output")
"""Where nothing passes but what the test sends, in namespaces or elsewhere in a guest."""


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
@pytest.mark.needs("filter_functions")
@pytest.mark.parametrize("without", [(), ("kprobe_multi",)])
def test_hits_are_those_of_the_function_tracer(without: tuple[str, ...]) -> None:
    """Every hit is counted, also where a filter lets few packets pass; returns are counted as calls are."""
    counted: Counter[str] = Counter()
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)

        def traffic() -> None:
            with traced(FUNCTIONS) as there:
                udp_send(pair.a, pair.b.v4, *[b"%d" % n for n in range(200)])
                eventually(lambda: there.counts()["udp_rcv"] == 200)
                counted.update(there.counts())

        probes = (*(f"k:{name}" for name in FUNCTIONS[:3]), f"kr:{FUNCTIONS[3]}")
        done = record(traffic, collectors=("skb", "ns"), probes=probes, without=without)
    assert counted == dict.fromkeys(FUNCTIONS, 200)
    assert {name: done.hits[name] for name in FUNCTIONS} == counted
    assert {name: done.written[name] for name in FUNCTIONS} == counted
