"""Rules by their handles, compared with nft(8): its list for the text, its JSON for the handles there are."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fyke.capture.rulesets import Rulesets
from fyke.events.escape import printable
from fyke.kernel.netns import inside
from fyke.kernel.nftables import Nftables, NftError
from fyke.kernel.ruleset_reader import Reader, Unreadable
from live.netns import Netns, ip
from live.topology import nft, two_ns
from live.waiting import eventually

# Kinds of rules; a kernel may lack some. `@s` and the chain `sub` are there.
KINDS = """
accept
drop comment "no way"
ip saddr 10.0.0.2 counter drop comment "no way"
ip saddr @s drop
ip saddr != @s counter packets 5 bytes 70 drop
ip saddr { 10.0.0.1, 10.0.0.2, 10.0.1.0/24 } drop
ip6 daddr 2001:db8::/32 accept
ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2 . 80-90 } accept
tcp dport vmap { 22 : jump sub, 80 : accept, 81 : drop }
tcp dport { LARGE } counter accept comment "large"
udp dport 1-1023 jump sub
udp dport 53 goto sub
ct state established,related accept
ct state vmap { established : accept, invalid : drop }
ct mark set 0x12
ct mark set meta mark and 0xff or 0x100
meta mark 5 meta mark set 6
meta l4proto { tcp, udp } th dport 53 accept
meta skuid 0 accept
meta time > "2020-01-01 00:00:00" accept
meta hour "08:00"-"17:00" accept
meta priority set 1:2
meta nftrace set 1
iif "lo" accept
iifname "lo" accept
iifname { "eth0", "eth1" } accept
iifname "wan*" drop
oifname "odd;name" drop
iifgroup 5 accept
log prefix "hello: " level debug
log prefix "a # handle 3" flags all
log group 5 queue-threshold 3 snaplen 100
limit rate 10/minute burst 5 packets accept
limit rate over 100 kbytes/second drop
quota over 25 mbytes drop
queue num 3
queue flags bypass to 1-4
reject
reject with icmp port-unreachable
reject with icmpx admin-prohibited
reject with tcp reset
tcp flags syn / fin,syn,rst,ack accept
tcp flags & (syn | ack) == syn accept
tcp option maxseg size set 1400
tcp option maxseg size set rt mtu
icmp type { echo-request, echo-reply } accept
icmpv6 type nd-neighbor-solicit accept
ip dscp set cs1
ip ttl set 5
ip frag-off & 0x1fff != 0 drop
exthdr frag exists drop
@nh,72,8 6 accept
@th,16,16 { 80, 443 } accept
numgen inc mod 2 == 0 accept
jhash ip saddr mod 4 == 1 accept
fib saddr . iif oif missing drop
fib daddr type local accept
socket transparent 1 accept
osf name "Linux" accept
rt classid 1 accept
ip saddr 10.0.0.1 tcp dport 22 ip daddr 10.0.0.2 ct count over 5 reject
add @d { ip saddr timeout 10s limit rate 5/second } accept
update @d { ip saddr } counter
meter m { ip saddr limit rate 5/second } accept
dup to 10.0.0.1
notrack
ct helper set "ftp"
ct zone set 5
ether saddr 02:00:00:00:00:01 accept
vlan id 5 accept
arp operation request accept
counter name "cnt" accept
quota name "quo" drop
ip daddr map { 10.0.0.1 : 10.0.0.2 } accept
meta mark set tcp dport map { 80 : 0x1, 443 : 0x2 }
return
continue comment "# handle 9"
counter comment "drop # handle 10"
counter comment "über \x1b[31m 'odd' {} ; \\\\ and $more"
""".replace("LARGE", ", ".join(str(port) for port in range(1, 4000, 2)))

BASE = """
table inet t {
  set s { type ipv4_addr; flags interval; elements = { 10.1.0.0/16, 10.2.0.0/16 }; }
  set d { type ipv4_addr; size 1000; flags dynamic,timeout; }
  counter cnt { }
  quota quo { 25 mbytes }
  chain sub { comment "of # handle 5 {"; }
  chain hooked { type filter hook input priority 0; policy accept; }
}
table ip n {
  chain c { type nat hook postrouting priority 100; }
}
"""
NAT = ("masquerade", "snat to 10.0.0.1:1000-2000 random", 'redirect to :80 comment "n"', "dnat to 10.0.0.5")


@contextmanager
def rulesets() -> Iterator[Rulesets]:
    found = Rulesets()
    try:
        yield found
    finally:
        found.close()


def known(found: Rulesets, ns: Netns, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Return the rules' texts, which take long to come in an emulated kernel; all must come."""
    texts: dict[tuple[int, int], str] = {}
    for key in keys:
        eventually(lambda key=key: found.rule(ns.inode, *key) is not None)  # type: ignore[misc]
        texts[key] = found.rule(ns.inode, *key) or ""
    return texts


