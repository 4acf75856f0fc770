"""Returns of functions, by each mechanism: what was returned, by which call, of which packet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from fyke.capture.filters import FilterOptions
from fyke.errors import Unsupported
from live.recording import RX, Row, kernel, packet_id, plan, record, udp_payload
from live.sockets import know_each_other, udp_socket
from live.topology import TwoNs, nft, two_ns, vlan
from live.traffic import ping, udp_send

PAYLOADS = [f"number {n}".encode() for n in range(20)]
CLOSED = b"nobody listens"
FUNCTIONS = ("ip_rcv", "ip_output", "dev_hard_start_xmit", "nf_hook_slow")
"""They return numbers and a pointer; the packet is the first argument, or the third."""
DROP_PORT_9 = "table ip t { chain c { type filter hook input priority 0; udp dport 9 drop; }; }"
KPROBES = [("kprobe_multi",), ("kprobe_multi", "kprobe_cookie"), ()]


FEW = ("skb-tracking", "skb", "ns", "dev")
"""All collectors together take long to load in an emulated kernel."""


def sent(pair: TwoNs) -> None:
    udp_send(pair.a, pair.b.v4, *PAYLOADS)
    udp_send(pair.a, pair.b.v4, CLOSED, port=9)


def returns(rows: list[Row], mechanism: str) -> list[tuple[object, ...]]:
    """Return what was seen to return, in order, without what tells mechanisms apart."""
    return [
        (row["kernel"]["symbol"], *row["retval"].values(), row["skb_tracking"]["orig_head"], udp_payload(row))
        for row in rows
        if row["kernel"]["probe_type"] == mechanism
    ]


@pytest.mark.needs("kprobe")
@pytest.mark.needs("fentry")
@pytest.mark.parametrize("without", KPROBES)
def test_fexit_and_kretprobes_tell_the_same(without: tuple[str, ...]) -> None:
    probes = tuple(f"{kind}:{function}" for kind in ("fx", "kr") for function in FUNCTIONS)
    with two_ns() as pair, udp_socket(pair.b), nft(pair.b.ns, DROP_PORT_9):
        know_each_other(pair.a, pair.b)
        done = record(lambda: sent(pair), probes=probes, without=without, collectors=FEW)
    by_fexit = returns(done.rows, "fexit")
    assert Counter(symbol for symbol, *_ in by_fexit) >= Counter(dict.fromkeys(FUNCTIONS, 21))
    (kretprobe,) = {p.mechanism for p in done.plan.probes if any(a.startswith("kr:") for a in p.asked)}
    assert Counter(returns(done.rows, kretprobe)) == Counter(by_fexit)
    assert not done.gaps
    assert {name for symbol, _, name, *_ in by_fexit if symbol == "dev_hard_start_xmit"} == {"NULL"}


def by_mechanism() -> list[object]:
    need = {"kr": "kprobe", "fx": "fentry"}
    return [pytest.param(kind, marks=pytest.mark.needs(need[kind])) for kind in need]


each = pytest.mark.parametrize("kind", by_mechanism())


@each
def test_what_netfilter_decided(kind: str) -> None:
    """A drop is -EPERM, and the packet is gone then; 1 goes on with it."""
    with two_ns() as pair, udp_socket(pair.b), nft(pair.b.ns, DROP_PORT_9):
        know_each_other(pair.a, pair.b)
        done = record(lambda: sent(pair), probes=(f"{kind}:nf_hook_slow", f"tp:{RX}"), collectors=FEW)
    received = {packet_id(row): udp_payload(row) for row in done.at(RX)}
    hooked = [row for row in done.at("nf_hook_slow") if received.get(packet_id(row))]
    told: dict[bytes | None, list[Any]] = {payload: [] for payload in (*PAYLOADS, CLOSED)}
    for row in hooked:
        told[received[packet_id(row)]].append((*row["retval"].values(), udp_payload(row)))
    for payload, (*before, last) in told.items():  # hooks before that of the rule have nothing against it
        assert last == ((-1, "EPERM", "int", None) if payload == CLOSED else (1, None, "int", payload))
        assert {value for value, *_ in before} <= {1}


@each
def test_a_packet_that_is_gone_keeps_its_id_and_nothing_else(kind: str) -> None:
    with two_ns() as pair, udp_socket(pair.b):
        know_each_other(pair.a, pair.b)
        done = record(lambda: sent(pair), probes=(f"{kind}:ip_rcv", f"tp:{RX}"), collectors=FEW)
    received = {packet_id(row): row for row in done.at(RX)}
    back = [row for row in done.at("ip_rcv") if udp_payload(received[packet_id(row)])]
    assert [udp_payload(received[packet_id(row)]) for row in back] == [*PAYLOADS, CLOSED]
    for row in back:
        came = received[packet_id(row)]
        assert row["skb_tracking"]["skb"] == came["skb_tracking"]["skb"]
        assert row["timestamp_ns"] > came["timestamp_ns"]
        assert row["dev"]["name"] == pair.b.dev  # an argument of its own
    assert back[-1]["packet"] is None
    assert all(row["packet"]["data"][-9:-1] == b"number " or row["packet"] for row in back[:-1])


@each
def test_filters_of_the_return_value(kind: str) -> None:
    """The entry can't judge; what was returned decides, together with what the entry saw."""
    with two_ns() as pair, udp_socket(pair.b), nft(pair.b.ns, DROP_PORT_9):
        know_each_other(pair.a, pair.b)
        probes, collectors = (f"{kind}:nf_hook_slow",), ("skb", "ns")
        failed, fine = (
            record(
                lambda: sent(pair),
                probes=probes,
                collectors=collectors,
                filters=FilterOptions(packet="udp and dst host " + pair.b.v4, fields=fields),
            )
            for fields in ("retval == -1", "retval >= 0 and net.ns.inum != 0 or retval > 0")
        )
    assert [row["retval"]["name"] for row in failed.at("nf_hook_slow")] == ["EPERM"]
    assert {row["retval"]["value"] for row in fine.at("nf_hook_slow")} == {1}
    assert len(fine.at("nf_hook_slow")) >= len(PAYLOADS)
    for done in (failed, fine):
        (counts,) = [c for c in done.counts if c.symbol == "nf_hook_slow"]
        assert counts.hits == counts.filtered + done.written["nf_hook_slow"]


