import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import retis
from event_samples import FACTS
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_samples import DATA, EVENT, SAMPLES, STARTUP, write_lines

from fyke.errors import InputError
from fyke.events.reader import EventSource, open_events
from fyke.events.retis.write import RetisWriter

Event = dict[str, Any]


def _rows(source: EventSource) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def _read(path: Path, *items: Any) -> list[dict[str, Any]]:
    return _rows(open_events(write_lines(path, *items)))


def test_every_section_lands_in_its_columns(tmp_path: Path) -> None:
    source = open_events(write_lines(tmp_path / "a", STARTUP, EVENT))
    assert source.format == "retis-json"
    (row,) = _rows(source)
    assert row["timestamp_ns"] == 2000
    assert row["cpu"] == 3
    assert row["kernel"] == {"symbol": "ip_rcv", "probe_type": "kretprobe", "stack": ["ip_rcv+0x1", "x+0x2"]}
    assert row["skb_tracking"]["orig_head"] == 2**64 - 1
    assert row["skb_tracking"]["timestamp_ns"] == 1500
    assert row["skb_tracking"]["skb"] == 2**63
    assert row["skb_tracking"]["parent_orig_head"] is None
    assert row["skb_drop"] == {"subsys": "openvswitch", "drop_reason": "NO_SOCKET"}
    assert row["packet"] == {"len": 1500, "capture_len": 3, "data": b"\x00\x01\xff", "link_layer": None}
    for ours, theirs in [("vlan_accel", "vlan_accel"), ("skb_meta", "meta"), ("skb_gso", "gso")]:
        assert row[ours] == EVENT["skb"][theirs]
    assert row["skb_dataref"] == EVENT["skb"]["data_ref"]
    assert row["netns"] == EVENT["netns"]
    assert row["dev"] == EVENT["dev"]
    assert row["journey"] is None
    assert source.unknown_sections == {}


def test_pid_and_tgid_are_named_as_the_kernel_means_them(tmp_path: Path) -> None:
    (row,) = _read(tmp_path / "a", STARTUP, EVENT)  # Retis: pid 10 is the process, tgid 11 the thread
    assert row["task"] == {"pid": 11, "tgid": 10, "comm": "ping"}


def test_the_facts_are_those_of_the_startup_event(tmp_path: Path) -> None:
    startup = copy.deepcopy(STARTUP)
    startup["startup"]["split_file"] = {"id": 2, "policy": {"kind": "size", "limit": 64000000}}
    source = open_events(write_lines(tmp_path / "a", startup))
    facts = source.facts
    assert facts.extra == {"retis_version": "1.7.0"}
    assert (facts.version, facts.cmdline, facts.timestamp_ns) == ("1.7.0", "retis collect", 1000)
    assert facts.clock_monotonic_offset_ns == 1742309146_691042000
    assert (facts.kernel_release, facts.kernel_version, facts.hardware_name) == ("6.12", "#1", "x86_64")
    assert (facts.split_id, facts.split_limit_bytes, facts.order) == (2, 64000000, "time")
    assert _rows(source) == []


@pytest.mark.parametrize("sample", SAMPLES)
def test_retis_own_files_say_the_same_to_us_and_to_retis(sample: str) -> None:
    path = DATA / sample / "events.json"
    rows = _rows(open_events(str(path)))
    events = [e.to_dict() for e in retis.EventReader(str(path))][1:]
    assert len(rows) == len(events) > 10
    for row, event in zip(rows, events, strict=True):
        assert row["timestamp_ns"] == event["common"]["timestamp"]
        assert row["kernel"]["symbol"] == event["kernel"]["symbol"]
        assert row["packet"]["len"] == event["packet"]["len"]
        assert (row["dev"] or {}).get("name") == event.get("dev", {}).get("name")
        assert (row["skb_tracking"] is None) == ("skb-tracking" not in event)


def test_what_has_no_column_yet_is_counted(tmp_path: Path) -> None:
    source = open_events(str(DATA / "nat-ping" / "events.json"))
    _rows(source)
    assert source.unknown_sections == {}
    event = {**EVENT, "ovs": {"event_type": "new"}, "skb": {"new": {}}}
    event["dev"] = {**EVENT["dev"], "mtu": 1500}
    event["common"] = {**EVENT["common"], "colour": 1}
    source = open_events(write_lines(tmp_path / "a", STARTUP, event, event))
    rows = _rows(source)
    assert source.unknown_sections == {"ovs": 2, "skb/new": 2, "dev/mtu": 2, "common/colour": 2}
    assert rows[0]["dev"] == EVENT["dev"]


