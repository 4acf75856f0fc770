"""The profiles that come with fyke: each is loaded, and sees what it is for."""

from __future__ import annotations

import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fyke.capture.plan import Plan, make_plan
from fyke.cli.collect_options import collect_options
from fyke.cli.profiled import parse_profiled
from fyke.collectors import COLLECTORS
from fyke.collectors.ovs import COLLECTOR as OVS
from fyke.errors import Unsupported
from fyke.events.reader import open_events
from fyke.kernel.machine import online_cpus, possible_cpus
from fyke.profiles.conditions import ThisMachine
from fyke.profiles.find import SHIPPED, files_in, find_profile
from live import recording
from live.command import fyke
from live.needs import missing
from live.recording import RX, TX, Recording, Row, ipv4, packet_id, record, udp_payload
from live.sockets import know_each_other
from live.sources import counters
from live.topology import TwoNs, bridged, nft, two_ns
from live.traffic import PORT, ping, tcp_refused, tcp_transfer, udp_echo, udp_send, udp_to_nobody

DROP, READ = "skb:kfree_skb", "skb:skb_copy_datagram_iovec"
READ_UDP = "skb_consume_udp"
RETRANSMIT, RESET = "tcp:tcp_retransmit_skb", "tcp:tcp_send_reset"
FUNCTIONS = not missing("kprobe")
RST = 4
MACHINE = ThisMachine()


def planned(name: str) -> Plan:
    """Return what `fyke -p NAME collect` would do here."""
    options = collect_options(parse_profiled("collect", [], [name], []))
    return make_plan(options, recording.kernel(), max(possible_cpus()) + 1, online_cpus())


def seen_by(name: str, traffic: Callable[[], object]) -> Recording:
    return record(traffic, planned(name))


@pytest.mark.parametrize("name", ["generic", "container", "dns", "latency"])
def test_with_kprobes_every_kernel_has_a_good_variant(name: str) -> None:
    variants = find_profile(name, [SHIPPED]).variants["collect"][: 2 if name == "generic" else 1]
    why_not = [variant.why_not(MACHINE) for variant in variants]
    assert (None in why_not) == FUNCTIONS, why_not


def test_dropmon_sees_drops_with_reason_and_stack() -> None:
    with two_ns() as pair:
        seen = seen_by("dropmon", lambda: udp_to_nobody(pair.a, pair.b.v4))
        assert counters(pair.b.ns)["Udp.NoPorts"] == 1
        inode = pair.b.ns.inode
    (row,) = [row for row in seen.rows if udp_payload(row) == b"nobody"]
    assert row["kernel"]["symbol"] == DROP
    assert row["skb_drop"]["drop_reason"] in ("NO_SOCKET", "NOT_SPECIFIED")
    assert len(row["kernel"]["stack"]) > 5
    assert row["dev"]["name"] == pair.b.dev
    assert row["netns"]["inum"] == inode


RULES = f"""
table inet t {{
  chain c {{ type filter hook input priority 0; meta nftrace set 1; udp dport {PORT} drop; accept; }}
}}
"""


def test_nft_dropmon_sees_what_rules_drop_and_nothing_else() -> None:
    if missing("kprobe") or missing("nft_types"):
        with pytest.raises(Unsupported, match="nft can't work here: "):
            planned("nft-dropmon")
        return
    with two_ns() as pair, nft(pair.b.ns, RULES):
        recording.kernel.cache_clear()  # the rules may have loaded the module

        def traffic() -> None:
            ping(pair.a, pair.b.v4)
            udp_send(pair.a, pair.b.v4, b"one", b"two")

        seen = seen_by("nft-dropmon", traffic)
    ours = [row for row in seen.rows if row["nft"]]
    assert [udp_payload(row) for row in ours] == [b"one", b"two"]
    assert {(row["nft"]["table_name"], row["nft"]["verdict"]) for row in ours} == {("t", "drop")}
    assert all(row["kernel"]["stack"] for row in ours)


