"""Verdicts of nftables, compared with `nft monitor trace`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fyke.capture.filters import FilterOptions
from fyke.errors import Unsupported
from live import recording
from live.needs import missing
from live.nft_trace import Verdict, nft_trace
from live.recording import RX, Recording, Row, packet_id, record
from live.topology import Routed, nft, routed
from live.traffic import ping, udp_send

FUNCTION = "__nft_trace_packet"
LONG = "c" * 100

# IPv6's own packets (neighbours, routers, listeners; hop limits 255 and 1) come at any time: not traced.
RULES = f"""
table inet t {{
  chain sub {{
    udp dport 9 counter drop comment "nobody # handle 7";
    meta l4proto {{ icmp, icmpv6 }} return;
    counter;
  }}
  chain {LONG} {{ counter; }}
  chain early {{
    type filter hook prerouting priority -300;
    ip6 hoplimit {{ 1, 255 }} accept;
    meta nftrace set 1;
  }}
  chain through {{
    type filter hook forward priority 0; policy drop;
    jump sub;
    ct state new meta mark set 5;
    udp dport 53 goto {LONG};
    udp dport 54 queue num 40000 bypass;
    accept;
  }}
}}
table ip n {{
  chain before {{ type nat hook prerouting priority -100; udp dport 55 dnat to :56; }}
  chain behind {{ type nat hook postrouting priority 100; masquerade; }}
}}
"""
FEW = """
table ip t {
  chain sub { udp dport 9 drop; }
  chain c {
    type filter hook prerouting priority 0;
    udp dport { 9, 53 } meta nftrace set 1; jump sub; accept;
  }
  chain f { type filter hook forward priority 0; policy accept; udp dport 53 counter; }
}
"""
ONE_PORT = """
table inet t {
  chain c { type filter hook prerouting priority 0; udp dport 57 meta nftrace set 1; accept; }
}
"""


@contextmanager
def ruled(rules: str = RULES) -> Iterator[Routed]:
    """A router with rules; the kernel is looked at anew, since rules may have loaded the module."""
    with routed() as net, nft(net.router, rules):
        recording.kernel.cache_clear()
        yield net


def verdicts(rows: list[Row]) -> list[Verdict]:
    """Return the events' verdicts without the ends of chains, which nft shows on some kernels only."""
    return [
        Verdict(
            nft["table_name"],
            nft["chain_name"],
            nft["rule_handle"],
            nft["verdict"],
            nft["verdict_chain_name"] or "",
            nft["policy"],
        )
        for row in rows
        if (nft := row["nft"]) and not is_end(nft)
    ]


def shown(found: list[Verdict]) -> list[Verdict]:
    """Leave out of which rule a return is: on some kernels nft doesn't show it."""
    return [replace(v, handle=None) if v.verdict == "return" else v for v in found]


def is_end(nft: Row) -> bool:
    return nft["rule_handle"] is None and not nft["policy"]


def traffic(net: Routed) -> None:
    for to in (net.b.v4, net.b.v6):
        assert ping(net.a, to, count=2) == 2
        for port in (9, 53, 54, 55, 57):
            udp_send(net.a, to, b"hello", port=port)


def of_router(done: Recording) -> list[Row]:
    return [row for row in done.rows if row["kernel"]["symbol"] == FUNCTION]


def handles(net: Routed) -> dict[str, int]:
    """Return the handles of tables and chains as `nft` lists them."""
    found = {}
    for line in net.router.run("nft", "-a", "list", "ruleset").stdout.splitlines():
        words = line.split()
        if words and words[0] in ("table", "chain"):
            found[words[-5]] = int(words[-1])  # chain NAME { # handle 3
    return found


def listed(net: Routed) -> dict[tuple[str, int], str]:
    """Return the rules by table and handle as `nft` lists them."""
    found, table = {}, ""
    for line in net.router.run("nft", "-s", "-a", "list", "ruleset").stdout.splitlines():
        text, _, handle = line.strip().rpartition(" # handle ")
        if text.startswith("table "):
            table = text.split()[2]
        elif text and not text.startswith("chain "):
            found[table, int(handle)] = text
    return found


def test_it_works_or_says_why() -> None:
    with ruled(ONE_PORT):
        if not (missing("kprobe") or missing("nft_types")):
            (probe,) = recording.plan(collectors=("nft",)).probes
            assert (probe.symbol, probe.asked, set(probe.sections)) == (FUNCTION, ("nft",), {"nft"})
            return
        with pytest.raises(Unsupported) as caught:
            recording.plan(collectors=("nft",))
    why = "no kprobes here" if missing("kprobe") else "no types (BTF) of its module nf_tables"
    assert why in caught.value.message


