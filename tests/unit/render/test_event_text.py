"""What Retis doesn't have, and what hostile or odd events look like."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from render_samples import FACTS, batch, event, text, tracked

import fyke.render.text as text_module
from fyke.collectors.formatting import Style
from fyke.render.text import EventText

HEAD = "(1) [ping] 544 [tp] net:netif_rx"
GAP = {"since_ns": 100, "cause": "ring_full", "count": 12}


def test_events_stand_apart_by_an_empty_line() -> None:
    assert text([event(1), event(2)]) == f"1 {HEAD}\n\n2 {HEAD}\n\n"
    assert text([event(1), event(2)], multi_line=False) == f"1 {HEAD}\n2 {HEAD}\n"


def test_nothing_gives_nothing() -> None:
    assert text([]) == ""
    assert text([], series=True) == ""


def test_the_process_id_comes_before_the_thread_id() -> None:
    shown = text([event(1, task={"pid": 7, "tgid": 5, "comm": "worker"})])
    assert shown == "1 (1) [worker] 5/7 [tp] net:netif_rx\n\n"


def test_an_event_of_which_only_the_time_is_known() -> None:
    assert text([{"timestamp_ns": 2**64 - 1}]) == "18446744073709551615\n\n"


@pytest.mark.parametrize(
    ("mechanism", "letters"),
    [
        ("raw_tracepoint", "tp"),
        ("kprobe", "k"),
        ("kprobe_multi", "k"),
        ("fentry", "k"),
        ("kretprobe", "kr"),
        ("kretprobe_multi", "kr"),
        ("fexit", "kr"),
        ("?", "invalid"),
        (None, "invalid"),
    ],
)
def test_mechanisms(mechanism: str | None, letters: str) -> None:
    shown = text([event(1, kernel={"symbol": "ip_rcv", "probe_type": mechanism})])
    assert f"[{letters}] ip_rcv" in shown


@pytest.mark.parametrize(
    ("value", "name", "type_", "shown"),
    [
        (0, None, "int", "returned 0"),
        (-13, "EACCES", "int", "returned -13 (EACCES)"),
        (1, "true", "bool", "returned true"),
        (0, "NULL", "struct sk_buff *", "returned NULL"),
        (-12, "ENOMEM", "struct sk_buff *", "returned -12 (ENOMEM)"),
        (-2, None, "struct sk_buff *", "returned 0xfffffffffffffffe"),
        (16, "BUSY\x1b[2J", "netdev_tx_t", "returned 16 (BUSY\\x1b[2J)"),
    ],
)
def test_what_was_returned(value: int, name: str | None, type_: str, shown: str) -> None:
    kernel = {"symbol": "f", "probe_type": "fexit"}
    retval = {"value": value, "name": name, "type": type_}
    assert text([event(1, kernel=kernel, retval=retval)]) == f"1 (1) [ping] 544 [kr] f {shown}\n\n"


def test_user_programs() -> None:
    user = {"symbol": "app:sent", "path": "/usr/bin/app", "probe_type": "usdt"}
    arguments = {"values": ["-1", "0x7ffd5e8f0010", "?"]}
    rows = [
        event(1, kernel=None, userspace=user, arguments=arguments),
        event(2),
        event(3, kernel=None, userspace={**user, "path": "a\x1bb"}, arguments={"values": []}),
        event(4, kernel=None, userspace={**user, "path": "/usr/bin/a\x1bb"}),
    ]
    shown = text(rows)
    assert "1 (1) [ping] 544 [u] app:sent (app) args (-1, 0x7ffd5e8f0010, ?)\n\n2 " in shown
    assert "3 (1) [ping] 544 [u] app:sent\n\n" in shown
    assert shown.endswith("4 (1) [ping] 544 [u] app:sent (a\\x1bb)\n\n")


def test_stacks() -> None:
    kernel = {"symbol": "ip_rcv", "probe_type": "kprobe", "stack": ["a+0x1", "b+0x2"]}
    rows = [event(1), event(2, kernel=kernel), event(3, kernel={**kernel, "stack": []})]
    shown = text(rows)
    assert "2 (1) [ping] 544 [k] ip_rcv\n    a+0x1\n    b+0x2\n\n3 (1) [ping] 544 [k] ip_rcv\n\n" in shown
    assert "ip_rcv [a+0x1, b+0x2]\n" in text(rows, multi_line=False)


def test_the_device_shares_the_line_of_the_namespace_where_there_is_one() -> None:
    netns, dev = {"cookie": None, "inum": 9}, {"name": "eth0", "ifindex": 2}
    shown = text([event(1, netns=netns, dev=dev), event(2, dev=dev), event(3, netns=netns)])
    assert shown.count("\n  ns 9 if 2 (eth0)\n") == 1
    assert shown.count("\n  if 2 (eth0)\n") == 1
    assert shown.endswith("\n  ns 9\n\n")


def test_a_segment_names_its_parent() -> None:
    row = tracked(5, 1, 3)
    row["skb_tracking"] |= {"parent_orig_head": 0x10, "parent_timestamp_ns": 0xAA}
    drop = {"subsys": None, "drop_reason": "NO_SOCKET"}
    shown = text([row | {"skb_drop": drop}], series=True)
    ids = "#2000000000000ff00 (skb ab) n 3 parent aa0000000000000010 drop (reason NO_SOCKET)"
    assert shown == f"5 {HEAD} {ids}\n\n"


def test_dates() -> None:
    offset = FACTS.clock_monotonic_offset_ns
    rows = [event(355323557922), event(355323557922 + 10**9), event(0)]
    shown = text(rows, utc_offset_ns=offset, multi_line=False)
    times = [line[:26] for line in shown.splitlines()]
    # the first as `retis print --utc` gives it for the recording basic-default
    assert times == ["2026-11-24 21:16:02.203388", "2026-11-24 21:16:03.203388", "2026-11-24 21:10:06.879830"]


def test_dates_beyond_64_bits() -> None:
    shown = text([event(2**64 - 1)], utc_offset_ns=2**63 - 1, multi_line=False)
    assert shown.startswith("2846-10-30 23:21:50.564327 ")
    before = text([event(0)], utc_offset_ns=-1, multi_line=False)
    assert before.startswith("1969-12-31 23:59:59.999999 ")


def test_a_gap() -> None:
    gap = event(300, gap=GAP) | {"cpu": 3}
    assert text([event(1), gap, event(400)]) == (
        f"1 {HEAD}\n\n"
        "-- 12 events lost on cpu 3 at tp net:netif_rx between 100 and 300 (ring full)\n\n"
        f"400 {HEAD}\n\n"
    )


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            {"gap": GAP | {"count": 1, "cause": "missed_return"}},
            "-- 1 event lost between 100 and 9 (too many calls at once to see them return)",
        ),
        (
            {"gap": GAP | {"cause": "recursion"}},
            "-- 12 events lost between 100 and 9 (the probe was hit while it ran)",
        ),
        (
            {"gap": GAP | {"cause": "tracking_full"}},
            "-- 12 packets not tracked between 100 and 9 (tracking map full)",
        ),
        (
            {"gap": GAP | {"cause": "stack_full"}},
            "-- 12 stack traces not kept between 100 and 9 (stack map full)",
        ),
        (
            {"gap": {"since_ns": None, "cause": "x\n", "count": None}},
            "-- 0 events lost before 9 (x\\x0a)",
        ),
    ],
)
def test_other_gaps(row: dict[str, Any], shown: str) -> None:
    assert text([{"timestamp_ns": 9, "cpu": None, **row}]) == f"{shown}\n\n"


def test_the_end_of_a_collection_shows_nothing() -> None:
    closing = {"timestamp_ns": 9, "closing": {"events": 1, "lost": 0, "reason": "signal", "probes": "[]"}}
    assert text([event(1), closing]) == f"1 {HEAD}\n\n"
    assert text([tracked(1, 0, 0), closing], series=True).endswith(" n 0\n\n")


def test_journeys() -> None:
    dev = {"name": "eth0", "ifindex": 2}
    ids = "#{}000000000000ff00 (skb ab) n {}"
    rows = [tracked(1, 0, 0, dev=dev), tracked(2, 0, 1, dev=dev), tracked(3, 1, 0)]
    assert text(rows, series=True) == (
        f"1 {HEAD} {ids.format(1, 0)}\n  if 2 (eth0)\n"
        f"  ↳ 2 {HEAD} {ids.format(1, 1)}\n      if 2 (eth0)\n"
        f"\n3 {HEAD} {ids.format(2, 0)}\n"
        "\n"
    )
    assert text(rows, series=True, multi_line=False) == (
        f"1 {HEAD} {ids.format(1, 0)} if 2 (eth0)\n"
        f"  ↳ 2 {HEAD} {ids.format(1, 1)} if 2 (eth0)\n"
        f"\n3 {HEAD} {ids.format(2, 0)}\n"
        "\n"
    )


def test_a_journey_with_losses_says_so_once() -> None:
    shown = text([tracked(1, 0, 0, lost=3), tracked(2, 0, 1, lost=3), tracked(3, 1, 0)], series=True)
    first, *rest = shown.splitlines()
    assert first.startswith("-- 3 events were lost on this packet's CPUs")
    assert sum(line.startswith("--") for line in rest) == 0


def test_gaps_stand_between_journeys() -> None:
    rows = [tracked(1, 0, 0), event(2, gap=GAP), event(3, gap=GAP), tracked(4, 1, 0)]
    blocks = text(rows, series=True).split("\n\n")
    assert [block[:2] for block in blocks] == ["1 ", "--", "--", "4 ", ""]


def test_batches_and_slices_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [tracked(n, n // 3, n % 3, netns={"cookie": n % 2, "inum": 5}) for n in range(10)]
    rows.insert(4, event(2, gap=GAP))
    whole = {series: text(rows, series=series) for series in (True, False)}
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(text_module, "SLICE_ROWS", size)
        for series, expected in whole.items():
            assert text(rows[:5], rows[5:], series=series) == expected


def test_the_start_of_a_recording() -> None:
    whole = "1000{0}collected with fyke 0.1.0{0}on machine 6.12 #1 SMP x86_64{0}cmdline fyke collect{1}"
    assert EventText(Style()).start(FACTS).decode() == whole.format("\n  ", "\n\n")
    assert EventText(Style(multi_line=False)).start(FACTS).decode() == whole.format(" ", "\n")
    split = dataclasses.replace(FACTS, split_id=0, extra={"retis_version": "1.7.0"}, version="1.7.0")
    shown = EventText(Style()).start(split).decode()
    assert "\n  collected with Retis 1.7.0\n" in shown
    assert "\n  file id 0\n  cmdline " in shown


EVIL = "\x1b[2J\u202e\r\n\x07"
HARMLESS = "\\x1b[2J\\u202e\\x0d\\x0a\\x07"


def test_no_text_of_others_moves_the_terminal() -> None:
    row = event(
        1,
        task={"pid": 1, "tgid": 1, "comm": EVIL},
        kernel={"symbol": EVIL, "probe_type": EVIL, "stack": [EVIL, EVIL]},
        skb_drop={"subsys": EVIL, "drop_reason": EVIL},
        dev={"name": EVIL, "ifindex": 1},
    )
    gap = {"timestamp_ns": 2, "kernel": {"symbol": EVIL}, "gap": GAP | {"cause": EVIL}}
    shown = text([row, gap], multi_line=False)
    assert shown.count("\n") == 2
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    assert shown.count(HARMLESS) == 9
    evil_facts = dataclasses.replace(FACTS, cmdline=EVIL, version=EVIL, kernel_release=EVIL)
    assert EventText(Style(multi_line=False)).start(evil_facts).decode().count("\n") == 1


def test_colours_only_when_wanted() -> None:
    rows = [event(1, skb_drop={"subsys": None, "drop_reason": "X"}), event(2, gap=GAP)]
    plain, coloured = text(rows), text(rows, color=True)
    assert "\x1b" not in plain
    assert "\x1b[31mdrop (reason X)\x1b[0m" in coloured
    assert "\x1b[33m-- 12 events" in coloured


def test_a_batch_may_be_a_slice_of_another() -> None:
    stack = {"symbol": "s", "probe_type": "kprobe", "stack": ["a+0x1", "b+0x2"]}
    whole = batch([event(n, kernel={**stack, "stack": [f"f+{n:#x}"]}) for n in range(5)])
    pieces = b"".join(bytes(p) for p in EventText(Style(multi_line=False)).batch(whole.slice(2, 2)))
    assert [line[-7:] for line in pieces.decode().splitlines()] == ["[f+0x2]", "[f+0x3]"]
