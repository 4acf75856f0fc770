"""Records -> batches, held against a plain decoder that looks at one record and one value at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_kernel import made_kernel
from made_records import headers_btf, records

from fyke.capture.decode import Decoder
from fyke.capture.filters import FilterOptions
from fyke.capture.layout import RecordLayout, read_layout
from fyke.capture.plan import Options, Plan, make_plan
from fyke.capture.planned import PlannedProbe
from fyke.collectors import COLLECTORS
from fyke.events import schema
from fyke.events.column import Column
from fyke.events.escape import name_from_bytes

SNAPLEN = 20
SECTIONS = {s.name: s for c in COLLECTORS for s in c.sections if s.in_kernel}
NOT_HERE = [s.name for c in COLLECTORS for s in c.sections if not s.in_kernel]  # made later
DEV = {"name": b"veth0", "ifindex": 2, "rx_ifindex": 3}
FRAMES = ["ip_rcv+0x0", "netif_receive_skb+0x1f"]


class Names:
    """Names that remember what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def enum(self, type_name: str) -> dict[int, str]:
        enums = {
            "skb_drop_reason": {2: "SKB_DROP_REASON_NO_SOCKET", 3: "SKB_DROP_REASON_PKT_TOO_SMALL"},
            "skb_drop_reason_subsys": {3: "SKB_DROP_REASON_SUBSYS_OPENVSWITCH"},
            "ovs_drop_reason": {0x30001: "OVS_DROP_LAST_ACTION"},
        }
        return enums.get(type_name, {})

    def stack(self, stack_id: int) -> list[str] | None:
        self.asked.append(stack_id)
        return FRAMES[: 1 + stack_id % 2] if stack_id >= 0 else None

    def symbol(self, address: int) -> str:
        return f"function_{address % 9}+0x1"

    def name(self, number: int) -> str | None:
        self.asked.append(number)
        return f"name {number}" if number else None

    def nft_rule(self, netns: int, table: int, rule: int) -> str | None:
        self.asked.append((netns, table, rule))
        return f"rule {rule}"


@cache
def plan(stack: bool = False) -> Plan:
    return make_plan(Options(skb_sections=("all",), snaplen=SNAPLEN, stack=stack), made_kernel(), 1)


@cache
def layout(*sections: str) -> RecordLayout:
    return read_layout(headers_btf(), sections or tuple(SECTIONS), SNAPLEN)


def decode(
    rows: list[dict[str, Any]], *, fill: int = 0, names: Names | None = None, stack: bool = False
) -> list[dict[str, Any]]:
    batch = Decoder(plan(stack), layout(), names or Names()).batch(records(layout(), rows, fill))
    batch.validate(full=True)
    assert batch.schema.equals(schema.arrow_schema(), check_metadata=True)
    rows = batch.to_pylist()
    return rows


def test_the_header() -> None:
    head = {"timestamp_ns": 2**63 + 1, "cpu": 7, "pid": 12, "tgid": -1, "comm": b"ksoftirqd/0", "probe": 1}
    (row,) = decode([head])
    probe = plan().probes[1]
    assert row == {
        "timestamp_ns": 2**63 + 1,
        "cpu": 7,
        "task": {"pid": 12, "tgid": -1, "comm": "ksoftirqd/0"},
        "kernel": {"symbol": probe.symbol, "probe_type": probe.mechanism, "stack": None},
        **dict.fromkeys(
            (*SECTIONS, *NOT_HERE, "userspace", "arguments", "retval", "other", "gap", "closing", "journey")
        ),
    }


def test_probes_are_told_apart() -> None:
    count = len(plan().probes)
    rows = decode([{"probe": number} for number in range(count)])
    assert [(r["kernel"]["symbol"], r["kernel"]["probe_type"]) for r in rows] == [
        (p.symbol, p.mechanism) for p in plan().probes
    ]


def test_sections_that_are_not_there_are_null_and_leave_nothing() -> None:
    """The ring's memory still holds old records: none of their bytes may come up."""
    rows = decode([{}, {"dev": DEV}, {}, {"netns": {"cookie": 5, "inum": 6}}], fill=0xA5)
    assert [r["dev"] for r in rows] == [None, DEV | {"name": "veth0"}, None, None]
    assert [r["netns"] for r in rows] == [None, None, None, {"cookie": 5, "inum": 6}]
    assert all(r[name] is None for r in rows for name in SECTIONS if name not in ("dev", "netns"))
    batch = Decoder(plan(), layout(), Names()).batch(records(layout(), [{}, {"dev": DEV}], 0xA5))
    # Not even behind the nulls: files are read by tools that look there.
    assert batch["dev"].field("name").to_pylist() == ["", "veth0"]
    assert batch["dev"].field("ifindex").to_pylist() == [0, 2]