@each
@pytest.mark.needs("vlan")
def test_calls_inside_calls(kind: str) -> None:
    """Sending on a VLAN device sends on the device below, before it returns: the inner one returns first."""
    with vlan(77) as (_, tagged):
        options: dict[str, Any] = {"probes": (f"{kind}:__dev_queue_xmit",), "collectors": FEW}
        done = record(lambda: ping(tagged.a, tagged.b.v4), **options)
        few = replace(plan(**options), call_entries=1)
        lossy = record(lambda: ping(tagged.a, tagged.b.v4), few)
    assert not done.gaps
    assert len(done.at("__dev_queue_xmit")) >= 4
    (counts,) = [c for c in done.counts if c.symbol == "__dev_queue_xmit" and c.mechanism != "kprobe"]
    assert counts.hits == done.written["__dev_queue_xmit"]
    (counts,) = [c for c in lossy.counts if c.symbol == "__dev_queue_xmit"]
    assert counts.lost > 0
    assert counts.lost == lossy.lost("missed_return")
    assert counts.hits == lossy.written["__dev_queue_xmit"] + counts.lost


def test_a_type_given_by_name_is_kept_or_refused() -> None:
    for kind, feature, mechanisms in (
        ("kr", "kprobe", {"kretprobe", "kretprobe_multi"}),
        ("fx", "fentry", {"fexit"}),
    ):
        if kernel().features.has(feature):
            (asked,) = [p for p in plan(probes=(f"{kind}:ip_rcv",)).probes if f"{kind}:ip_rcv" in p.asked]
            assert asked.mechanism in mechanisms
            assert asked.returns
            continue
        with pytest.raises(Unsupported, match="ip_rcv") as caught:
            plan(probes=(f"{kind}:ip_rcv",))
        assert kernel().features[feature].why in caught.value.message
