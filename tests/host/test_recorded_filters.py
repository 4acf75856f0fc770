"""The packet filter on live recordings: what tcpdump takes of the same packets, and the kernel's verdicts."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from fyke.capture.filters import FilterOptions
from fyke.events.reader import open_events
from fyke.events.schema import arrow_schema
from fyke.filters.events import EventFilter
from fyke.filters.pcap.compile import compile_packet_filter
from live import traffic
from live.emulated import few
from live.image import Image
from live.image_run import ImageRun
from live.recording import RX, TX, Recording, Row, kernel, record, udp_payload
from live.topology import TwoNs, nft, two_ns, vlan

pytestmark = pytest.mark.ends_only

DROP = "skb:kfree_skb"
PROBES = (f"tp:{TX}", f"tp:{RX}", f"tp:{DROP}")
# Where it drops, a packet has no link-layer header yet.
NO_DISCARD = "table inet t { chain c { type filter hook output priority 0; udp dport 9 drop; }; }"
EXPRESSIONS = (
    "icmp or icmp6",
    "udp port 5353 and greater 300",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "ip[8] == 64 and src host 192.0.2.1",
    "not ip6",
    "ip6 and not icmp6",
    "len < 90",
)


def some_of_everything(pair: TwoNs) -> None:
    traffic.ping(pair.a, pair.b.v4)
    traffic.ping(pair.a, pair.b.v6)
    traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"short")
    traffic.udp_echo(pair.a, pair.b, pair.b.v4, b"long" * 200, port=5353)
    traffic.tcp_transfer(pair.a, pair.b, pair.b.v4, 3000)
    traffic.tcp_transfer(pair.a, pair.b, pair.b.v6, 3000)


def discarded(pair: TwoNs) -> None:
    """Send what NO_DISCARD doesn't let out, of two lengths."""
    for to, payload in ((pair.b.v4, b"none"), (pair.b.v4, b"none" * 20), (pair.b.v6, b"none" * 20)):
        with contextlib.suppress(PermissionError):
            traffic.udp_send(pair.a, to, payload, port=9)


def everything(pair: TwoNs) -> None:
    some_of_everything(pair)
    discarded(pair)


def chosen(recording: Recording, expression: str) -> list[Row]:
    """Return the events that `fyke print -f` would show."""
    judge = EventFilter(compile_packet_filter(expression))
    rows: list[Row] = []
    for batch in recording.table.to_batches():
        rows += [row for row, stays in zip(batch.to_pylist(), judge.mask(batch), strict=True) if stays]
    return rows


# The link types of pcap-savefile(5): https://www.tcpdump.org/linktypes.html.
LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101


def tcpdump(folder: Path, expression: str, link: int, packets: list[tuple[bytes, int]]) -> list[int]:
    """Return the numbers of the packets (bytes, whole length) that `tcpdump -r` shows: their times."""
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link)
    records = [struct.pack("=IIII", n, 0, len(d), length) + d for n, (d, length) in enumerate(packets)]
    (folder / "packets.pcap").write_bytes(head + b"".join(records))
    command = ("tcpdump", "-Z", "root", "-r", "packets.pcap", "-w", "chosen.pcap", expression)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    left, numbers = (folder / "chosen.pcap").read_bytes()[24:], []
    while left:
        number, _, kept, _ = struct.unpack_from("=IIII", left)
        numbers.append(number)
        left = left[16 + kept :]
    return numbers


@pytest.mark.host_only
def test_what_is_chosen_is_what_tcpdump_chooses(tmp_path: Path) -> None:
    with two_ns() as pair, nft(pair.a.ns, NO_DISCARD):
        recording = record(lambda: everything(pair), probes=PROBES, snaplen=120)
    rows = [row for row in recording.table.to_pylist() if row["packet"]]
    framed = [row for row in rows if row["packet"]["link_layer"]]
    bare = [row for row in rows if not row["packet"]["link_layer"]]
    assert len(framed) > 20
    assert len(bare) >= 3
    frames = [(row["packet"]["data"], row["packet"]["len"]) for row in framed]
    packets = [(row["packet"]["data"][14:], row["packet"]["len"] - 14) for row in bare]
    for expression in EXPRESSIONS:
        theirs = [framed[n] for n in tcpdump(tmp_path, expression, LINKTYPE_ETHERNET, frames)]
        theirs += [bare[n] for n in tcpdump(tmp_path, expression, LINKTYPE_RAW, packets)]
        ours = chosen(recording, expression)
        assert sorted(map(place, ours)) == sorted(map(place, theirs)), expression
        assert 0 < len(ours) < len(rows)


def place(row: Row) -> tuple[int, int, str]:
    return row["timestamp_ns"], row["cpu"], row["kernel"]["symbol"]