def test_nothing_of_a_packet_stays_behind_a_null() -> None:
    packet = {"len": 3, "capture_len": 3, "data": b"abc"}
    raw = records(layout(), [{}, {"packet": packet}, {}], 0xA5)
    column = Decoder(plan(), layout(), Names()).batch(raw)["packet"].field("data")
    assert column.to_pylist() == [b"", b"abc", b""]
    assert b"\xa5" not in column.buffers()[2].to_pybytes()


@pytest.mark.parametrize("fill", [0, 0xFF])
def test_packets_of_every_length(fill: int) -> None:
    data = bytes(range(100, 100 + SNAPLEN))
    lengths = range(SNAPLEN + 1)
    packets = [{"len": 1500, "capture_len": n, "data": data[:n], "link_layer": bool(n % 2)} for n in lengths]
    assert [r["packet"] for r in decode([{"packet": p} for p in packets], fill=fill)] == packets


def test_more_than_snaplen_is_cut() -> None:
    (row,) = decode([{"packet": {"len": 90, "capture_len": 90, "data": b"x" * SNAPLEN}}])
    assert row["packet"]["data"] == b"x" * SNAPLEN


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        (b"", ""),
        (b"sixteen_bytes_ok", "sixteen_bytes_ok"),
        (b"cut\0rest", "cut"),
        (b"\0hidden", ""),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"caf\xc3\xa9", "café"),
        (b"back\\slash", "back\\\\slash"),
        (b"\x1b[31mred\n\"'", "\x1b[31mred\n\"'"),
        (b" trailing ", " trailing "),
    ],
)
def test_names_with_odd_bytes(raw: bytes, stored: str) -> None:
    rows = decode([{"comm": raw, "dev": DEV | {"name": raw[:15]}}, {"comm": b"other"}], fill=0x41)
    assert rows[0]["task"]["comm"] == stored
    assert rows[0]["dev"]["name"] == name_from_bytes(raw[:15])
    assert rows[1]["task"]["comm"] == "other"


def test_zero_is_null_where_it_means_so() -> None:
    tracking = {"orig_head": 0, "timestamp_ns": 0, "skb": 0, "parent_orig_head": 0, "parent_timestamp_ns": 4}
    (row,) = decode([{"skb_tracking": tracking, "dev": DEV | {"rx_ifindex": 0}, "netns": {"inum": 4}}])
    assert row["skb_tracking"] == tracking | {"parent_orig_head": None}
    assert row["dev"]["rx_ifindex"] is None
    assert row["netns"] == {"cookie": None, "inum": 4}


def test_drop_reasons() -> None:
    rows = decode([{"skb_drop": {"reason": r}} for r in (2, 3, 77, 0x30001, 0x30009, 0x70001)] + [{}])
    assert [r["skb_drop"] and (r["skb_drop"]["subsys"], r["skb_drop"]["drop_reason"]) for r in rows] == [
        (None, "NO_SOCKET"),
        (None, "PKT_TOO_SMALL"),
        (None, "77"),
        ("openvswitch", "OVS_DROP_LAST_ACTION"),
        ("openvswitch", "9"),
        ("7", "1"),
        None,
    ]


def test_flags_are_true_for_any_bit() -> None:
    rows = decode([{"skb_dataref": {"nohdr": n, "cloned": 0, "users": 255}} for n in (0, 1, 0x80)], fill=0)
    assert [r["skb_dataref"]["nohdr"] for r in rows] == [False, True, True]
    assert rows[0]["skb_dataref"]["users"] == 255


def test_stacks() -> None:
    names = Names()
    ids = [4, 5, 4, -1, -17, 5, -14]
    rows = decode([{"stack_id": n} for n in ids], names=names, stack=True)
    assert [r["kernel"]["stack"] for r in rows] == [
        FRAMES[:1], FRAMES, FRAMES[:1], None, None, FRAMES, None
    ]  # fmt: skip
    assert sorted(names.asked) == [-1, 4, 5]


def test_without_stacks_nobody_asks_for_one() -> None:
    names = Names()
    assert decode([{"stack_id": 4}], names=names)[0]["kernel"]["stack"] is None
    assert names.asked == []


def test_a_label_is_asked_for_once_for_each_value_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names()
    decoder = Decoder(plan(True), layout(), names)
    for ids in ([1, 2, 1], [2, 3, 3], [1, 3]):
        decoder.batch(records(layout(), [{"stack_id": n} for n in ids]))
    assert names.asked == [1, 2, 3]


def test_only_the_plans_sections_are_looked_for() -> None:
    small = layout("dev")
    raw = records(small, [{"dev": DEV}, {}], 0xA5)
    batch = Decoder(plan(), small, Names()).batch(raw)
    assert batch.schema.equals(schema.arrow_schema())
    assert [r["dev"] is None for r in batch.to_pylist()] == [False, True]
    assert batch["packet"].null_count == 2


def test_a_batch_owns_its_memory() -> None:
    raw = records(
        layout(), [{"comm": b"one", "dev": DEV, "packet": {"len": 2, "capture_len": 2, "data": b"ab"}}]
    )
    batch = Decoder(plan(), layout(), Names()).batch(raw)
    before = batch.to_pylist()
    raw[:] = 0x58
    assert batch.to_pylist() == before


