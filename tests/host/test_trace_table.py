"""Tables that have packets traced: where they are, which packets they take, and that nothing is left."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from fyke.capture.trace_table import TraceTables, all_leftovers, is_own, leftovers, own_name
from fyke.errors import Unsupported
from fyke.filters.pcap.compile import compile_packet_filter
from fyke.filters.pcap.nft import rules
from fyke.kernel.netns import inside
from fyke.kernel.xtables import legacy_tables
from live import recording
from live.filter_pairs import Libpcap, judge
from live.netns import Netns
from live.nft_trace import nft_trace
from live.recording import record
from live.topology import TwoNs, nft, routed, two_ns
from live.traffic import ping, udp_send
from live.waiting import eventually

USERS = """
table inet users {
  set s { type ipv4_addr; elements = { 10.0.0.1 }; }
  chain c { type filter hook prerouting priority -300; ip saddr @s counter drop comment "mine"; }
}
"""
FILTERS = (
    "not (src port 53 or dst port 80)",
    "icmp",
    "not icmp",
    "src host 10.0.0.1",
    "not net 10.0.0.0/8",
    "tcp port 80",
    "port 53 and not host 10.0.0.2",
    "not port 53",
    "udp portrange 50-90",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "ip6",
    "ip6 host 2001:db8::1 and udp",
    "ip[0] & 0xf > 5 or ip[8] < 5",
    "icmp or (tcp and dst port 443) or ip6 proto 17",
)

# What is run as another process: tables until it is killed.
HOLDER = """
import sys
from fyke.capture import trace_table
if sys.argv[2] == "without":
    make = trace_table.commands
    def without(*of, owner):
        return "refused" if owner else make(*of, owner=False)
    trace_table.commands = without
