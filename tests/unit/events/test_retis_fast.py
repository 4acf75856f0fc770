"""What is read as arrays is what is read line by line: the same rows, the same damage, the same counts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from event_samples import FACTS, batch_of, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_both_ways import read, same, same_of_few, taken, write
from retis_samples import DATA, EVENT, STARTUP

from fyke.events.retis.exact import Converter
from fyke.events.retis.left import left_over
from fyke.events.retis.lines import BLOCK_BYTES
from fyke.events.retis.write import RetisWriter

pytestmark = pytest.mark.usefixtures("small_blocks")


SAMPLES = sorted(DATA.glob("*/*.json"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_files_of_retis(sample: Path) -> None:
    whole = same(sample)
    same_of_few(sample, whole)
    assert (len(whole[0]) > 3, whole[1]) == (True, "")
    lines = [json.loads(line) for line in sample.read_text().splitlines()[1:]]
    kept = [any(map(left_over, line if isinstance(line, list) else [line])) for line in lines]
    assert taken(sample)[1] == sum(kept)  # what has something without a column is read the exact way


EXTRA = {  # sections that aren't ours, and one that Retis has at another place in old files
    **EVENT,
    "ovs": {"state": "new", "zone": [{"id": 1.5}, {"id": -7}, {}], "orig": {"ip": {"src": "10.0.0.1"}}},
    "skb": {"dev": {"name": "a", "ifindex": 1}, "meta": EVENT["skb"]["meta"]},
}
OWN = {
    **EVENT,
    "fyke": {
        "packet": {"link_layer": True},
        "kernel": {"probe_type": "fexit"},
        "skb_tracking": {"parent_orig_head": 5, "parent_timestamp_ns": 6},
        "later": {"a": 1},
    },
}
CONNECTION = {
    "zone_id": 5,
    "zone_dir": "Default",
    "orig": {
        "ip": {"src": "10.0.0.1", "dst": "10.0.0.2", "version": "v4"},
        "proto": {"tcp": {"sport": 4000, "dport": 80}},
    },
    "reply": {
        "ip": {"src": "10.0.0.2", "dst": "10.0.0.1", "version": "v4"},
        "proto": {"tcp": {"sport": 80, "dport": 4000}},
    },
    "proto_state": "SYN_SENT",
    "mark": 7,
    "labels": {"hi": 1, "lo": 2},
    "ct_status": 8,
}
TRACKED = {**EVENT, "ct": {"state": "new", **CONNECTION, "parent": CONNECTION}}
SHORT = {"common": {"timestamp": 1}}
GAP = {**SHORT, "fyke": {"gap": {"since_ns": 5, "cause": "ring_full", "count": 12}, "dev": None}}
EVENTS = (EVENT, EXTRA, OWN, TRACKED, SHORT, GAP, {**EVENT, "kernel": {"symbol": "", "stack_trace": []}})

# What a place in a line may be replaced with: numbers at the limits, all that JSON has and hasn't.
NUMBERS = [
    *(b"%d" % n for n in (0, 9, 255, 256, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 10**8, 99999999)),
    *(b"%d" % n for n in (10**16 - 1, 10**16, 10**19, 2**64 - 1, 2**64, 2 * 10**19, 10**20)),
    b"000018446744073709551615",
    *(
        b"-1",
        b"-0",
        b"00",
        b"01",
        b"1.0",
        b"1e3",
        b"1E400",
        b"+1",
        b"",
        b"0x1",
        b"1 ",
        b" 7",
        b"NaN",
        b"null",
    ),
    *(b'"1"', b"[1]", b"{}", b"true", b"1,1", b"1}", b"9" * 5000),
]
STRINGS = [
    *(b"", b"x", b"a b", b"\\u0041", b"\\ud800", b"\\\\x41", b"\\n", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80"),
    *(b"\x00", b"\\u0000", b"\x1f", b"\x7f", b"QUI=", b"QQ==", b"QR==", b"Q===", b"====", b"QUJD=", b"QUI"),
    *(b"Q=Q=", b"Q Q=", b"QUJDQUJD", b'","x":"', b'"', b"," * 70_000, b"QUJD" * 20_000),
]
_VALUE = re.compile(rb'(?<=:)([0-9]+|"[^"]*")')


def _lines(draw: st.DrawFn, events: list[Any], is_sorted: bool) -> Iterator[bytes]:
    spaced = draw(st.booleans())
    for event in events:
        item: Any = event
        if is_sorted:
            item = [
                {**e, "tracking": {"skb": {}, "idx": n}} if draw(st.booleans()) else e
                for n, e in enumerate(event)
            ]
        line = json.dumps(item, separators=(", ", ": ") if spaced else (",", ":")).encode()
        if draw(st.integers(0, 3)) == 0:
            line = _changed(draw, line)
        yield line


def _changed(draw: st.DrawFn, line: bytes) -> bytes:
    values = list(_VALUE.finditer(line))
    kind = draw(st.integers(0, 3))
    if kind == 0 or not values:
        at = draw(st.integers(0, len(line)))
        more = draw(st.integers(0, 2))
        return (
            line[:at]
            + draw(st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"}", b","]))
            + line[at + more :]
        )
    if kind == 1:  # a key is there twice
        key = draw(st.sampled_from([b'"common"', b'"timestamp"', b'"len"', b'"dev"', b'"kernel"']))
        return line.replace(key, key + b":1," + key, 1)
    match = draw(st.sampled_from(values))
    if match[0].startswith(b'"'):
        return line[: match.start() + 1] + draw(st.sampled_from(STRINGS)) + line[match.end() - 1 :]
    return line[: match.start()] + draw(st.sampled_from(NUMBERS)) + line[match.end() :]


@st.composite
def _files(draw: st.DrawFn) -> bytes:
    is_sorted = draw(st.booleans())
    event = st.sampled_from(EVENTS)
    items: list[Any] = draw(
        st.lists(st.lists(event, max_size=4) if is_sorted else event, min_size=1, max_size=25)
    )
    startup = json.loads(json.dumps(STARTUP))
    startup["startup"]["retis_version"] = draw(st.sampled_from(["1.5.0", "1.6.3", "1.7.0"]))
    head = json.dumps([startup] if is_sorted else startup).encode()
    end = draw(st.sampled_from([b"", b"\n", b"\n\n", b"\r\n", b"\n{", b"\n" + head + b"\n"]))
    between = draw(st.sampled_from([b"\n", b"\n", b"\n", b"\n \n", b"\r\n"]))
    return head + b"\n" + between.join(_lines(draw, items, is_sorted)) + end


@given(content=_files())
@settings(max_examples=120, deadline=None)
def test_any_file(retis_file: Path, content: bytes) -> None:
    retis_file.write_bytes(content)
    same_of_few(retis_file, same(retis_file))


@given(table=st.lists(rows(), min_size=1, max_size=6), copies=st.integers(1, 4), is_sorted=st.booleans())
@settings(max_examples=40, deadline=None)
def test_files_of_ours(retis_file: Path, table: list[dict[str, Any]], copies: int, is_sorted: bool) -> None:
    batch = batch_of(table * copies)
    facts = FACTS if not is_sorted else _sorted_facts()
    with RetisWriter(str(retis_file), facts) as writer:
        writer.write(batch)
    found = same(retis_file)
    assert found[1] == ""
    assert len(found[0]) == len(batch)


def _sorted_facts() -> Any:
    import dataclasses

    return dataclasses.replace(FACTS, order="journey")


@pytest.mark.parametrize("value", [v for v in NUMBERS if not v or (v.isdigit() and len(v) < 25)])
def test_every_number_is_read_or_left(retis_file: Path, value: bytes) -> None:
    line = json.dumps(EVENT, separators=(",", ":")).encode()
    places = [m for m in _VALUE.finditer(line) if not m[0].startswith(b'"')]
    for match in places:
        changed = line[: match.start()] + value + line[match.end() :]
        write(retis_file, [line, changed, line])
        same(retis_file)


@pytest.mark.parametrize("value", [v for v in STRINGS if len(v) < 1000], ids=repr)
def test_every_string_is_read_or_left(retis_file: Path, value: bytes) -> None:
    line = json.dumps(EVENT, separators=(",", ":")).encode()
    for match in re.finditer(rb'(?<=:")[^"]*', line):
        write(retis_file, [line, line[: match.start()] + value + line[match.end() :], line])
        same_of_few(retis_file, same(retis_file))


@pytest.mark.parametrize("event", EVENTS, ids=range(len(EVENTS)))
@pytest.mark.parametrize("other", [b"x", b"0", b"}", b'"', b","])
def test_no_line_is_taken_that_is_wrong_in_one_byte(retis_file: Path, event: Any, other: bytes) -> None:
    line = json.dumps(event, separators=(",", ":")).encode()
    # Every third place for each of them, not the same ones for all.
    places = range(b"x0}".find(other) % 3, len(line), 3)
    changed = [line[:at] + other + line[at + 1 :] for at in places]
    converter = Converter(sorted=False, fixes=())
    right = [text for text in changed if _is_right(converter, text)]
    wrong = sorted(set(changed) - set(right))
    write(retis_file, [line, *wrong])
    assert len(wrong) > 5
    kept = bool(left_over(event))
    assert taken(retis_file) == (1 - kept, len(wrong) + kept)
    write(retis_file, [line, *right])
    same(retis_file)


def _is_right(converter: Converter, line: bytes) -> bool:
    """Say whether a line is an event; what may be wrong with its base64 is looked at later."""
    try:
        return bool(converter.rows(line, Counter()))
    except ValueError as error:
        return "base64" in str(error)


@pytest.mark.parametrize(
    "line",
    [
        b'{"common":{"timestamp":5,"timestamp":7}}',
        b'{"common":{"timestamp":5},"common":{"timestamp":7}}',
        b'{"common":{"timestamp":5},"a":{"b":1,"b":2},"dev":{"ifindex":3}}',
        b'{"a":1,"common":{"timestamp":5,"smp_id":6},"a":2}',
    ],
)
def test_keys_that_are_there_twice(retis_file: Path, line: bytes) -> None:
    write(retis_file, [line] * 3)
    table, problem, _ = same(retis_file)
    assert (len(table), problem) == (3, "")


def test_one_odd_line_leaves_the_others_fast(retis_file: Path) -> None:
    line = json.dumps(EVENT).encode()
    odd = json.dumps({**EVENT, "dev": {"name": "é\\", "ifindex": 1}}).encode()
    write(retis_file, [line] * 20 + [odd] + [line] * 20)
    assert taken(retis_file) == (40, 1)
    table, problem, _ = same(retis_file)
    assert problem == ""
    assert table["dev"][20].as_py()["name"] == "é\\\\"


def test_many_shapes_do_not_make_it_slow(retis_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fyke.events.retis import fast

    learned = []
    real = fast.learn
    monkeypatch.setattr(fast, "learn", lambda *a: learned.append(1) or real(*a))
    monkeypatch.setattr("fyke.events.retis.lines.BLOCK_BYTES", 1 << 20)
    write(retis_file, [json.dumps({**EVENT, f"x{n:05}": n}).encode() for n in range(1000)])
    read(retis_file, 1)
    assert len(learned) == fast._LEARN_IN_BLOCK


def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory(
    retis_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    monkeypatch.setattr("fyke.events.retis.lines.BLOCK_BYTES", BLOCK_BYTES)
    with open(retis_file, "wb") as file:
        file.write(json.dumps(STARTUP).encode() + b"\n" + json.dumps(EVENT).encode() + b"\n[")
        for _ in range(100):
            file.write(b'"' * (1 << 20))
    tracemalloc.start()
    table, problem, _ = read(retis_file, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 1
    assert problem.endswith("damaged at line 3, after 1 events: the line is longer than any event")
    assert peak < 300 << 20
