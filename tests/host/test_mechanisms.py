"""One function by every mechanism, on the same traffic: they tell the same."""

from __future__ import annotations

import pytest

from fyke.errors import Unsupported
from live.recording import RX, Recording, kernel, plan, record, udp_payload
from live.sockets import know_each_other, udp_socket
from live.topology import TwoNs, bridged, two_ns
from live.traffic import ping, udp_send

PAYLOADS = [f"number {n}".encode() for n in range(20)]
FUNCTIONS = ("ip_rcv", "udp_rcv", "ip_output", "consume_skb")
"""The packet is the first argument, or the third; the last one's packets are gone after it."""


def seen(done: Recording, mechanism: str) -> list[tuple[object, ...]]:
    """Return what was recorded of our packets, without what tells the mechanisms apart."""
    return [
        (row["kernel"]["symbol"], payload, row["skb_tracking"]["orig_head"], row["netns"], row["dev"])
        for row in done.rows
        if row["kernel"]["probe_type"] == mechanism and (payload := udp_payload(row)) in PAYLOADS
    ]


def sent(pair: TwoNs) -> None:
    udp_send(pair.a, pair.b.v4, *PAYLOADS)


@pytest.mark.needs("kprobe")
@pytest.mark.needs("fentry")
@pytest.mark.parametrize("without", [("kprobe_multi",), ("kprobe_multi", "kprobe_cookie"), ()])
def test_fentry_and_kprobes_tell_the_same(without: tuple[str, ...]) -> None:
    """Both at once at the same functions, each with its own way to find arguments and its number."""
    probes = tuple(f"{kind}:{function}" for kind in ("fe", "k") for function in FUNCTIONS)
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        done = record(lambda: sent(pair), probes=probes, without=without)
    by_fentry = seen(done, "fentry")
    assert [len([e for e in by_fentry if e[0] == f]) for f in FUNCTIONS[:3]] == [20, 20, 20]
    (kprobe,) = {p.mechanism for p in done.plan.probes if any(a.startswith("k:") for a in p.asked)}
    assert sorted(map(repr, seen(done, kprobe))) == sorted(map(repr, by_fentry))
    assert not done.gaps


@pytest.mark.needs("fentry")
@pytest.mark.needs("bridge_module")
def test_fentry_at_a_function_of_a_module() -> None:
    with bridged() as (pair, switch):
        inode = switch.inode
        kernel.cache_clear()  # what it knows of modules is older than this one
        done = record(lambda: ping(pair.a, pair.b.v4), probes=("fe:br_handle_frame_finish", f"tp:{RX}"))
    rows = done.at("br_handle_frame_finish")
    assert rows
    assert {row["netns"]["inum"] for row in rows} == {inode}
    assert {row["kernel"]["probe_type"] for row in rows} == {"fentry"}


def test_a_type_given_by_name_is_kept_or_refused() -> None:
    if kernel().features.has("fentry"):
        asked = [p for p in plan(probes=("fe:ip_rcv",)).probes if "fe:ip_rcv" in p.asked]
        assert [(p.symbol, p.mechanism) for p in asked] == [("ip_rcv", "fentry")]
        return
    with pytest.raises(Unsupported) as caught:
        plan(probes=("fe:ip_rcv",))
    why = kernel().features["fentry"].why
    assert why
    assert caught.value.message == f"can't probe function ip_rcv by fentry: {why}"