def test_a_packet_has_a_link_layer_header_of_its_own_once_it_is_at_a_device() -> None:
    with two_ns() as pair, nft(pair.a.ns, NO_DISCARD):
        recording = record(lambda: everything(pair), probes=PROBES)
        macs = {bytes.fromhex(host.mac.replace(":", "")) for host in (pair.a, pair.b)}
    packets = {symbol: [row["packet"] for row in recording.at(symbol)] for symbol in (TX, RX, DROP)}
    for packet in packets[TX] + packets[RX]:
        assert packet["link_layer"]
        assert packet["data"][6:12] in macs
    dropped = [row["packet"] for row in recording.at(DROP) if (udp_payload(row) or b"").startswith(b"none")]
    assert [(packet["link_layer"], packet["data"][:12]) for packet in dropped] == [(False, bytes(12))] * 2
    ether = f"ether host {pair.a.mac}"
    judge = EventFilter(compile_packet_filter(ether))
    for batch in recording.table.to_batches():
        judge.mask(batch)
    (said,) = judge.warnings()
    assert "no link-layer header" in said
    assert judge.no_link_layer >= len(dropped)


@pytest.mark.host_only
@pytest.mark.parametrize("expression", few(EXPRESSIONS, 2))
def test_what_the_kernel_lets_through_is_chosen_again(expression: str) -> None:
    with two_ns() as pair:
        recording = record(
            lambda: some_of_everything(pair),
            probes=(f"tp:{TX}", f"tp:{RX}"),
            collectors=("skb", "ns", "dev"),  # without tracking: each event is judged by itself
            filters=FilterOptions(packet=expression),
        )
    assert recording.rows
    assert recording.filtered[RX] > 0
    assert len(chosen(recording, expression)) == len(recording.table)


CORPUS = Path(__file__).parents[1] / "data" / "retis"


def recorded_packets() -> list[bytes]:
    """Return the packets of all recordings by Retis: Ethernet frames."""
    files = [open_events(str(path)) for path in sorted(CORPUS.glob("*/events.json"))]
    rows = [row for file in files for batch in file.batches() for row in batch.to_pylist()]
    return sorted({row["packet"]["data"] for row in rows if row["packet"]})


@pytest.mark.parametrize(
    "expression",
    few(
        (
            "vlan 42 and icmp",
            "ip[60] != 0",
            "icmp",
            "vlan",
            "not vlan",
            "ip[8] == 64 and tcp",
            "ether[12:2] == 0x0800",
            "ip6 or arp",
            "greater 99",
            "ether multicast",
        ),
        2,
    ),
)
def test_the_verdicts_are_the_kernels(expression: str) -> None:
    """Made-up packets, judged in the kernel, and recorded there without a filter and judged afterwards."""
    rng = random.Random(expression)
    frames = recorded_packets()
    judge = EventFilter(compile_packet_filter(expression))
    rows: list[Row] = []
    recorded = 0
    with (
        Image(kernel()) as image,
        ImageRun(filters=FilterOptions(packet=expression)) as filtered,
        ImageRun() as unfiltered,
    ):
        for _ in range(200):
            frame = rng.choice(frames)
            image.clear()
            skb = image.skb(
                frame,
                mac=rng.choice((0, 0, None)),
                network=14,
                data_at=14,
                linear=rng.choice((len(frame), rng.randrange(15, len(frame)))),
                protocol=int.from_bytes(frame[12:14]),
                vlan=rng.choice((None, (0x8100, 42), (0x88A8, 0xE000 | 7), (0x8100, 0))),
            )
            verdict = filtered(skb)
            row = unfiltered(skb).row
            rows.append(row)
            before = judge.unreadable, judge.no_link_layer
            (matches,) = judge.matches(pa.RecordBatch.from_pylist([row], schema=arrow_schema())).tolist()
            assert matches == verdict.recorded, row
            assert judge.unreadable - before[0] == verdict.counted.get("unreadable", 0), row
            assert judge.no_link_layer - before[1] == verdict.counted.get("no_link_layer", 0), row
            recorded += matches
    assert 0 < recorded < len(rows)
    batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema())
    assert int(judge.matches(batch).sum()) == recorded, "all at once, as one by one"


@pytest.mark.needs("vlan")
def test_tags_beside_the_packet_are_seen() -> None:
    with vlan(42) as (plain, tagged):

        def some() -> None:
            traffic.udp_echo(tagged.a, tagged.b, tagged.b.v4, b"tagged")
            traffic.udp_echo(plain.a, plain.b, plain.b.v4, b"plain")

        recording = record(some, probes=(f"tp:{TX}",))
    sent = [row for row in recording.rows if row["dev"]["name"] in (plain.a.dev, plain.b.dev)]
    accelerated = [row for row in sent if row["vlan_accel"]]
    assert {row["vlan_accel"]["vid"] for row in accelerated} == {42}
    assert [udp_payload(row) for row in accelerated if udp_payload(row)] == [b"tagged"] * 2
    for expression, wanted in (("vlan", True), ("vlan 42 and udp", True), ("vlan 43", False)):
        found = [row for row in chosen(recording, expression) if udp_payload(row) == b"tagged"]
        assert [row for row in found if row["vlan_accel"]] == [
            row for row in accelerated if wanted and udp_payload(row) == b"tagged"
        ]
    assert not [row for row in chosen(recording, "vlan") if udp_payload(row) == b"plain"]
    assert [row for row in chosen(recording, "udp") if udp_payload(row) == b"tagged"], "as it lies in memory"