def test_generic_shows_the_way_through_the_stack() -> None:
    with two_ns() as pair:

        def traffic() -> None:
            ping(pair.a, pair.b.v4)
            tcp_refused(pair.a, pair.b.v4)

        seen = seen_by("generic", traffic)
    places = {row["kernel"]["symbol"] for row in seen.rows}
    assert {RX, TX, "net:net_dev_queue", "net:netif_rx"} <= places
    if FUNCTIONS:
        assert {"ip_rcv", "icmp_rcv", "ip_output", "tcp_v4_rcv"} <= places
        (request,) = [
            rows
            for rows in seen.journeys().values()
            if any(ipv4(row)[9:10] == b"\x01" and ipv4(row)[20:21] == b"\x08" for row in rows)
        ]
        order = ["ip_output", "net:net_dev_queue", TX, "net:netif_rx", RX, "ip_rcv", "icmp_rcv"]
        met = [row["kernel"]["symbol"] for row in request]
        assert [place for place in met if place in order] == order


@pytest.mark.parametrize("name", ["container", "dns", "ifdump", "latency", "tcp"])
def test_the_others_run_on_every_kernel(name: str) -> None:
    """What they see is looked at more closely on one."""
    with two_ns() as pair:

        def traffic() -> None:
            udp_echo(pair.a, pair.b, pair.b.v4, b"anything", port=53)
            tcp_refused(pair.a, pair.b.v4)

        seen = seen_by(name, traffic)
    # Whatever collectors work here bring probes of their own.
    own = {collector.name for collector in COLLECTORS}
    probed = {p.symbol for p in seen.plan.probes if not p.internal and not own.issuperset(p.asked)}
    met = {row["kernel"]["symbol"] for row in seen.rows} & probed
    assert len(met) > len(probed) / 3, probed - met


def test_ovs_runs_where_the_datapath_is() -> None:
    missing("openvswitch")  # loads the module, where there is one
    recording.kernel.cache_clear()
    if missing("kprobe") or OVS.unavailable(recording.kernel()):
        with pytest.raises(Unsupported, match="collector ovs can't work here: "):
            planned("ovs")
        return
    with two_ns() as pair:
        seen = seen_by("ovs", lambda: ping(pair.a, pair.b.v4))
    assert {RX, TX} <= {row["kernel"]["symbol"] for row in seen.rows}
    assert not seen.gaps


@pytest.mark.host_only
def test_each_profile_is_in_one_of_these() -> None:
    shipped = {profile.name for file in files_in(SHIPPED) for profile in file.profiles}
    assert shipped == {
        "container",
        "dns",
        "dropmon",
        "generic",
        "ifdump",
        "latency",
        "nft-dropmon",
        "ovs",
        "tcp",
    }


@pytest.mark.host_only
def test_ifdump_sees_what_enters_and_leaves() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        seen = seen_by("ifdump", lambda: ping(pair.a, pair.b.v4, count=3))
    icmp = [(row["kernel"]["symbol"], row["dev"]["name"]) for row in seen.rows if ipv4(row)[9:10] == b"\x01"]
    ways = [(TX, pair.a.dev), (RX, pair.b.dev), (TX, pair.b.dev), (RX, pair.a.dev)]
    assert Counter(one for one in icmp if one[0] in (RX, TX)) == dict.fromkeys(ways, 3)


@pytest.mark.host_only
def test_container_follows_a_packet_from_veth_to_veth() -> None:
    with bridged() as (pair, switch):
        know_each_other(pair.a, pair.b)
        with pair.a.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def traffic() -> None:
                sender.sendto(b"across", (pair.b.v4, PORT))
                pair.a.ns.ip("link set lo up")
                udp_send(pair.a, "127.0.0.1", b"not here")

            seen = seen_by("container", traffic)
    across = [row for row in seen.rows if udp_payload(row) == b"across"]
    assert len({packet_id(row) for row in across}) == 1
    ports = [f"{switch.name}{host.ns.name[-1]}" for host in (pair.a, pair.b)]
    devices = [row["dev"]["name"] for row in across if row["dev"]]
    wanted = [pair.a.dev, *ports, pair.b.dev]
    assert [name for name in dict.fromkeys(devices) if name in wanted] == wanted
    assert not [row for row in seen.rows if udp_payload(row) == b"not here"]


