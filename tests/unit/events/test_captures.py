"""Captures of other tools as events: every kind of block, both byte orders, link types, hostile bytes."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fyke.cli.main import main
from fyke.errors import InputError
from fyke.events.reader import EventSource, open_events

MAGIC = 0x1A2B3C4D


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(*options: bytes, order: str = "<") -> bytes:
    fields = struct.pack(order + "IHHq", MAGIC, 1, 0, -1)
    return block(0x0A0D0D0A, fields + b"".join(options), order)


def interface(*options: bytes, order: str = "<", link: int = 1, snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + b"".join(options), order)


def packet(data: bytes, ticks: int, number: int = 0, wire: int | None = None, order: str = "<") -> bytes:
    wire = len(data) if wire is None else wire
    fields = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
    return block(6, fields + data + bytes(-len(data) % 4), order)


def opened(path: Path, content: bytes) -> EventSource:
    path.write_bytes(content)
    return open_events(str(path))


def rows_of(source: EventSource) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


FRAME = bytes(range(60))
END = option(0, b"")


@pytest.mark.parametrize("order", ["<", ">"])
def test_packets_at_named_interfaces(order: str, tmp_path: Path) -> None:
    nano = option(9, b"\x09", order)
    content = b"".join(
        (
            section(
                option(3, b"Linux 6.12", order), option(4, "dümpcap 4".encode(), order), END, order=order
            ),
            interface(option(2, b"eth\xff0", order), nano, END, order=order),
            interface(option(2, b"lo", order), END, order=order),
            packet(FRAME, 1_795_554_606_000_000_007, order=order, wire=1500),
            block(5, bytes(20), order),  # statistics
            packet(FRAME[:14], 1_795_554_606_000_001, 1, order=order),
        )
    )
    source = opened(tmp_path / "a", content)
    assert source.format == "capture"
    assert source.facts.extra == {"captured_with": "dümpcap 4"}
    assert source.facts.kernel_release == "Linux 6.12"
    assert source.facts.timestamp_ns == 1_795_554_606_000_000_007
    assert source.facts.clock_monotonic_offset_ns == 0
    first, second = rows_of(source)
    assert first["kernel"] == {"symbol": "eth\\xff0", "probe_type": "capture", "stack": None}
    assert first["timestamp_ns"] == 1_795_554_606_000_000_007
    assert first["packet"] == {"len": 1500, "capture_len": 60, "data": FRAME, "link_layer": True}
    assert {name for name, value in first.items() if value is not None} == {
        "timestamp_ns",
        "kernel",
        "packet",
    }
    assert second["kernel"]["symbol"] == "lo"
    assert second["timestamp_ns"] == 1_795_554_606_000_001_000


@pytest.mark.parametrize(
    ("options", "ticks", "time_ns"),
    [
        ([], 5, 5_000),
        ([option(9, b"\x06")], 5, 5_000),
        ([option(9, b"\x00")], 5, 5 * 10**9),
        ([option(9, b"\x0c")], 5_999, 5),
        ([option(9, b"\x8a")], 512, 500_000_000),  # 2**-10 s
        ([option(9, b"\x03"), option(14, struct.pack("<q", 7))], 5, 7_005_000_000),
        ([option(9, b"\x03"), option(14, struct.pack("<q", -7))], 7_005, 5_000_000),
        ([option(9, b"\x7f")], 2**64 - 1, 0),
        ([option(9, b"\xff")], 2**64 - 1, 0),
        ([option(9, b"")], 5, 5_000),
    ],
)
def test_resolutions_and_offsets_of_times(
    options: list[bytes], ticks: int, time_ns: int, tmp_path: Path
) -> None:
    content = section() + interface(*options, END) + packet(FRAME, ticks)
    (row,) = rows_of(opened(tmp_path / "a", content))
    assert row["timestamp_ns"] == time_ns
    assert row["kernel"]["symbol"] == "interface 0"


def test_sections_blocks_without_time_and_old_ones(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 1000) + FRAME)
    obsolete = block(2, struct.pack("<HHIIII", 0, 0xFFFF, 0, 9, 60, 61) + FRAME)
    again = (
        section(order=">") + interface(option(2, b"second", ">"), order=">") + packet(FRAME, 11, order=">")
    )
    source = opened(tmp_path / "a", section() + interface(snaplen=20) + obsolete + simple + again)
    rows = rows_of(source)
    assert [row["timestamp_ns"] for row in rows] == [9_000, 9_000, 11_000]
    assert [len(row["packet"]["data"]) for row in rows] == [60, 20, 60]
    assert [row["packet"]["len"] for row in rows] == [61, 1000, 60]
    assert rows[2]["kernel"]["symbol"] == "second"


IPV4, IPV6 = b"\x45" + bytes(19), b"\x60" + bytes(39)


@pytest.mark.parametrize(
    ("link", "data", "frame"),
    [
        (101, IPV4, b"\x08\0" + IPV4),
        (12, IPV6, b"\x86\xdd" + IPV6),
        (228, IPV4, b"\x08\0" + IPV4),
        (229, IPV6, b"\x86\xdd" + IPV6),
        (0, b"\x02\0\0\0" + IPV4, b"\x08\0" + IPV4),
        (108, b"\0\0\0\x02" + IPV6, b"\x86\xdd" + IPV6),
        (113, bytes(14) + b"\x86\xdd" + IPV6, b"\x86\xdd" + IPV6),
        (276, b"\x08\x06" + bytes(18) + FRAME, b"\x08\x06" + FRAME),
        (101, b"", b"\0\0"),
    ],
)
def test_other_link_layers(link: int, data: bytes, frame: bytes, tmp_path: Path) -> None:
    content = section() + interface(link=link) + packet(data, 1, wire=len(data) + 100)
    (row,) = rows_of(opened(tmp_path / "a", content))
    made = bytes(12) + frame
    assert row["packet"] == {
        "len": len(made) + 100,
        "capture_len": len(made),
        "data": made,
        "link_layer": False,
    }


def test_a_link_layer_that_isnt_known(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = opened(tmp_path / "a", section() + interface(link=127) + packet(FRAME, 1) + packet(FRAME, 2))
    assert [row["packet"] for row in rows_of(source)] == [None, None]
    assert source.unknown_sections == {"link type 127": 2}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_captures(order: str, magic: int, unit_ns: int, tmp_path: Path) -> None:
    header = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 0xF000_0001)
    record = struct.pack(order + "IIII", 1_795_554_606, 7, 60, 61) + FRAME
    source = opened(tmp_path / "a", header + record + record)
    assert source.facts.timestamp_ns == 1_795_554_606 * 10**9 + 7 * unit_ns
    first, second = rows_of(source)
    assert first == second
    assert first["packet"] == {"len": 61, "capture_len": 60, "data": FRAME, "link_layer": True}
    assert first["kernel"]["symbol"] == "interface 0"
    assert rows_of(opened(tmp_path / "a", header)) == []
    with opened(tmp_path / "a", header) as empty:
        assert empty.facts.timestamp_ns == 0


def _damaged(content: bytes, path: Path) -> tuple[int, str]:
    """Return how many rows come before the damage, and what is said of it."""
    rows = 0
    with pytest.raises(InputError) as caught:  # noqa: PT012  (opening it may raise as well)
        for batch in opened(path, content).batches():
            rows += len(batch)
    assert caught.value.message.startswith(f"{path} is damaged at byte ")
    return rows, caught.value.message.removeprefix(f"{path} is damaged at byte ")


GOOD = section() + interface() + packet(FRAME, 1)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (packet(FRAME, 1)[:-1], "it ends inside a block"),
        (b"\x06\0\0", "it ends inside a block"),
        (struct.pack("<II", 6, 13) + bytes(60), "a block can't have a length of 13 bytes"),
        (struct.pack("<II", 6, 8) + bytes(60), "a block can't have a length of 8 bytes"),
        (struct.pack("<II", 6, 0) + bytes(60), "a block can't have a length of 0 bytes"),
        (struct.pack("<II", 6, 0xFFFFFFFC) + bytes(60), "a block claims to be larger than any"),
        (struct.pack("<II", 6, 64 << 20) + bytes(60), "it ends inside a block"),
        (struct.pack("<II", 6, 16) + bytes(4) + struct.pack("<I", 20), "a block's two lengths differ"),
        (block(6, bytes(8)), "a block is too short for what it is"),
        (block(1, bytes(4)), "a block is too short for what it is"),
        (block(6, struct.pack("<IIIII", 1, 0, 0, 0, 0)), "a packet is of interface 1, which isn't described"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 61, 0) + FRAME), "a packet is longer than its block"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 2**32 - 1, 0)), "a packet is longer than its block"),
        (interface(struct.pack("<HH", 2, 9)), "an option is longer than its block"),
        (interface(option(14, b"123")), "a block is too short for what it is"),
        (section()[:8] + bytes(20), "its byte order isn't known"),
        (section().replace(b"\1\0\0\0", b"\2\0\0\0"), "it is in version 2 of pcapng, and only 1 is known"),
        (packet(FRAME, 2**64 - 1), "a time is before 1970, or in the far future"),
        (
            section() + interface(option(14, struct.pack("<q", -1))) + packet(FRAME, 1),
            "a time is before 1970",
        ),
        (section() + block(3, bytes(8)), "a packet is of interface 0, which isn't described before it"),
    ],
)
def test_what_comes_before_damage_is_read(bad: bytes, says: str, tmp_path: Path) -> None:
    rows, message = _damaged(GOOD + bad, tmp_path / "a")
    assert rows == 1
    where, _, why = message.partition(", after 1 packets: ")
    assert len(GOOD) <= int(where) < len(GOOD + bad)
    assert why.startswith(says)


def test_damage_in_a_classic_capture(tmp_path: Path) -> None:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    record = struct.pack("<IIII", 1, 7, 60, 61) + FRAME
    for bad, why in (
        (record[:-1], "it ends inside a block"),
        (record[:7], "it ends inside a packet"),
        (struct.pack("<IIII", 1, 7, 2**32 - 1, 61), "a packet claims to be larger than any"),
    ):
        rows, message = _damaged(header + record + bad, tmp_path / "a")
        assert (rows, message) == (1, f"{len(header + record)}, after 1 packets: {why}")
    assert _damaged(header[:20], tmp_path / "a") == (0, "0, after 0 packets: it ends inside a block")


def test_more_interfaces_than_any_capture(tmp_path: Path) -> None:
    _rows, message = _damaged(section() + interface() * 65_537 + packet(FRAME, 1), tmp_path / "a")
    assert message.endswith("it has more interfaces than any capture")


_WHOLE = GOOD + interface(option(2, b"eth0"), option(9, b"\x09"), END) + packet(FRAME, 77, 1) * 3


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255)), max_size=6),
    end=st.integers(5, len(_WHOLE)),
)
@example(changes=[], end=len(_WHOLE))
def test_any_damage_is_an_error_or_events(
    changes: list[tuple[int, int]], end: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(_WHOLE)
    for place, value in changes:
        if place >= 4:
            content[place] = value
    try:
        source = opened(tmp_path_factory.getbasetemp() / "fuzzed", bytes(content[:end]))
        for batch in source.batches():
            batch.validate(full=True)
    except InputError:
        pass


def test_memory_and_time_are_bounded(tmp_path: Path) -> None:
    big = packet(bytes(200_000), 1)
    path = tmp_path / "a"
    path.write_bytes(section() + interface() + big * 1_000)
    tracemalloc.start()
    begun = time.process_time()
    rows = sum(len(batch) for batch in open_events(str(path)).batches())
    spent, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 1_000
    assert peak < 80 << 20
    assert spent < 20


def test_print_and_filter_a_capture(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ping = bytes.fromhex("020000000002020000000001080045000054760f4000400187970a002a010a00ff01") + bytes(64)
    other = bytes(12) + b"\x08\x06" + bytes(28)
    path = tmp_path / "a.pcapng"
    names = option(2, b"eth0") + option(9, b"\x09") + END
    path.write_bytes(section() + interface(names) + packet(ping, 5) + packet(other, 6))
    assert main(["print", str(path), "-f", "icmp", "--format", "single-line"]) == 0
    assert capfd.readouterr() == (
        "5 captured with another tool on machine    cmdline \n"
        "5 [cap] eth0 10.0.42.1 > 10.0.255.1 tos 0x0 ttl 64 id 30223 off 0 [DF] len 84 proto ICMP (1) "
        "type 0 code 0\n",
        "",
    )


def test_a_capture_exported_and_read_again(tmp_path: Path) -> None:
    random.seed(5)
    packets = [packet(random.randbytes(random.randrange(15, 99)), n * 1000 + 1) for n in range(50)]
    path, out = tmp_path / "a.pcapng", tmp_path / "b.pcapng"
    path.write_bytes(section() + interface(option(2, b"eth0"), option(9, b"\x09"), END) + b"".join(packets))
    assert main(["pcap", str(path), "-p", "capture:eth*", "-o", str(out)]) == 0
    before, after = rows_of(open_events(str(path))), rows_of(open_events(str(out)))
    assert [r["kernel"]["symbol"] for r in after] == ["eth0"] * 50
    assert [(r["timestamp_ns"], r["packet"]) for r in after] == [
        (r["timestamp_ns"], r["packet"]) for r in before
    ]