@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_verdicts_are_those_of_nft() -> None:
    with ruled() as net, nft_trace(net.router) as monitor:
        done = record(lambda: traffic(net), collectors=("nft", "ns"), nft_verdicts=("all",), probes=())
        theirs = monitor.verdicts()
        known, rules = handles(net), listed(net)
    rows = of_router(done)
    ours = verdicts(rows)
    assert shown(ours) == shown([v for v in theirs if v.handle or v.policy or v.verdict != "continue"])
    assert {v.verdict for v in ours} == {"accept", "drop", "jump", "goto", "return", "continue", "queue"}
    assert {v.target for v in ours} == {"", "sub", LONG}
    assert {v.chain for v in ours} >= {"early", "through", "sub", LONG, "before", "behind"}
    ends = [row["nft"] for row in rows if is_end(row["nft"])]
    assert {(end["chain_name"], end["verdict"]) for end in ends} >= {
        ("early", "continue"),
        (LONG, "continue"),
    }
    for nft_ in (row["nft"] for row in rows):
        assert (nft_["table_handle"], nft_["chain_handle"]) == (
            known[nft_["table_name"]],
            known[nft_["chain_name"]],
        )
        assert nft_["rule"] == rules.get((nft_["table_name"], nft_["rule_handle"])), nft_
    assert len({nft_["rule"] for nft_ in (row["nft"] for row in rows)}) > len(rules) // 2


@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
@pytest.mark.ends_only
def test_thousands_of_verdicts() -> None:
    """In batches that nft, which hears of verdicts over a socket, can follow."""
    with ruled(FEW) as net, nft_trace(net.router) as monitor:

        def batches() -> None:
            for number in range(10):
                payloads = [f"{number} {n}".encode() for n in range(100)]
                udp_send(net.a, net.b.v4, *payloads, port=(9, 53, 57)[number % 3])
                monitor.settle(0.1)

        done = record(batches, collectors=("nft", "ns"), nft_verdicts=("all",), probes=())
        theirs = monitor.verdicts()
    assert not done.lost()
    ours = verdicts(of_router(done))
    assert len(ours) > 2000
    assert ours == [v for v in theirs if v.handle or v.policy or v.verdict != "continue"]


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_only_verdicts_that_are_asked_for_become_events() -> None:
    with ruled() as net:
        usual = of_router(record(lambda: traffic(net), collectors=("nft", "ns")))
        jumps = record(lambda: traffic(net), collectors=("nft", "ns"), nft_verdicts=("jump", "queue"))
    assert {row["nft"]["verdict"] for row in usual} == {"drop", "accept"}
    assert {row["nft"]["verdict"] for row in of_router(jumps)} == {"jump", "queue"}
    assert jumps.filtered[FUNCTION] > jumps.written[FUNCTION]


@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_packets_that_no_rule_traces_are_none_of_it() -> None:
    with ruled(ONE_PORT) as net:
        done = record(lambda: traffic(net), collectors=("nft", "ns", "skb"), nft_verdicts=("all",))
    rows = of_router(done)
    assert [v.verdict for v in verdicts(rows)] == ["continue", "accept"] * 2
    assert {row["packet"]["data"][-11:-9] for row in rows} == {b"\x00\x39"}  # port 57


@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_the_packet_is_the_one_that_was_received() -> None:
    with ruled() as net:
        done = record(
            lambda: ping(net.a, net.b.v4),
            collectors=("nft", "ns", "skb", "dev", "skb-tracking"),
            probes=(RX,),
        )
        inode = net.router.inode
    here = [row for row in done.rows if row["netns"]["inum"] == inode]
    pings = [row for row in here if row["kernel"]["symbol"] == RX and row["packet"]["data"][23] == 1]
    assert len(pings) == 2
    for came in pings:
        later = [row for row in here if packet_id(row) == packet_id(came) and row["nft"]]
        assert [row["nft"]["verdict"] for row in later][:2] == ["accept", "accept"]
        assert later[0]["packet"]["data"][14:] == came["packet"]["data"][14:]


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_field_filters_look_at_the_packet() -> None:
    filters = FilterOptions(fields="sk_buff.mark == 5")
    with ruled() as net:
        done = record(lambda: traffic(net), collectors=("nft", "ns"), filters=filters)
    assert done.plan.notes == ()
    assert {v.chain for v in verdicts(of_router(done))} == {"through", "behind"}


@pytest.mark.ends_only
@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_the_chain_of_many_rules() -> None:
    rules = "".join(f"udp dport {10000 + n} drop; " for n in range(1500))
    chain = f"type filter hook prerouting priority 0; meta nftrace set 1; {rules} accept;"
    with ruled(f"table ip t {{ chain many {{ {chain} }}; }}") as net:
        rows = of_router(
            record(lambda: ping(net.a, net.b.v4), collectors=("nft", "ns"), nft_verdicts=("all",))
        )
    assert [v.verdict for v in verdicts(rows)] == ["continue", "accept"] * 2
    assert {row["nft"]["chain_name"] for row in rows} == {"many"}