# Sorted files


@pytest.mark.parametrize("sample", ["basic-default", "nat-ping"])
def test_a_series_is_a_journey(sample: str) -> None:
    source = open_events(str(DATA / sample / "sorted.json"))
    rows = _rows(source)
    assert source.facts.order == "journey"
    lines = [json.loads(line) for line in (DATA / sample / "sorted.json").read_text().splitlines()[1:]]
    expected = [(n, i) for n, series in enumerate(lines) for i in range(len(series))]
    assert [(row["journey"]["id"], row["journey"]["index"]) for row in rows] == expected
    assert {row["journey"]["lost"] for row in rows} == {None}


def test_clones_are_numbered_in_order_of_first_sight(tmp_path: Path) -> None:
    def event(skb: int) -> Event:
        return {"common": {"timestamp": 5}, "skb-tracking": {"orig_head": 1, "timestamp": 5, "skb": skb}}

    rows = _read(
        tmp_path / "a", [STARTUP], [event(7), event(9), event(7)], [event(9)], [{"common": {"timestamp": 9}}]
    )
    assert [row["journey"]["clone"] for row in rows] == [0, 1, 0, 0, None]


# Versions


def _version(version: Any) -> Event:
    startup = copy.deepcopy(STARTUP)
    startup["startup"]["retis_version"] = version
    return startup


def test_files_of_1_5_are_brought_to_the_newest_form(tmp_path: Path) -> None:
    startup = _version("v1.5.2")
    del startup["startup"]["machine"]
    del startup["startup"]["cmdline"]
    old = {
        "common": {"timestamp": 2000},
        "skb": {
            "packet": {"len": 60, "capture_len": 3, "packet": "AAH/"},
            "dev": {"name": "eth0", "ifindex": 2},
            "ns": {"netns": 4026531840},
            "meta": EVENT["skb"]["meta"],
        },
    }
    source = open_events(write_lines(tmp_path / "a", startup, old))
    (row,) = _rows(source)
    assert row["packet"] == {"len": 60, "capture_len": 3, "data": b"\x00\x01\xff", "link_layer": None}
    assert row["dev"] == {"name": "eth0", "ifindex": 2, "rx_ifindex": None}
    assert row["netns"] == {"cookie": None, "inum": 4026531840}
    assert row["skb_meta"] == EVENT["skb"]["meta"]
    assert row["cpu"] is None
    assert (source.facts.cmdline, source.facts.hardware_name) == ("unknown", "unknown")
    assert source.unknown_sections == {}


def test_files_of_1_6_lack_only_the_machine(tmp_path: Path) -> None:
    startup = _version("1.6.4")
    del startup["startup"]["machine"]
    source = open_events(write_lines(tmp_path / "a", startup, EVENT))
    assert len(_rows(source)) == 1
    assert (source.facts.cmdline, source.facts.kernel_release) == ("retis collect", "unknown")


def test_the_old_place_of_a_section_is_no_place_in_a_new_file(tmp_path: Path) -> None:
    event = {"common": {"timestamp": 1}, "skb": {"dev": {"name": "eth0", "ifindex": 2}}}
    source = open_events(write_lines(tmp_path / "a", STARTUP, event))
    assert _rows(source)[0]["dev"] is None
    assert source.unknown_sections == {"skb/dev": 1}


@pytest.mark.parametrize(
    "version", ["1.7.0", "v1.7.0-28463b1", "1.7.3+dirty", "1.8.0", "2.0.0", "1.5.0", "v1.6.1-rc1"]
)
def test_versions_that_are_read(tmp_path: Path, version: str) -> None:
    assert len(_read(tmp_path / "a", _version(version), EVENT)) == 1


@pytest.mark.parametrize(
    "version", ["unspec", "1.4.9", "0.9.0", "", "1.7", "one.two.three", "1.x.0", "1" * 5000 + ".0.0"]
)
def test_versions_that_are_not(tmp_path: Path, version: str) -> None:
    with pytest.raises(InputError, match=r"version '.*' is not supported"):
        open_events(write_lines(tmp_path / "a", _version(version)))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["startup"].pop("retis_version"),
        lambda s: s["startup"].update(retis_version=17),
        lambda s: s.update(startup=[]),
        lambda s: s.update(common=5),
        lambda s: s["common"].update(timestamp="x"),
        lambda s: s["common"].pop("timestamp"),
        lambda s: s["startup"].update(cmdline=["x"]),
        lambda s: s["startup"].update(machine="x"),
        lambda s: s["startup"]["machine"].update(kernel_release=6.12),
        lambda s: s["startup"]["clock_monotonic_offset"].update(sec=1e300),
        lambda s: s["startup"]["clock_monotonic_offset"].update(sec=10**30),
        lambda s: s["startup"].update(split_file={"id": "0"}),
        lambda s: s["startup"].update(fyke=[]),
        lambda s: s["startup"].update(fyke={"version": 5}),
    ],
)
def test_garbled_startup_events(tmp_path: Path, change: Callable[[Event], object]) -> None:
    startup = copy.deepcopy(STARTUP)
    change(startup)
    with pytest.raises(InputError, match="not an event file") as caught:
        open_events(write_lines(tmp_path / "a", startup, EVENT))
    assert "\n" not in caught.value.message