def add(ns: Netns, rules: list[tuple[str, str]]) -> int:
    """Add rules, as far as this kernel can; return how many it took. A rule: where, and what."""

    def work() -> int:
        taken = 0
        with Nftables() as nft_:
            for where, text in rules:
                try:
                    nft_.run(f"add rule {where} {text}".encode())
                    taken += 1
                except NftError:
                    continue
        return taken

    return inside(ns.inode, work)


def json_rules(ns: Netns) -> dict[tuple[int, int], dict[str, object]]:
    """Return (handle of the table, of the rule) -> the rule as `nft -j` has it."""
    objects = json.loads(ns.run("nft", "-j", "-a", "list", "ruleset").stdout)["nftables"]
    tables = {(t["family"], t["name"]): t["handle"] for o in objects for t in [o.get("table")] if t}
    return {(tables[r["family"], r["table"]], r["handle"]): r for o in objects for r in [o.get("rule")] if r}


def listed(ns: Netns) -> dict[tuple[int, int], str]:
    """Return (handle of the table, of the rule) -> its line; no line may be broken."""
    found, table = {}, 0
    for line in ns.run("nft", "-a", "-s", "list", "ruleset").stdout.splitlines():
        if match := re.fullmatch(r"table .* \{ # handle (\d+)", line):
            table = int(match[1])
        elif (match := re.fullmatch(r"\t\t(.*) # handle (\d+)", line)) and line[2] not in "\t":
            found[table, int(match[2])] = match[1]
    return found


@pytest.mark.host_only
def test_each_kind_of_rule_is_as_nft_lists_it() -> None:
    rules = [("inet t hooked", kind) for kind in KINDS.strip().splitlines()]
    rules += [("ip n c", kind) for kind in NAT] + [("inet t sub", "drop")]
    with two_ns() as pair, nft(pair.a.ns, BASE), rulesets() as found:
        assert add(pair.a.ns, rules) > 60
        theirs, there = listed(pair.a.ns), json_rules(pair.a.ns)
        ours = known(found, pair.a.ns, there)
    assert there.keys() == theirs.keys()
    for key, text in theirs.items():
        assert ours[key].replace("\\\\", "\\") == text[:4096] + (" ..." if len(text) > 4096 else "")
    assert sum(len(text) > 4096 for text in theirs.values()) == 1


@pytest.mark.host_only
def test_a_few_rules_in_two_namespaces() -> None:
    rules = """table inet t {{ chain c {{ type filter hook input priority 0;
        iif {} drop comment "no way"; udp dport {{ 5, 6 }} counter accept; }}; }}"""
    with two_ns() as pair, rulesets() as found:
        hosts = (pair.a, pair.b)
        for host in hosts:
            host.ns.run("nft", "-f", "-", stdin=rules.format(host.dev))
        for host in hosts:
            theirs = listed(host.ns)
            assert known(found, host.ns, theirs) == theirs
            assert f'iif "{host.dev}" drop comment "no way"' in theirs.values()


@pytest.mark.host_only
def test_odd_comments_and_prefixes_mislead_nobody(tmp_path: Path) -> None:
    forged = 'x" # handle 3\n\t\taccept # handle 4\n\t}\n\n\tchain c { # handle 1\n\t\tdrop comment "'
    file = tmp_path / "rule.json"
    with two_ns() as pair, rulesets() as found:
        ns = pair.a.ns
        ns.run("nft", "add table inet t; add chain inet t c")
        for comment in ("first", forged, "\x1b[2J\x07", 'quo"te', "last"):
            rule = {
                "family": "inet",
                "table": "t",
                "chain": "c",
                "comment": comment,
                "expr": [{"drop": None}],
            }
            file.write_text(json.dumps({"nftables": [{"add": {"rule": rule}}]}))
            ns.run("nft", "-j", "-f", str(file))
        theirs = json_rules(ns)
        for key, text in known(found, ns, theirs).items():
            rule_ = theirs[key]
            comment = re.sub(r"\n\t+ *", " ", str(rule_["comment"]))
            assert text == f'drop comment "{comment}"'
            assert printable(text).isprintable()