def plainly(raw: np.ndarray) -> list[dict[str, Any]]:  # type: ignore[type-arg]
    """Decode the slow way: bytes at offsets."""
    return [_event(bytes(record)) for record in raw]


def _event(record: bytes) -> dict[str, Any]:
    where = layout()
    head = {
        name: _value(record, where.dtype, name, 0) for name in where.dtype.names or () if name not in SECTIONS
    }
    probe = plan(True).probes[head["probe"]]
    stack = None if head["stack_id"] < 0 else Names().stack(head["stack_id"])
    event = {
        "timestamp_ns": head["timestamp_ns"],
        "cpu": head["cpu"],
        "task": {"pid": head["pid"], "tgid": head["tgid"], "comm": name_from_bytes(head["comm"])},
        "kernel": {"symbol": probe.symbol, "probe_type": probe.mechanism, "stack": stack},
        "other": None,
        "gap": None,
        "closing": None,
        "journey": None,
        **dict.fromkeys(NOT_HERE),
    }
    for name, section in SECTIONS.items():
        there = head["present"] >> where.bits[name] & 1
        event[name] = {c.name: _cell(record, name, c) for c in section.columns} if there else None
    return event


def _cell(record: bytes, section: str, column: Column) -> Any:
    dtype, at = layout().dtype[section], layout().offsets[section]
    if not column.source:
        return None
    value = _value(record, dtype, column.source, at)
    if column.type == "binary":
        return value[: _value(record, dtype, "capture_len", at)]
    if column.label:
        return column.label(value, Names())
    if column.type == "string":
        return name_from_bytes(value)
    if column.type == "bool":
        return bool(value)
    if column.null_if is not None and value == column.null_if:
        return None
    width = schema.arrow_type(column).bit_width
    return value % 2**width if column.type.startswith("u") else value


def _value(record: bytes, dtype: np.dtype, name: str, at: int) -> Any:  # type: ignore[type-arg]
    assert dtype.fields is not None
    kind, offset = dtype.fields[name][:2]
    piece = record[at + offset : at + offset + kind.itemsize]
    return (
        piece
        if kind.base.kind == "S" or kind.shape
        else int.from_bytes(piece, "little", signed=kind.kind == "i")
    )


@st.composite
def any_records(draw: st.DrawFn) -> np.ndarray:  # type: ignore[type-arg]
    """Records of any bytes at all, but for the probe, which is the kernel's word."""
    count = draw(st.integers(1, 12))
    pool = draw(
        st.lists(
            st.binary(min_size=layout().record_bytes, max_size=layout().record_bytes), min_size=1, max_size=3
        )
    )
    rows = draw(st.lists(st.sampled_from(pool), min_size=count, max_size=count))
    raw = np.frombuffer(b"".join(rows), np.uint8).reshape(count, -1).copy()
    view = raw.view(layout().dtype)[:, 0]
    numbers = st.lists(st.integers(0, len(plan(True).probes) - 1), min_size=count, max_size=count)
    view["probe"] = draw(numbers)
    bits = st.lists(st.integers(0, 2 ** len(SECTIONS) - 1), min_size=count, max_size=count)
    view["present"] = draw(bits)
    view["packet"]["capture_len"] = draw(
        st.lists(st.integers(0, 2 * SNAPLEN), min_size=count, max_size=count)
    )
    return raw


@settings(deadline=None, max_examples=60)
@given(any_records())
def test_any_records_decode_as_a_plain_decoder_says(raw: np.ndarray) -> None:  # type: ignore[type-arg]
    batch = Decoder(plan(True), layout(), Names()).batch(raw)
    batch.validate(full=True)
    expected = pa.Table.from_pylist(plainly(raw), schema=schema.arrow_schema()).to_pylist()
    assert batch.to_pylist() == expected


def test_probes_that_came_later_and_stacks_that_nobody_asked_for() -> None:
    made = make_plan(
        Options(
            probes=("tp:net:netif_receive_skb/stack",),
            probe_stack=True,
            filters=FilterOptions(packet="icmp"),
            snaplen=SNAPLEN,
        ),
        made_kernel(),
        1,
    )
    growing = [*made.probes]
    decoder = Decoder(replace(made, probes=growing), layout(), Names())
    growing.append(PlannedProbe("ip_rcv", "kprobe", frozenset(), {}, added_ns=1))
    last = len(growing) - 1
    raw = records(layout(), [{"probe": n, "stack_id": 3} for n in (0, last)], 0)
    shown = [
        (r["symbol"], r["probe_type"], r["stack"] is None) for r in decoder.batch(raw)["kernel"].to_pylist()
    ]
    assert shown == [("net:netif_receive_skb", "raw_tracepoint", False), ("ip_rcv", "kprobe", True)]