# Damage


def _damaged(path: Path, *lines: bytes) -> tuple[list[dict[str, Any]], InputError]:
    good = (json.dumps(EVENT) + "\n").encode()
    path.write_bytes((json.dumps(STARTUP) + "\n").encode() + good * 3 + b"".join(lines))
    source = open_events(str(path))
    rows: list[dict[str, Any]] = []
    with pytest.raises(InputError) as caught:
        rows.extend(row for batch in source.batches() for row in batch.to_pylist())
    source = open_events(str(path))
    rows = source.reader().read_all().to_pylist()
    assert source.problem is not None
    assert source.problem.message == caught.value.message
    return rows, caught.value


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"common":}\n', "not JSON at column 11"),
        (b"{}\n", "common is not a JSON object"),
        (b"null\n", "not a JSON object"),
        (b"5\n", "not a JSON object"),
        (b"[]\n", "sorted and unsorted events are mixed"),
        (b"\x00\n", "not JSON"),
        (b'{"common":{"timestamp":1},"dev":{"name":"\xff"}}\n', "not UTF-8 at byte 41"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b'{"a":' * 100_000 + b"\n", "nested too deeply"),
        (b'{"common":{"timestamp":' + b"9" * 5000 + b"}}\n", "digits"),
        (b'{"common":{"timestamp":1e5}}\n', "common.timestamp is not a whole number"),
        (b'{"common":{"timestamp":true}}\n', "common.timestamp is not a whole number"),
        (b'{"common":{"timestamp":18446744073709551616}}\n', "too large"),
        (b'{"common":{"timestamp":-1}}\n', "negative"),
        (b'{"common":{"timestamp":NaN}}\n', "NaN is not JSON"),
        (b'{"common":{"timestamp":1,"smp_id":4294967296}}\n', "too large"),
    ],
)
def test_lines_that_are_no_events(tmp_path: Path, line: bytes, says: str) -> None:
    rows, error = _damaged(tmp_path / "a", line, (json.dumps(EVENT) + "\n").encode())
    assert len(rows) == 3
    assert error.message.startswith(f"{tmp_path / 'a'} is damaged at line 5, after 3 events: ")
    assert error.message.isprintable()
    assert says in error.message


def test_a_last_line_that_was_cut_off(tmp_path: Path) -> None:
    rows, error = _damaged(tmp_path / "a", b'{"common":{"timest')
    assert len(rows) == 3
    assert error.message.endswith("at line 5, after 3 events: it ends inside an event")