@pytest.mark.host_only
def test_rules_that_come_and_go() -> None:
    with (
        two_ns() as pair,
        nft(pair.a.ns, "table inet t { chain c { ip ttl 1 drop; }; }"),
        rulesets() as found,
    ):
        ns = pair.a.ns
        found.start([ns.inode])
        ((table, first),) = listed(ns)
        assert known(found, ns, [(table, first)]) == {(table, first): "ip ttl 1 drop"}
        assert found.rule(ns.inode, table, 4711) is None
        ns.run("nft", "add rule inet t c ip ttl 2 accept")
        second = max(rule for _, rule in listed(ns))
        eventually(lambda: found.rule(ns.inode, table, second) == "ip ttl 2 accept")
        ns.run("nft", "replace rule inet t c handle", str(second), "ip ttl 3 accept")
        third = max(rule for _, rule in listed(ns))  # some kernels keep the handle
        eventually(lambda: found.rule(ns.inode, table, third) == "ip ttl 3 accept")
        ns.run("nft", "flush ruleset")
        assert found.rule(ns.inode, table, first) == "ip ttl 1 drop"
        assert found.rule(ns.inode, table, third) == "ip ttl 3 accept"


@pytest.mark.host_only
def test_a_rule_that_is_gone_before_it_is_asked_for() -> None:
    with two_ns() as pair, nft(pair.a.ns, "table inet t { chain c { }; }"), rulesets() as found:
        ns = pair.a.ns
        found.start([ns.inode])
        ns.run("nft", "add rule inet t c ip ttl 2 accept")
        ((table, rule),) = listed(ns)
        eventually(lambda: (table, rule) in found._texts.get(ns.inode, {}))  # nobody has asked for it
        ns.run("nft", "flush ruleset")
        assert found.rule(ns.inode, table, rule) == "ip ttl 2 accept"


@pytest.mark.host_only
def test_a_namespace_is_not_kept_alive() -> None:
    with (
        two_ns() as pair,
        nft(pair.a.ns, "table inet t { chain c { ip ttl 1 drop; }; }"),
        rulesets() as found,
    ):
        inode = pair.a.ns.inode
        ((table, rule),) = listed(pair.a.ns)
        assert known(found, pair.a.ns, [(table, rule)])
        try:
            ip([f"netns del {pair.a.ns.name}"])
            # The device goes with the namespace of its peer.
            eventually(lambda: pair.b.dev not in pair.b.ns.run("ip", "-o", "link").stdout)
        finally:
            ip([f"netns add {pair.a.ns.name}"])
        assert found.rule(inode, table, rule) == "ip ttl 1 drop"
        assert found.rule(inode, table, 99) is None


@pytest.mark.host_only
def test_a_reader_that_dies_is_replaced() -> None:
    with two_ns() as pair, nft(pair.a.ns, "table inet t { chain c { ip ttl 1 drop; }; }"):
        reader, descriptor = Reader(), os.open(pair.a.ns.path, os.O_RDONLY)
        try:
            found = reader.read(descriptor, None)
            assert found.texts == {next(iter(listed(pair.a.ns))): "ip ttl 1 drop"}
            assert reader._process
            os.kill(reader._process.pid, signal.SIGKILL)
            with pytest.raises(Unreadable, match="library failed"):
                reader.read(descriptor, None)
            assert reader.read(descriptor, None) == found
            assert reader.read(descriptor, found) == replace(found, texts=None)
        finally:
            os.close(descriptor)
            reader.close()


@pytest.mark.host_only
def test_ten_thousand_rules_do_not_slow_the_start() -> None:
    lines = "".join(
        f"ip saddr 10.0.{n >> 8}.{n & 255} tcp dport {n + 1} counter drop\n" for n in range(10_000)
    )
    with (
        two_ns() as pair,
        nft(pair.a.ns, f"table inet t {{\n chain c {{\n{lines}}}\n}}"),
        rulesets() as found,
    ):
        inode = pair.a.ns.inode
        began = time.monotonic()
        found.start([inode])
        assert time.monotonic() - began < 0.5
        ((table, last),) = [key for key, text in listed(pair.a.ns).items() if "dport 10000 " in text]
        assert (
            known(found, pair.a.ns, [(table, last)])[table, last]
            == "ip saddr 10.0.39.15 tcp dport 10000 counter drop"
        )
