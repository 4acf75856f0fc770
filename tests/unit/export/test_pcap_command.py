"""fyke pcap: every block of what it writes, for recordings of every kind, and mistakes."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pcapng_blocks
import pytest
from export_samples import CORPUS, FACTS, OFFSET, RECORDINGS, any_rows, batch_of, event, write
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.cli.main import main
from fyke.events.json_schema import event_schema
from fyke.export.pcap_write import PcapWriter

BASIC = CORPUS / "basic-default"
ROOT = Path(__file__).parents[3]


def export(*argv: str, to: Path) -> pcapng_blocks.Capture:
    assert main(["pcap", *argv, "-o", str(to)]) == 0
    return pcapng_blocks.read(to.read_bytes())


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = b""
        self.events = 0

    def append(self, block: bytes, events: int) -> None:
        self.data += bytes(block)
        self.events += events


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_every_packet_of_a_recording_of_retis(recording: Path, tmp_path: Path) -> None:
    events = [json.loads(line) for line in (recording / "events.json").read_text().splitlines()]
    clock = events[0]["startup"]["clock_monotonic_offset"]
    offset = clock["sec"] * 10**9 + clock["nsec"]
    held = [e for e in events if "kernel" in e and "packet" in e]
    capture = export(str(recording / "events.json"), to=tmp_path / "a.pcapng")
    assert [p.time_ns for p in capture.packets] == [e["common"]["timestamp"] + offset for e in held]
    for packet, of in zip(capture.packets, held, strict=True):
        interface = capture.interfaces[packet.interface]
        assert interface.name == f"{of['kernel']['probe_type']}/{of['kernel']['symbol']}"
        assert (interface.link_type, interface.snaplen) == (1, 0xFFFF)
        assert dict(interface.options)[9] == b"\x09"
        namespace = of.get("netns", {}).get("inum")
        assert interface.description.endswith(f" in network namespace {namespace}") or namespace is None
        described = json.loads(packet.json or "")
        assert "packet" not in described
        for section in ("common", "kernel", "skb-tracking", "netns", "dev"):
            assert described.get(section) == of.get(section)
        if "vlan_accel" not in of.get("skb", {}):
            assert packet.wire == of["packet"]["len"]
    keys = {(e["kernel"]["probe_type"], e["kernel"]["symbol"], e.get("netns", {}).get("inum")) for e in held}
    assert len(capture.interfaces) == len(keys)


def test_comments_are_the_text_of_print(tmp_path: Path) -> None:
    capture = export(str(BASIC / "events.json"), to=tmp_path / "a.pcapng")
    printed = (BASIC / "print.txt").read_text().rstrip("\n").split("\n\n")[1:]
    assert [p.comments[0] for p in capture.packets] == printed


def test_what_the_section_says_of_the_collection(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", [event(1)])
    capture = export(path, to=tmp_path / "a.pcapng")
    said = [(code, value.decode()) for code, value in capture.options]
    assert said[:4] == [(1, FACTS.cmdline), (1, "a note"), (2, "x86_64"), (3, "Linux 6.12 #1 SMP")]
    assert said[4][0] == 4
    assert capture.order == [0x0A0D0D0A, 1, 6]


def test_the_schema_for_the_plugin_of_retis(tmp_path: Path) -> None:
    capture = export(write(tmp_path / "a.arrow", [event(1)]), "--schema", to=tmp_path / "a.pcapng")
    assert capture.order == [0x0A0D0D0A, 0xBAD, 1, 6]
    ((number, schema),) = capture.customs
    assert number == 70_000
    assert json.loads(schema) == event_schema()


def test_an_interface_for_each_probe_and_namespace(tmp_path: Path) -> None:
    here, there = {"netns": {"inum": 5}}, {"netns": {"inum": 6, "cookie": 1}}
    rows = [
        event(1, **here),
        event(2, **there),
        event(3),
        event(4, probe_type="kprobe_multi", **here),
        event(5, "ip_rcv", "fexit", **here),
        event(6, **here),
    ]
    capture = export(write(tmp_path / "a.arrow", rows[:3], rows[3:]), to=tmp_path / "a.pcapng")
    assert [(i.name, i.description.rpartition("ip_rcv")[2]) for i in capture.interfaces] == [
        ("kprobe/ip_rcv", " in network namespace 5"),
        ("kprobe/ip_rcv", " in network namespace 6"),
        ("kprobe/ip_rcv", ""),
        ("kprobe/ip_rcv", " in network namespace 5"),
        ("kretprobe/ip_rcv", " in network namespace 5"),
    ]
    assert [p.interface for p in capture.packets] == [0, 1, 2, 3, 4, 0]


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 60, 70_000])
def test_a_tag_beside_the_bytes_is_put_into_them(size: int, tmp_path: Path) -> None:
    data = bytes(i % 251 for i in range(size))
    tag = {"proto": 0x88A8, "pcp": 5, "dei": True, "vid": 0x123}
    packet = {"len": 80_000, "capture_len": size, "data": data}
    rows = [event(1, packet=packet, vlan_accel=tag), event(2, packet=packet)]
    path = write(tmp_path / "a.arrow", rows)
    if not size:
        assert export(path, to=tmp_path / "a.pcapng").packets == []
        return
    tagged, plain = export(path, to=tmp_path / "a.pcapng").packets
    whole = data[:12] + bytes.fromhex("88a8b123") + data[12:] if size >= 12 else data
    assert tagged.data == whole[:0xFFFF]
    assert tagged.wire == (80_004 if size >= 12 else 80_000)
    assert (plain.data, plain.wire) == (data[:0xFFFF], 80_000)
    note = "vlan 291: the kernel kept this tag beside the packet's bytes"
    assert tagged.comments[1:] == ([note] if size >= 12 else [])
    assert plain.comments[1:] == []


def test_lengths_that_are_missing_or_too_small(tmp_path: Path) -> None:
    rows = [event(n, packet={"len": length, "data": bytes(20)}) for n, length in enumerate([None, 3, 20, 21])]
    capture = export(write(tmp_path / "a.arrow", rows), to=tmp_path / "a.pcapng")
    assert [p.wire for p in capture.packets] == [20, 20, 20, 21]


def test_journeys_are_comments_of_a_sorted_file(tmp_path: Path) -> None:
    def seen(time: int, head: int, skb: int = 1) -> dict[str, Any]:
        return event(time, skb_tracking={"orig_head": head, "timestamp_ns": head, "skb": skb})

    path = write(tmp_path / "a.arrow", [seen(10, 1), seen(11, 2), seen(12, 1, 7), event(13), seen(14, 2)])
    assert all(len(p.comments) == 1 for p in export(path, to=tmp_path / "a.pcapng").packets)
    for name in ("s.arrow", "s.json"):
        assert main(["sort", path, "-o", str(tmp_path / name)]) == 0
        capture = export(str(tmp_path / name), to=tmp_path / "s.pcapng")
        assert [(p.time_ns - OFFSET, p.comments[1]) for p in capture.packets] == [
            (10, "journey 0 event 0"),
            (12, "journey 0 event 1 clone 1"),
            (11, "journey 1 event 0"),
            (14, "journey 1 event 1"),
            (13, "journey 2 event 0"),
        ]


def test_texts_that_an_option_cant_hold(tmp_path: Path) -> None:
    long = event(1, kernel={"symbol": "f" * 70_000, "probe_type": "kprobe"})
    snowman = event(2, kernel={"symbol": "☃" * 30_000, "probe_type": "kprobe", "stack": ["s" * 70_000]})
    capture = export(write(tmp_path / "a.arrow", [long, snowman, event(3)]), to=tmp_path / "a.pcapng")
    assert [len(p.comments[0].encode()) >= 65_533 for p in capture.packets] == [True, True, False]
    assert [p.json is None for p in capture.packets] == [True, True, False]
    assert capture.interfaces[1].name.startswith("kprobe/☃☃")


def test_hostile_names(tmp_path: Path) -> None:
    name = 'a\x1b[2J\n"\\\x00\u202e'
    row = event(1, name, "x\x07", dev={"name": name, "ifindex": 1}, task={"pid": 1, "tgid": 1, "comm": name})
    capture = export(write(tmp_path / "a.arrow", [row]), to=tmp_path / "a.pcapng")
    (packet,) = capture.packets
    shown = capture.interfaces[0].name + capture.interfaces[0].description + packet.comments[0]
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert packet.comments[0].count("\n") == 2
    assert json.loads(packet.json or "")["kernel"] == {"symbol": name, "probe_type": "x\x07"}


@settings(max_examples=30)
@given(rows=st.lists(any_rows(), max_size=5), offset=st.integers(-(2**63), 2**63 - 1))
def test_any_rows_become_right_blocks(rows: list[dict[str, Any]], offset: int) -> None:
    sink = Kept()
    writer = PcapWriter(lambda: sink, dataclasses.replace(FACTS, clock_monotonic_offset_ns=offset))
    writer.begin()
    for part in (rows[:2], rows[2:]):
        writer.write(batch_of(part))
    capture = pcapng_blocks.read(sink.data)
    held = [
        row
        for row in rows
        if row["gap"] is None
        and row["closing"] is None
        and (row["kernel"] or {}).get("symbol") is not None
        and (row["packet"] or {}).get("data")
    ]
    assert [p.time_ns for p in capture.packets] == [(r["timestamp_ns"] + offset) % 2**64 for r in held]
    assert sink.events == len(held)
    assert writer.at_probes - writer.no_packet == len(held)
    for packet, row in zip(capture.packets, held, strict=True):
        data = row["packet"]["data"]
        assert packet.data[:12] + packet.data[-len(data[12:]) or len(data) :] == data
        assert json.loads(packet.json or "")["common"]["timestamp"] == row["timestamp_ns"]


PROBES = [
    event(1, "ip_rcv", "kprobe_multi"),
    event(2, "ip_rcv", "fexit"),
    event(3, "ip_output", "kprobe"),
    event(4, "net:netif_rx", "raw_tracepoint"),
    event(5, "skb:kfree_skb", "raw_tracepoint"),
    event(6, "tcp_v4_rcv", "fentry"),
    event(7, "no_packet", "kprobe", packet=None),
    {"timestamp_ns": 8},
    {"timestamp_ns": 9, "cpu": 1, "gap": {"since_ns": 5, "cause": "ring_full", "count": 12}},
    {"timestamp_ns": 9, "cpu": 1, "gap": {"since_ns": 5, "cause": "stack_full", "count": 30}},
    {"timestamp_ns": 10, "closing": {"events": 8, "lost": 12}},
]


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        ([], [1, 2, 3, 4, 5, 6]),
        (["ip_rcv"], [1]),
        (["k:ip_rcv"], [1]),
        (["kprobe:ip_*"], [1, 3]),
        (["kr:ip_rcv"], [2]),
        (["fx:*"], [2]),
        (["fe:*"], [6]),
        (["*"], [1, 3, 6]),
        (["tp:net:netif_rx"], [4]),
        (["net:netif_rx", "skb:*"], [4, 5]),
        (["raw_tracepoint:*:*"], [4, 5]),
        (["ip_rcv", "ip_rcv", "k:ip_output"], [1, 3]),
        (["no_packet"], []),
    ],
)
def test_probes_are_chosen(wanted: list[str], times: list[int], tmp_path: Path) -> None:
    argv = [word for text in wanted for word in ("-p", text)]
    capture = export(write(tmp_path / "a.arrow", PROBES), *argv, to=tmp_path / "a.pcapng")
    assert [p.time_ns - OFFSET for p in capture.packets] == times


def test_what_was_done_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.arrow", PROBES)
    export(path, "-p", "*", "-p", "ip_sent", to=tmp_path / "a.pcapng")
    assert capfd.readouterr() == (
        "",
        "warning: ip_sent: no such probe in the events\n"
        "4 event(s) were processed\n"
        "warning: 1 of them hold no packet and were left out: record with the collector skb\n"
        "warning: 12 events were lost when this was recorded: packets are missing here\n",
    )


def test_a_probe_that_isnt_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "a.arrow", PROBES), tmp_path / "a.pcapng"
    assert main(["pcap", path, "-p", "ip_sent", "-o", str(out)]) == 2
    assert capfd.readouterr().err == (
        "error: Probe not found in the events\nhint: `fyke pcap --list-probes` lists the probes\n"
    )
    assert not out.exists()


def test_probes_are_listed_as_they_are_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.arrow", PROBES[:4], PROBES[4:])
    for option in ("-l", "--list-probes"):
        assert main(["pcap", option, path]) == 0
        listed = capfd.readouterr().out.splitlines()
        assert listed == [
            "kprobe:ip_output",
            "kprobe:ip_rcv",
            "kprobe:tcp_v4_rcv",
            "kretprobe:ip_rcv",
            "raw_tracepoint:net:netif_rx",
            "raw_tracepoint:skb:kfree_skb",
        ]
    for name in listed:
        assert len(export(path, "-p", name, to=tmp_path / "a.pcapng").packets) == 1
    empty = write(tmp_path / "e.arrow", PROBES[6:])
    assert main(["pcap", "-l", empty]) == 2
    assert "no event holds a packet" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-p", "x:y:z"], "unknown probe type 'x'"),
        (["-p", "k:"], "probe 'k:' names no target"),
        (["-p", ""], "probe '' names no target"),
        (["-l", "-p", "ip_rcv"], "--list-probes goes with neither -p nor -o"),
        (["-l", "-o", "x"], "--list-probes goes with neither -p nor -o"),
        (["--journeys"], "--journeys needs a packet filter"),
        (["-o", "."], "is a directory"),
        (["-o", "no/such/place"], "there is no directory no/such"),
    ],
)
def test_mistakes(argv: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["pcap", write(tmp_path / "a.arrow", PROBES), *argv]) == 2
    assert said in capfd.readouterr().err


def test_the_input_is_not_written_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.arrow", PROBES)
    before = Path(path).read_bytes()
    assert main(["pcap", path, "-o", path]) == 2
    assert "is the file to be exported" in capfd.readouterr().err
    assert Path(path).read_bytes() == before


def test_filters(tmp_path: Path) -> None:
    nat = str(CORPUS / "nat-ping" / "events.json")
    everything = export(nat, to=tmp_path / "a.pcapng")
    some = export(nat, "-f", "dst host 10.0.43.2", to=tmp_path / "b.pcapng")
    journeys = export(nat, "-f", "dst host 10.0.43.2", "--journeys", to=tmp_path / "c.pcapng")
    assert {p.data[30:34] for p in some.packets} == {bytes((10, 0, 43, 2))}
    assert 0 < len(some.packets) < len(journeys.packets) < len(everything.packets)


def test_what_comes_before_damage_is_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = Path(write(tmp_path / "a.arrow", [event(1), event(2)], [event(3)])).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-60])
    out = tmp_path / "a.pcapng"
    assert main(["pcap", str(tmp_path / "cut.arrow"), "-o", str(out)]) == 2
    assert "is damaged at byte" in capfd.readouterr().err
    assert [p.time_ns - OFFSET for p in pcapng_blocks.read(out.read_bytes()).packets] == [1, 2]


def _fyke(*argv: str, **settings: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, "-m", "fyke", *argv], env=environment, **settings)


def test_standard_output(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", PROBES)
    with _fyke("pcap", path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        data = process.communicate(timeout=60)[0]
    assert len(pcapng_blocks.read(data).packets) == 6
    assert export(path, to=tmp_path / "b.pcapng") == pcapng_blocks.read(data)


def test_a_terminal_gets_no_capture(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    path = write(tmp_path / "a.arrow", PROBES)
    with _fyke("pcap", path, stdout=slave, stderr=subprocess.PIPE) as process:
        said = process.communicate(timeout=60)[1]
    os.close(slave)
    os.close(master)
    assert process.returncode == 2
    assert said.startswith(b"error: a capture is nothing for a terminal\n")