with trace_table.TraceTables([int(sys.argv[1])], None):
    print(trace_table.own_name(), flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that has tables. owner: "with" or "without" the flag."""

    def __init__(self, ns: Netns, owner: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(ns.inode), owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.name = self._process.stdout.readline().strip()

    def kill(self, *, guard: bool = False) -> None:
        """Kill it, and before that what waits for its end."""
        if guard:
            pid = self._process.pid
            (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


def ruleset(ns: Netns) -> str:
    return ns.run("nft", "-a", "list", "ruleset").stdout


def tables(ns: Netns) -> list[str]:
    return ns.run("nft", "list", "tables").stdout.splitlines()


def list_here() -> str:
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return done.stdout


def owner_flag() -> str:
    """Return why tables have no owner here, "" if they have."""
    with two_ns() as pair:
        done = pair.a.ns.run("nft", "-f", "-", stdin="table inet t {\nflags owner;\n}\n", check=False)
    return "" if done.returncode == 0 else "this kernel, or nft, knows no owner of tables"


@pytest.mark.host_only
def test_tables_are_where_they_are_wanted_and_go() -> None:
    with two_ns() as pair, nft(pair.a.ns, USERS), nft(pair.b.ns, USERS):
        before = [ruleset(host.ns) for host in (pair.a, pair.b)]
        here = list_here()
        with TraceTables([pair.a.ns.inode], None) as made:
            assert made.note == ""
            assert tables(pair.a.ns) == ["table inet users", f"table inet {own_name()}"]
            assert ruleset(pair.b.ns) == before[1]
        assert [ruleset(host.ns) for host in (pair.a, pair.b)] == before
        with TraceTables([pair.a.ns.inode, pair.b.ns.inode], None):
            assert all(own_name() in ruleset(host.ns) for host in (pair.a, pair.b))
        assert [ruleset(host.ns) for host in (pair.a, pair.b)] == before
        assert list_here() == here


@pytest.mark.host_only
def test_what_can_not_be_made_leaves_nothing() -> None:
    with two_ns() as pair, nft(pair.a.ns, USERS):
        before = ruleset(pair.a.ns)
        with pytest.raises(Unsupported, match="namespace 4711"):
            TraceTables([pair.a.ns.inode, 4711], None)
        assert ruleset(pair.a.ns) == before


@pytest.mark.host_only
def test_users_may_flush_it() -> None:
    with two_ns() as pair, ExitStack() as stack:
        stack.enter_context(TraceTables([pair.a.ns.inode], None))
        pair.a.ns.run("nft", "flush", "ruleset", check=False)
        pair.a.ns.run("nft", "-f", "-", stdin=USERS)
        stack.close()
        assert tables(pair.a.ns) == ["table inet users"]


def test_killed_it_leaves_nothing() -> None:
    if why := owner_flag():
        pytest.skip(why)
    with two_ns() as pair, nft(pair.a.ns, USERS):
        before = ruleset(pair.a.ns)
        holder = Holder(pair.a.ns, "with")
        assert holder.name in ruleset(pair.a.ns)
        holder.kill()
        assert ruleset(pair.a.ns) == before


def test_without_an_owner_another_process_waits_for_the_end() -> None:
    with two_ns() as pair, nft(pair.a.ns, USERS):
        before = ruleset(pair.a.ns)
        holder = Holder(pair.a.ns, "without")
        assert holder.name in ruleset(pair.a.ns)
        holder.kill()
        eventually(lambda: ruleset(pair.a.ns) == before)


@pytest.mark.host_only
def test_when_that_is_killed_too_the_next_one_cleans_up() -> None:
    with two_ns() as pair, nft(pair.a.ns, USERS):
        before, inode = ruleset(pair.a.ns), pair.a.ns.inode
        alive, killed = Holder(pair.a.ns, "without"), Holder(pair.a.ns, "without")
        killed.kill(guard=True)
        assert {alive.name, killed.name} <= set(re.findall(r"fyke_trace_\w+", ruleset(pair.a.ns)))
        assert [table.name.decode() for table in inside(inode, leftovers)] == [killed.name]
        assert (pair.a.ns.name, killed.name.encode()) in [(name, t.name) for name, t in all_leftovers()]
        with TraceTables([inode], None):
            assert f"table inet {killed.name}" not in tables(pair.a.ns)
            assert f"table inet {alive.name}" in tables(pair.a.ns)
            assert inside(inode, leftovers) == []
        alive.end()
        assert ruleset(pair.a.ns) == before


@pytest.mark.host_only
@pytest.mark.parametrize(
    ("family", "hook", "chains"),
    [
        ("bridge", "forward", ["prerouting", "output"]),
        ("arp", "input", ["input", "output"]),
        ("netdev", 'ingress device "lo"', ['ingress device "lo"']),
        ("netdev", 'egress device "lo"', ['egress device "lo"']),
        ("inet", 'ingress device "lo"', ['ingress device "lo"']),
    ],
)
def test_families_that_are_used(family: str, hook: str, chains: list[str]) -> None:
    with two_ns() as pair:
        ns = pair.a.ns
        with TraceTables([ns.inode], None):
            assert len(tables(ns)) == 1
        theirs = f"table {family} u {{\n chain c {{\n type filter hook {hook} priority 0;\n}}\n}}\n"
        if ns.run("nft", "-f", "-", stdin=theirs, check=False).returncode:
            pytest.skip(f"no hook {hook} in the family {family}")
        before = ruleset(ns)
        with TraceTables([ns.inode], compile_packet_filter("icmp")):
            made = ns.run("nft", "list", "table", family.replace("inet", "netdev"), own_name()).stdout
            assert re.findall("type filter hook (.*) priority -2147483648", made) == chains
            assert made.count("meta nftrace set 1") == len(chains) * (1 if family == "arp" else 2)
        assert ruleset(ns) == before


@pytest.mark.host_only
def test_another_one_is_no_use_of_a_family() -> None:
    with two_ns() as pair:
        ns = pair.a.ns
        arp = "table arp u {\n chain c {\n type filter hook input priority 0;\n}\n}\n"
        if ns.run("nft", "-f", "-", stdin=arp, check=False).returncode:
            pytest.skip("no family arp")
        holder = Holder(ns, "with")
        ns.run("nft", "delete table arp u")
        with TraceTables([ns.inode], None):
            assert sorted(line for line in tables(ns) if holder.name not in line) == [
                f"table inet {own_name()}"
            ]
        holder.end()


@pytest.mark.host_only
def test_tables_of_iptables_legacy() -> None:
    with two_ns() as pair:
        assert legacy_tables(pair.a.ns.inode) == []
        with pair.a.ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
            # IPT_SO_GET_INFO, struct ipt_getinfo: a table comes to be when it is asked for.
            asked, length = ctypes.create_string_buffer(b"filter", 84), ctypes.c_uint32(84)
            call = ctypes.CDLL(None).getsockopt
            if call(asking.fileno(), socket.SOL_IP, 64, asked, ctypes.byref(length)):
                pytest.skip("no iptables-legacy")
        assert legacy_tables(pair.a.ns.inode) == ["filter"]
        assert legacy_tables(pair.b.ns.inode) == []


# ---- which packets


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ip_packet(random: Random) -> bytes:
    """Return a packet that is right as far as the kernel looks at it before the first hook."""
    sport, dport = random.choices((53, 80, 443, 60, 5000), k=2)
    protocol = random.choice((1, 6, 17, 17, 6, 132, 47))
    body = struct.pack("!HHIIBB", sport, dport, 8, 0, 0x50, random.choice((2, 0x12, 0x10))) + bytes(10)
    body = body[: random.choice((28, 28, 28, 6))]
    if random.random() < 0.35:
        hosts = [bytes.fromhex("20010db8" + "00" * 11 + n) for n in random.choices(("01", "02"), k=2)]
        between = b""
        if random.random() < 0.3:
            between, protocol = bytes([protocol, 0, 1, 4, 0, 0, 0, 0]), 60  # destination options
        head = struct.pack("!IHBB", 0x60000000, len(between + body), protocol, random.choice((3, 64)))
        return head + b"".join(hosts) + between + body
    options = random.choice((b"", b"", b"\1\1\1\0"))
    fragment = random.choice((0, 0, 0, 0x2000, 0x2003, 0x4000))
    hosts = [
        bytes(map(int, a.split("."))) for a in random.choices(("10.0.0.1", "10.0.0.2", "192.0.2.9"), k=2)
    ]
    ttl, total = random.choice((3, 64)), 20 + len(options) + len(body)
    first, last = struct.pack("!BBHHHBB", 0x45 + len(options) // 4, 0, total, 7, fragment, ttl, protocol), b""
    last = b"".join(hosts) + options
    return first + struct.pack("!H", checksum(first + b"\0\0" + last)) + last + body


def send_raw(pair: TwoNs, packets: list[bytes]) -> None:
    macs = bytes.fromhex((pair.b.mac + pair.a.mac).replace(":", ""))
    with pair.a.ns.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
        for packet in packets:
            kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
            sending.sendto(macs + kind + packet, (pair.a.dev, 0))


def counted(ns: Netns) -> Counter[str]:
    """Return how many packets the rules of each chain have counted."""
    found: Counter[str] = Counter()
    for line in json.loads(ns.run("nft", "-j", "list", "ruleset").stdout)["nftables"]:
        for expression in line.get("rule", {}).get("expr", ()):
            if "counter" in expression:
                found[line["rule"]["chain"]] += expression["counter"]["packets"]
    return found


@pytest.mark.host_only
def test_the_kernel_reads_the_rules_of_a_filter_as_libpcap_the_filter() -> None:
    random = Random(7)
    packets = [ip_packet(random) for _ in range(150)]
    lines = ["table inet t {"]
    for number, text in enumerate((*FILTERS, "ip or ip6")):
        program = compile_packet_filter(text).raw
        assert program is not None
        lines += [f"chain c{number} {{", "type filter hook prerouting priority -500;"]
        lines += [" ".join([*map(str, rule), "counter accept"]) for rule in rules(program) or ()]
        lines.append("}")
    with two_ns() as pair, nft(pair.b.ns, "\n".join(["", *lines, "}", ""])):
        before = counted(pair.b.ns)
        send_raw(pair, packets)
        all_of_them = f"c{len(FILTERS)}"
        eventually(lambda: counted(pair.b.ns)[all_of_them] >= len(packets))
        after = counted(pair.b.ns)
    more = after[all_of_them] - before[all_of_them] - len(packets)  # neighbours talk of themselves
    for number, text in enumerate(FILTERS):
        expected = sum(judge(Libpcap(text).raw, packet) for packet in packets)
        assert 0 < expected < len(packets), text
        got = after[f"c{number}"] - before[f"c{number}"]
        assert expected <= got <= expected + more, text


@pytest.mark.host_only
def test_a_filter_that_can_not_be_said_is_noted() -> None:
    with two_ns() as pair:
        for text in ("ether host 02:00:00:00:00:01", "less 100"):
            with TraceTables([pair.a.ns.inode], compile_packet_filter(text)) as made:
                assert "all packets are traced" in made.note
                assert ruleset(pair.a.ns).count("\t\tmeta nftrace set 1 accept") == 2


# ---- with a collection


@pytest.mark.host_only
def test_a_collection_that_can_not_be_leaves_nothing() -> None:
    with two_ns() as pair, nft(pair.a.ns, USERS):
        before = ruleset(pair.a.ns)
        command = ("collect", "-c", "nft", "--allow-system-changes", "-p", "tp:no:such")
        done = pair.a.ns.run(sys.executable, "-m", "fyke", *command, check=False)
        assert done.returncode == 2
        assert ruleset(pair.a.ns) == before


@pytest.mark.needs("kprobe")
@pytest.mark.needs("nft_types")
def test_packets_of_the_filter_are_traced_and_no_others() -> None:
    with (
        routed() as net,
        nft(net.router, USERS),
        TraceTables([net.router.inode], compile_packet_filter("icmp")),
    ):
        recording.kernel.cache_clear()
        with nft_trace(net.router) as monitor:

            def traffic() -> None:
                assert ping(net.a, net.b.v4, count=2) == 2
                udp_send(net.a, net.b.v4, b"hello", port=9)

            done = record(traffic, collectors=("nft", "ns"), nft_verdicts=("all",), probes=())
            theirs = [(v.table, v.chain, v.verdict) for v in monitor.verdicts()]
        rows = [row["nft"] for row in done.rows if row["nft"] and row["netns"]["inum"] == net.router.inode]
        rows = [nft_ for nft_ in rows if nft_["rule_handle"] is not None or nft_["policy"]]
    ours = [(nft_["table_name"], nft_["chain_name"], nft_["verdict"]) for nft_ in rows]
    # Two requests and their replies; b's answer to UDP is ICMP as well.
    assert ours.count((own_name(), "prerouting", "accept")) == 5
    assert ours.count(("users", "c", "accept")) == 5
    assert ours == [v for v in theirs if v in set(ours)]
    assert is_own(ours[0][0])