@pytest.mark.host_only
def test_tcp_sees_what_is_sent_again_resets_and_zero_windows() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        before = counters(pair.b.ns)
        seen = seen_by("tcp", lambda: trouble(pair))
        after = {host: counters(host.ns) for host in (pair.a, pair.b)}
    rows = [row for row in seen.rows if row["kernel"]["symbol"] in (RX, TX)]
    resets = [row for row in seen.at(TX, dev=pair.b.dev) if flags(row) & RST]
    assert len(resets) == after[pair.b]["Tcp.OutRsts"] - before["Tcp.OutRsts"] > 0
    assert [row for row in seen.at(RX, dev=pair.a.dev) if flags(row) & RST]
    # One that answers no packet has none to show; kernels without reasons report none to nobody's socket.
    reasons = "enum sk_rst_reason" in (recording.kernel().tracepoint_params("tcp_send_reset") or ())
    assert reasons <= len(seen.at(RESET)) <= len(resets)
    full = [row for row in rows if not flags(row) & RST and window(row) == 0]
    assert bool(full) == bool(after[pair.b]["TcpExt.TCPToZeroWindowAdv"]) is True
    again = seen.at(RETRANSMIT)
    assert len(again) == after[pair.a]["Tcp.RetransSegs"] > 0


def trouble(pair: TwoNs) -> None:
    """A connection that is refused; one whose receiver never reads; one to nobody, who is asked twice."""
    tcp_refused(pair.a, pair.b.v4)
    with (
        pair.b.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
        pair.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sender,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind((pair.b.v4, PORT))
        listener.listen()
        sender.settimeout(5)
        sender.connect((pair.b.v4, PORT))
        sender.settimeout(1)
        with pytest.raises(TimeoutError):
            sender.sendall(b"x" * (8 << 20))
    pair.a.ns.ip(f"neigh replace 192.0.2.99 lladdr 02:00:00:00:00:99 dev {pair.a.dev} nud permanent")
    with pair.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as nobody:
        nobody.settimeout(1.6)
        with pytest.raises(TimeoutError):
            nobody.connect(("192.0.2.99", PORT))


def _tcp(row: Row) -> bytes:
    ip = ipv4(row)
    return ip[(ip[0] & 15) * 4 :] if ip[9:10] == b"\x06" else b""


def flags(row: Row) -> int:
    tcp = _tcp(row)
    return tcp[13] if len(tcp) > 13 else 0


def window(row: Row) -> int | None:
    tcp = _tcp(row)
    return int.from_bytes(tcp[14:16], "big") if len(tcp) > 15 else None


@pytest.mark.host_only
def test_dns_sees_questions_and_answers_whole() -> None:
    question = b"q" * 700
    with two_ns() as pair:

        def traffic() -> None:
            udp_echo(pair.a, pair.b, pair.b.v4, question, port=53)
            udp_echo(pair.a, pair.b, pair.b.v4, question, port=54)

        seen = seen_by("dns", traffic)
    met = Counter(row["kernel"]["symbol"] for row in seen.rows if udp_payload(row) == question)
    assert (met[TX], met[RX]) == (2, 2)
    assert met["udp_rcv"] == met[READ_UDP] == (2 if FUNCTIONS else 0)


@pytest.mark.host_only
def test_latency_gives_times_between_queue_wire_and_program() -> None:
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)

        def traffic() -> None:
            udp_echo(pair.a, pair.b, pair.b.v4, b"when")
            tcp_transfer(pair.a, pair.b, pair.b.v4, 1)

        seen = seen_by("latency", traffic)
    ways = [[row["kernel"]["symbol"] for row in rows] for rows in seen.journeys().values()]
    wire = ["net:net_dev_queue", TX, "net:netif_rx", RX]
    before, udp, tcp = (["ip_output"], ["ip_rcv", "udp_rcv", READ_UDP], ["ip_rcv", "tcp_v4_rcv"])
    if not FUNCTIONS:
        before, udp, tcp = [], [], []
    assert ways.count([*before, *wire, *udp]) >= 2
    assert [*before, *wire, *tcp, READ] in ways


@pytest.mark.host_only
def test_one_profile_for_collect_and_for_pcap(tmp_path: Path) -> None:
    file, out = str(tmp_path / "d.arrow"), str(tmp_path / "d.pcapng")
    with two_ns() as pair:
        send = f"ip netns exec {pair.a.ns.name} bash -c 'echo x >/dev/udp/{pair.b.v4}/9'"
        done = fyke("-p", "dropmon", "collect", "-o", file, "--cmd", send)
    assert "Applying profile dropmon\n" in done.stderr
    with open_events(file) as source:
        cmdline = source.facts.cmdline
    assert cmdline.endswith("--collectors skb-drop,skb,dev,ns --probe tp:skb:kfree_skb/stack")
    fyke("-p", "dropmon", "pcap", file, "-o", out)
    shown = subprocess.run(["tcpdump", "-nr", out], capture_output=True, text=True, check=True).stdout
    assert f"> {pair.b.v4}.9: UDP, length 2" in shown
