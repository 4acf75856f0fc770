"""A packet's journey through the chains of a router, as its user sees it: trace table, rules, NAT, drop."""

from __future__ import annotations

from pathlib import Path
from socket import inet_ntoa

import pytest

import fyke
from live.command import collecting
from live.command import fyke as run_fyke
from live.pages import ROOT, commands, run_as_shown
from live.recording import RX, TX, ipv4
from live.topology import Routed, nft, routed
from live.traffic import ping, udp_send

pytestmark = [pytest.mark.needs("kprobe"), pytest.mark.needs("nft_types")]

MARKS = 'ip protocol icmp meta mark set 0x00000007 comment "marks"'
PAGE = ROOT / "docs" / "netfilter.md"
VERDICTS = "__nft_trace_packet"
RULES = """
table ip mangle {
  chain pre { type filter hook prerouting priority mangle; ip protocol icmp meta mark set 7 comment "marks"; }
}
table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ip protocol icmp accept
    udp dport 9 counter drop comment "nobody listens there"
  }
}
table ip nat {
  chain post { type nat hook postrouting priority srcnat; masquerade; }
}
"""


def recorded(net: Routed, folder: Path, expression: str) -> tuple[Path, str]:
    """Record what a sends through the router; return the file, and what was said."""
    out = folder / "events.arrow"
    words = ["-c", "skb,skb-drop,skb-tracking,dev,ns,nft,ct", "--nft-verdicts", "all"]
    words += ["-p", RX, "-p", TX, "-p", "tp:skb:kfree_skb", "--allow-system-changes"]
    words += ["--netns", net.router.name, "-f", expression, "-o", str(out)]
    with collecting(folder, *words) as running:
        assert ping(net.a, net.b.v4, count=3) == 3
        udp_send(net.a, net.b.v4, b"x", port=9)
        code, _, err = running.end()
    assert code == 0, err
    return out, err


def test_one_journey_through_all_chains_and_nat(tmp_path: Path) -> None:
    with routed() as net, nft(net.router, RULES):
        before = net.router.run("nft", "-s", "list", "ruleset").stdout
        out, _ = recorded(net, tmp_path, f"icmp and src {net.a.v4}")
        assert net.router.run("nft", "-s", "list", "ruleset").stdout == before
        router = net.to_b.v4
    with fyke.open(out) as recording:
        journeys = list(recording.journeys())
    assert len(journeys) == 3
    for number, journey in enumerate(journeys):
        rows = [event.to_dict() for event in journey.events]
        seen = [row["nft"] for row in rows if "nft" in row]
        chains = list(dict.fromkeys(n["chain_name"] for n in seen))
        # Of a connection only the first packet is looked at by chains of NAT.
        assert chains[1:] == ["pre", "forward", *(["post"] if number == 0 else [])], chains
        assert MARKS in [n.get("rule") for n in seen if n["chain_name"] == "pre"]
        sources = [inet_ntoa(ipv4(row)[12:16]) for row in rows if "packet" in row]
        last = max(n for n, row in enumerate(rows) if "nft" in row)
        assert set(sources[: last + 1]) == {net.a.v4}, sources
        assert set(sources[last + 1 :]) == {router}, sources


@pytest.mark.ends_only
def test_a_drop_ends_the_journey_with_the_rule(tmp_path: Path) -> None:
    with routed() as net, nft(net.router, RULES):
        out, _ = recorded(net, tmp_path, f"udp and src {net.a.v4}")
    (drop,) = fyke.open(out).query("SELECT tuple, reason, rule FROM drops").to_pylist()
    assert drop["rule"] == 'filter forward: udp dport 9 counter drop comment "nobody listens there"'
    assert drop["tuple"].endswith(f"> {net.b.v4}.9")
    text = run_fyke("sort", "-e", str(out)).stdout
    assert ' drop rule: udp dport 9 counter drop comment "nobody listens there"' in text


@pytest.mark.ends_only
def test_the_page_of_netfilter(tmp_path: Path) -> None:
    blocks = commands([PAGE], "sh kprobes")
    assert len(blocks) == 2
    assert VERDICTS in "".join(run_as_shown(block, tmp_path) for block in blocks)