@pytest.mark.parametrize(
    ("section", "value", "says"),
    [
        ("dev", 5, "dev is not a JSON object"),
        ("dev", {"name": 5, "ifindex": 1}, "dev.name is not a string"),
        ("dev", {"name": "\ud800", "ifindex": 1}, "surrogates not allowed"),
        ("dev", {"name": "a", "ifindex": "1"}, "dev.ifindex: Could not convert '1'"),
        ("dev", {"name": "a", "ifindex": 1.5}, "dev.ifindex: Could not convert 1.5"),
        ("dev", {"name": "a", "ifindex": -1}, "dev.ifindex: can't convert negative value"),
        ("dev", {"name": "a", "ifindex": [1]}, "dev.ifindex: "),
        ("dev", {"name": "a", "ifindex": {}}, "dev.ifindex: "),
        ("dev", {"name": "a", "ifindex": True}, "dev.ifindex: Expected integer, got bool"),
        ("netns", {"inum": 2**32}, "netns.inum: Value 4294967296 too large"),
        ("skb-tracking", {"orig_head": 2**64}, "skb_tracking.orig_head: "),
        ("kernel", {"symbol": "a", "stack_trace": "abc"}, "kernel.stack is not a list of strings"),
        ("kernel", {"symbol": "a", "stack_trace": ["a", 1]}, "kernel.stack is not a list of strings"),
        ("kernel", {"symbol": ["a"]}, "kernel.symbol: "),
        ("packet", {"len": 1, "data": "AA"}, "packet.data is not base64"),
        ("packet", {"len": 1, "data": "A A="}, "packet.data is not base64"),
        ("packet", {"len": 1, "data": "é"}, "packet.data is not base64"),
        ("packet", {"len": 1, "data": [0]}, "packet.data is not base64"),
        ("skb", [], "skb"),
        ("skb", {"vlan_accel": 1}, "skb.vlan_accel is not a JSON object"),
        ("skb", {"vlan_accel": {"pcp": 256}}, "vlan_accel.pcp: Value 256 too large"),
        ("skb", {"data_ref": {"nohdr": 1}}, "skb_dataref.nohdr: "),
        ("skb-drop", {"drop_reason": 5}, "skb_drop.drop_reason: "),
        ("fyke", 5, "fyke is not a JSON object"),
        ("fyke", {"gap": 5}, "fyke.gap is not a JSON object"),
        ("fyke", {"gap": {"count": "x"}}, "gap.count: "),
        ("fyke", {"packet": {"data": "?"}}, "packet.data is not base64"),
        ("fyke", {"kernel": {"stack": "x"}}, "kernel.stack is not a list of strings"),
    ],
)
def test_values_of_the_wrong_kind(tmp_path: Path, section: str, value: Any, says: str) -> None:
    line = json.dumps({"common": {"timestamp": 1}, section: value}).encode() + b"\n"
    rows, error = _damaged(tmp_path / "a", line)
    assert len(rows) == 3
    assert "is damaged at line 5, after 3 events: " in error.message
    assert says in error.message


def test_the_first_bad_event_is_found_in_a_large_batch(tmp_path: Path) -> None:
    bad = {"common": {"timestamp": 1}, "dev": {"name": "a", "ifindex": -7}}
    path = write_lines(tmp_path / "a", STARTUP, *[EVENT] * 1234, bad, *[EVENT] * 100, bad)
    source = open_events(path)
    assert source.reader().read_all().num_rows == 1234
    assert source.problem is not None
    assert "line 1236, after 1234 events: dev.ifindex" in source.problem.message


def test_a_line_longer_than_any_event_is_not_taken_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fyke.events.retis.lines.MAX_LINE", 10_000)
    monkeypatch.setattr("fyke.events.retis.lines.BLOCK_BYTES", 4_000)
    rows, error = _damaged(tmp_path / "a", b'{"x":"' + b"a" * 20_000 + b'"}\n')
    assert len(rows) == 3
    assert "the line is longer than any event" in error.message


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(f"{json.dumps(STARTUP)}\n\n{json.dumps(EVENT)}\n\n\n")
    assert len(_rows(open_events(str(path)))) == 1


def test_a_second_startup_event_is_the_head_of_a_file_that_was_appended(tmp_path: Path) -> None:
    assert len(_read(tmp_path / "a", STARTUP, EVENT, STARTUP, EVENT)) == 2


FRAGMENTS = [
    b"-1",
    b"1.5",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b'"\\ud800"',
    b"true",
    b"NaN",
    b"9" * 25,
    b"\xff",
]


@given(
    place=st.floats(0, 1, exclude_max=True),
    length=st.integers(0, 30),
    fragment=st.sampled_from(FRAGMENTS) | st.binary(max_size=8),
)
@settings(max_examples=300, deadline=None)
def test_any_damage_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, place: float, length: int, fragment: bytes
) -> None:
    content = (json.dumps(STARTUP) + "\n" + (json.dumps(EVENT) + "\n") * 3).encode()
    at = int(place * len(content))
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(content[:at] + fragment + content[at + length :])
    try:
        source = open_events(str(path))
        source.reader().read_all().validate(full=True)
        problem = source.problem
    except InputError as error:
        problem = error
    if problem is not None:
        assert problem.message.isprintable()
        assert str(path) in problem.message


def test_names_keep_their_backslashes(tmp_path: Path) -> None:
    event = {"common": {"timestamp": 1}, "dev": {"name": "a\\b\u001b", "ifindex": 1}}
    (row,) = _read(tmp_path / "a", STARTUP, event)
    assert row["dev"]["name"] == "a\\\\b\x1b"


def test_facts_of_a_file_of_ours_come_back(tmp_path: Path) -> None:
    with RetisWriter(str(tmp_path / "a"), FACTS):
        pass
    with open_events(str(tmp_path / "a")) as source:
        assert source.facts == FACTS
