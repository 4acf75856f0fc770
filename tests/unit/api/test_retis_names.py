"""Retis' Python API: the same script run with the package `retis` and with fyke gives the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import retis
from cli_samples import CORPUS, ROOT

import fyke as api
from fyke.cli.main import main

FILES = sorted(CORPUS.glob("*/*.json"))
UNSORTED = [path for path in FILES if path.name == "events.json"]
SORTED = [path for path in FILES if path.name == "sorted.json"]
NAT = CORPUS / "nat-ping" / "events.json"
NAT_SORTED = CORPUS / "nat-ping" / "sorted.json"
SECTIONS = (
    *("common", "kernel", "userspace", "tracking", "skb_tracking", "skb_drop", "packet", "skb", "netns"),
    *("dev", "ovs", "ovs_detrace", "nft", "ct", "startup"),
)
CLONES = CORPUS / "bridge-udp" / "sorted.json"  # docs/differences.md: each event's own skb is shown


def _id(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def events(package: ModuleType, path: Path) -> list[Any]:
    file = package.EventFile(str(path))
    if file.sorted():
        return [event for series in file.series() for event in series]
    return list(file.events())


def same(one: Any, other: Any) -> bool:
    """Say whether Retis' value and ours are the same in all that can be asked of Retis'."""
    if isinstance(one, bool | int | str | None):
        return type(one) is type(other) and bool(one == other)
    if isinstance(one, list):
        return bool(one == other)
    if type(one).__name__ == "RawPacket":
        return bytes(one) == bytes(other)
    made = one.to_dict() if hasattr(one, "to_dict") else str(one)
    if isinstance(made, str):  # Retis has classes for enumerations; ours are strings
        return made == str(one) == other
    if made != other.to_dict():
        return False
    names = [n for n in dir(one) if n[0] not in "_" and n[0].islower()]
    values = [(getattr(one, n), getattr(other, n)) for n in names]
    return all(callable(b) if callable(a) else same(a, b) for a, b in values)


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_every_section_and_field(path: Path) -> None:
    theirs, ours = events(retis, path), events(api, path)
    assert len(theirs) == len(ours)
    for one, other in zip(theirs, ours, strict=True):
        assert one.sections() == other.sections()
        assert one.to_dict() == other.to_dict()
        assert eval(repr(other)) == eval(repr(one))
        for name in SECTIONS:
            assert (name in one) == (name in other)
            assert same(getattr(one, name), getattr(other, name)), name
            for spelling in (name, name.replace("_", "-")):
                if name in one:
                    assert same(one[spelling], other[spelling])
                else:
                    with pytest.raises(KeyError):
                        other[spelling]


ACTION = {"event_type": "action_execute", "recirc_id": 1}
NAT_TO = {"dir": "dst", "min_addr": "1.1.1.1", "max_addr": "1.1.1.2", "min_port": 1, "max_port": 2}
FLOW = {"flow": 5, "sf_acts": 6, "ufid": [1, 2**32 - 1, 3, 4], "dpflow": "x", "ofpflows": ["a", "b"]}
UPCALL = {"upcall_ts": 1, "upcall_cpu": 2}
OPERATION = {"event_type": "flow_operation", "queue_id": 1, "batch_ts": 1, "batch_idx": 0}
OVS: list[dict[str, Any]] = [
    {"event_type": "upcall", "cmd": 1, "port": 1, "cpu": 0},
    {"event_type": "upcall_enqueue", "ret": -1, "cmd": 1, "port": 1, "queue_id": 3, **UPCALL},
    {"event_type": "upcall_return", "ret": 0, **UPCALL},
    {**OPERATION, "event_type": "recv_upcall", "type": 1, "pkt_size": 2, "key_size": 3},
    {**OPERATION, "op_type": "exec"},
    {**OPERATION, "op_type": "put"},
    {**ACTION, "action": "output", "port": 3, "queue_id": 2},
    {**ACTION, "action": "recirc", "id": 7},
    {**ACTION, "action": "drop", "reason": 3},
    {**ACTION, "action": "set_masked"},
    {**ACTION, "action": "ct", "flags": 53, "zone_id": 5, "nat": NAT_TO},
    {**ACTION, "action": "ct", "flags": 1, "zone_id": 5},
    ACTION,
    {"event_type": "flow_lookup", "n_mask_hit": 1, "n_cache_hit": 2, **FLOW},
]


CT = {**ACTION, "recirc_id": 0, "action": "ct", "zone_id": 65535}
NATS: list[dict[str, Any]] = [
    NAT_TO,
    {"dir": "src", "min_addr": "::1", "max_addr": "::1", "min_port": 5, "max_port": 5},
    *({"dir": "dst", name: 7} for name in ("min_port", "max_port")),
    {"dir": "dst", "min_addr": "::1"},
    {"dir": "dst"},
    {},
]
ACTIONS = (
    *("userspace", "set", "push_vlan", "pop_vlan", "sample", "hash", "push_mpls", "pop_mpls", "trunc"),
    *("push_eth", "pop_eth", "ct_clear", "push_nsh", "pop_nsh", "meter", "clone", "check_pkt_len"),
    *("add_mpls", "dec_ttl"),
)
MORE_OVS: list[dict[str, Any]] = [
    *({**OVS[0], "cmd": cmd} for cmd in range(5)),
    *({**OVS[1], "cmd": cmd} for cmd in range(5)),
    *({**CT, "flags": 1 << bit, "nat": nat} for bit in range(12) for nat in NATS),
    *({**CT, "flags": flags, "nat": nat} for flags in (0, 0xFFF, 0x1B0) for nat in NATS),
    *({**CT, "flags": flags} for flags in (0, 0xFFF)),
    *({**ACTION, "recirc_id": 0, "action": name} for name in ACTIONS),
    *({**OVS[-1], **change} for change in ({"flow": 0}, {"dpflow": ""}, {"ofpflows": []})),
    {**OVS[-1], "ofpflows": ["a\nb", "c"]},
]
UNUSUAL = [
    {"userspace": {"symbol": "a:b", "probe_type": "usdt", "ip": 5, "path": path, "pid": 1, "tid": 2}}
    for path in ("/usr/sbin/ovs-vswitchd", "a", "", "/")
]
PARENTED = {
    "kernel": {"symbol": "a", "probe_type": "kprobe", "stack_trace": ["f+0x1", "g+0x2"]},
    "skb-tracking": {"orig_head": 1, "timestamp": 2, "skb": 3},
    "skb-drop": {"drop_reason": "X"},
    "skb": {},
    "netns": {"inum": 4},
    "dev": {"name": "d", "ifindex": 1},
    "nft": {
        "table_name": "t",
        "chain_name": "c",
        "verdict": "jump",
        "verdict_chain_name": "x",
        "table_handle": 1,
        "chain_handle": 2,
        "rule_handle": 7,
        "policy": True,
    },
}


def with_parent() -> dict[str, Any]:
    """Return the ct section of an event whose connection has another, of TCP, as parent."""
    for line in NAT.read_text().splitlines()[1:]:
        ct: dict[str, Any] | None = json.loads(line).get("ct")
        if ct is not None:
            parent = {name: value for name, value in ct.items() if name != "state"}
            ways = {"ip": ct["orig"]["ip"], "proto": {"tcp": {"sport": 1, "dport": 2}}}
            parent |= {
                "orig": ways,
                "reply": ways,
                "proto_state": "ESTABLISHED",
                "labels": {"hi": 1, "lo": 2},
            }
            return {**ct, "parent": parent}
    raise AssertionError("no connection in it")


def test_texts_of_what_the_corpus_has_not(tmp_path: Path) -> None:
    """Sections that have no columns, alone and amid others, and a connection with a parent."""
    start, *_ = NAT.read_text().splitlines()
    common = {"common": {"timestamp": 5, "smp_id": 0}}
    probed = {**common, "kernel": {"symbol": "a", "probe_type": "kprobe"}}
    lines: list[dict[str, Any]] = [{**probed, "ovs": event} for event in (*OVS, *MORE_OVS)]
    detraces = ({"dpflow": ""}, {"ofpflows": []}, {"ofpflows": ["a\nb", "c"]}, {})
    lines += [{**probed, "ovs-detrace": FLOW | change} for change in detraces]
    lines += [{**common, **event, **more} for event in UNUSUAL for more in ({}, {"ovs": OVS[3]})]
    whole = {**common, **PARENTED, "ct": with_parent()}
    lines += [whole, {**whole, "ovs": OVS[-1]}, {**whole, "ovs": OVS[0], "ovs-detrace": FLOW}]
    lines += [{**probed, "ct": with_parent()}, {**probed, "nft": PARENTED["nft"]}]
    path = tmp_path / "e.json"
    path.write_text("\n".join([start, *map(json.dumps, lines)]))
    pairs = list(zip(events(retis, path), events(api, path), strict=True))[1:]
    assert len(pairs) == len(lines)
    for one, other in pairs:
        assert str(other) == str(one)
        for name in one.sections():
            assert str(other[name]) == str(one[name])


def test_text_of_what_retis_cannot_read_is_its_fields(tmp_path: Path) -> None:
    start, *_ = NAT.read_text().splitlines()
    broken: list[dict[str, Any]] = [
        {"ovs": {"event_type": "later", "a": 1}},
        {"userspace": {}},
        {"ovs": {**OVS[-1], "dpflow": "\x1b[2J", "ofpflows": ["\x1b"]}},
    ]
    path = tmp_path / "e.json"
    path.write_text("\n".join([start, *(json.dumps({"common": {"timestamp": 5}, **e}) for e in broken)]))
    *shown, hostile = list(api.EventReader(str(path)))[1:]
    for event, sections in zip(shown, broken, strict=False):
        ((name, fields),) = sections.items()
        assert str(event[name]) == repr(fields)
        assert str(event) == f"5\n  {fields!r}" if name != "userspace" else "5 {}"
    assert "\x1b" not in str(hostile)


def test_a_section_of_nothing_has_no_text(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(NAT.read_text().splitlines()[0] + '\n{"common":{"timestamp":5},"skb":{}}\n')
    for package in (retis, api):
        _, event = package.EventReader(str(path))
        assert (str(event.skb), repr(event.skb)) == ("", "{}")


def test_open_vswitch(tmp_path: Path) -> None:
    start, *_ = NAT.read_text().splitlines()
    common = {"common": {"timestamp": 5, "smp_id": 0}, "kernel": {"symbol": "a", "probe_type": "kprobe"}}
    lines = [{**common, "ovs": event} for event in OVS] + [{**common, "ovs-detrace": FLOW}]
    path = tmp_path / "ovs.json"
    path.write_text("\n".join([start, *map(json.dumps, lines)]))
    pairs = list(zip(events(retis, path), events(api, path), strict=True))[1:]
    assert len(pairs) == len(lines)
    for one, other in pairs:
        assert same(one.ovs, other.ovs)
        assert same(one.ovs_detrace, other.ovs_detrace)
        if one.ovs and one.ovs.to_dict()["event_type"] != "upcall":
            for event in (one, other):
                with pytest.raises(AttributeError):
                    event.ovs.upcall  # noqa: B018
    shown = [
        [lookup.ovs.flow_lookup.ufid.show(), found.ovs_detrace.ufid.show()]
        for lookup, found in zip(*pairs[-2:], strict=True)
    ]
    assert shown[0] == shown[1]
    with pytest.raises(AttributeError, match="the action drop has no output"):
        pairs[8][1].ovs.action_execute.action.output  # noqa: B018


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_texts(path: Path) -> None:
    compared = 0
    for one, other in zip(events(retis, path), events(api, path), strict=True):
        if path != CLONES:
            assert str(one) == str(other)
            compared += 1
        for name in one.sections():
            assert str(one[name]) == str(other[name])
    assert compared or path == CLONES


# What people write with Retis' package: each is given the package and a file, and prints nothing.


def drops_by_reason(package: ModuleType, path: str) -> Any:
    counts: dict[str, int] = {}
    for event in package.EventReader(path):
        if "skb-drop" in event:
            reason = event["skb-drop"].drop_reason
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def time_between_probes(package: ModuleType, path: str) -> Any:
    first: dict[int, int] = {}
    deltas = []
    for event in package.EventFile(path).events():
        if event.skb_tracking is None:
            continue
        key = event.skb_tracking.tracking_id()
        start = first.setdefault(key, event.common.timestamp)
        deltas.append((event.kernel.symbol, event.common.timestamp - start))
    return deltas


def pairs_of_events(package: ModuleType, path: str) -> Any:
    tracked = [e for e in package.EventReader(path) if e.skb_tracking]
    return [
        (a.skb_tracking.match(b.skb_tracking), a.skb_tracking.strict_match(b.skb_tracking))
        for a, b in itertools.product(tracked[:20], tracked[:20])
    ]


def who_was_it(package: ModuleType, path: str) -> Any:
    tasks = set()
    for event in package.EventReader(path):
        if event.common.task is not None:
            task = event.common.task
            tasks.add((task.comm, task.pid, task.tgid, event.common.smp_id))
    return tasks


def raw_bytes(package: ModuleType, path: str) -> Any:
    return [bytes(event.packet.data)[:14].hex() for event in package.EventReader(path) if "packet" in event]


def with_scapy(package: ModuleType, path: str) -> Any:
    packets = [event.packet for event in package.EventReader(path) if "packet" in event]
    return [(packet.to_scapy().summary(), packet.data.to_scapy().summary()) for packet in packets]


def conntrack(package: ModuleType, path: str) -> Any:
    found = []
    for event in package.EventReader(path):
        if event.ct:
            orig = event.ct.base.orig
            found.append(
                (str(event.ct.state), orig.ip.src, orig.ip.dst, str(orig.ip.version), orig.proto.to_dict())
            )
    return found


def verdicts(package: ModuleType, path: str) -> Any:
    events_ = package.EventReader(path)
    return [(e.nft.table_name, e.nft.verdict, e.nft.rule_handle, e.nft.policy) for e in events_ if e.nft]


def start(package: ModuleType, path: str) -> Any:
    event = next(package.EventReader(path))
    offset = event.startup.clock_monotonic_offset
    return event.startup.cmdline, offset.sec * 10**9 + offset.nsec, event.startup.machine.kernel_release


def readers(package: ModuleType, path: str) -> Any:
    reader = package.EventReader.with_rotation(path)
    first = next(reader)
    rest = sum(1 for _ in reader)
    try:
        next(reader)
    except StopIteration:
        return "startup" in first, rest, iter(reader) is reader
    return None


@pytest.mark.parametrize("path", UNSORTED, ids=_id)
@pytest.mark.parametrize(
    "script",
    [
        *(
            drops_by_reason,
            time_between_probes,
            pairs_of_events,
            who_was_it,
            raw_bytes,
            with_scapy,
            conntrack,
        ),
        *(verdicts, start, readers),
    ],
)
def test_scripts_on_events(script: Callable[[ModuleType, str], Any], path: Path) -> None:
    assert script(api, str(path)) == script(retis, str(path))


def longest_series(package: ModuleType, path: str) -> Any:
    series = max(package.SeriesReader(path), key=len)
    return len(series), [event.kernel.symbol for event in series]


def lost_on_the_way(package: ModuleType, path: str) -> Any:
    return [
        [(event.kernel.symbol, event.tracking.idx if event.tracking else None) for event in series]
        for series in package.EventFile(path).series()
        if all(event.startup is None for event in series) and any("skb-drop" in event for event in series)
    ]


def one_by_one(package: ModuleType, path: str) -> Any:
    *_, series = package.EventFile(path).series()
    first = next(series).common.timestamp
    return first, [event.common.timestamp for event in series]


def twice(package: ModuleType, path: str) -> Any:
    file = package.EventFile(path)
    return [[len(series) for series in file.series()] for _ in range(2)]


@pytest.mark.parametrize("path", SORTED, ids=_id)
@pytest.mark.parametrize("script", [longest_series, lost_on_the_way, one_by_one, twice])
def test_scripts_on_series(script: Callable[[ModuleType, str], Any], path: Path) -> None:
    assert script(api, str(path)) == script(retis, str(path))


def _error(do: Callable[[], Any]) -> type[BaseException] | None:
    try:
        do()
    except Exception as error:
        return next(k for k in (RuntimeError, KeyError, TypeError, AttributeError) if isinstance(error, k))
    return None


WRONG: list[Callable[[ModuleType], Any]] = [
    lambda p: p.EventReader(str(NAT_SORTED)),
    lambda p: p.SeriesReader(str(NAT)),
    lambda p: p.EventFile(str(NAT)).series(),
    lambda p: p.EventFile(str(NAT_SORTED)).events(),
    lambda p: p.EventFile("/nosuch"),
    lambda p: p.EventFile("/dev/null"),
    lambda p: p.EventFile(5),
    lambda p: p.EventFile(__file__),
    lambda p: next(p.EventReader(str(NAT)))["packet"],
    lambda p: next(p.EventReader(str(NAT)))["nosuch"],
    lambda p: next(p.EventReader(str(NAT))).nosuch,
    lambda p: next(p.EventReader(str(NAT))).common.nosuch,
    lambda p: 5 in next(p.EventReader(str(NAT))),
    lambda p: iter(p.EventFile(str(NAT))),
    lambda p: next(p.SeriesReader(str(NAT_SORTED)))[0],
    lambda p: p.EventFile(NAT),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_mistakes_are_the_same_kind_of_error(number: int) -> None:
    assert _error(lambda: WRONG[number](api)) is _error(lambda: WRONG[number](retis))


def test_damage(tmp_path: Path) -> None:
    lines = NAT.read_bytes().splitlines(keepends=True)
    path = tmp_path / "bad.json"
    path.write_bytes(b"".join(lines[:4]) + b'{"common":\n')
    for package in (retis, api):
        reader, read = package.EventReader(str(path)), []
        with pytest.raises(RuntimeError):
            read.extend(reader)
        assert len(read) == 4
    with pytest.raises(api.InputError, match="damaged at line 5"):
        list(api.EventReader(path))


def test_rotated_files(tmp_path: Path) -> None:
    """The files of a set. Behind one whose own number isn't that of its name, only Retis reads on."""
    start, *rest = NAT.read_text().splitlines(keepends=True)
    for number, written in ((0, 0), (1, 1), (2, 2), (3, 8), (4, 4)):
        event = json.loads(start)
        event["startup"]["split_file"] = {"id": written, "policy": {"kind": "size", "limit": 64000}}
        lines = [json.dumps(event) + "\n", *rest[number * 5 : number * 5 + 5]]
        (tmp_path / f"e.data.{number}").write_text("".join(lines))
    path = str(tmp_path / "e.data.0")
    got = []
    for package in (retis, api):
        file = package.EventFile.with_rotation(path)
        got.append([event.to_dict() for event in file.events()][:24])
        assert len(list(package.EventFile(path).events())) == 6
    assert got[0] == got[1]
    assert len(got[0]) == 24
    assert len(list(api.EventFile.with_rotation(path).events())) == 24


@pytest.mark.parametrize("version", ["v1.5.0", "1.6.2"])
def test_older_files(tmp_path: Path, version: str) -> None:
    """Where older versions had things elsewhere, both packages put them where they are now."""
    start = {
        "common": {"timestamp": 5},
        "startup": {"retis_version": version, "clock_monotonic_offset": {"sec": 1, "nsec": 2}},
    }
    event = {
        "common": {"timestamp": 6, "smp_id": 0},
        "kernel": {"symbol": "a", "probe_type": "kprobe"},
        "skb": {
            "dev": {"name": "eth0", "ifindex": 2},
            "ns": {"netns": 7},
            "packet": {"len": 3, "capture_len": 3, "packet": "AAAA"},
        },
    }
    if not version.startswith("v1.5"):
        event["skb"] = {}
    path = tmp_path / "old.json"
    path.write_text("".join(json.dumps(e) + "\n" for e in (start, event)))
    got = [[e.to_dict() for e in events(package, path)] for package in (retis, api)]
    assert got[0] == got[1]


def test_unsorted_files_of_ours(tmp_path: Path) -> None:
    """A recording of ours is read as Retis reads what we write for it."""
    demo = ROOT / "tools" / "demo.arrow"
    written = tmp_path / "demo.json"
    arrow = tmp_path / "demo.arrow"
    for path in (written, arrow):
        assert main(["sort", str(demo), "-o", str(path)]) == 0
    theirs = [
        [e.to_dict() for e in s] for s in retis.SeriesReader(str(written)) if any("kernel" in e for e in s)
    ]
    for path in (written, arrow):
        series = [s for s in api.SeriesReader(path) if not any("startup" in e for e in s)]
        ours = [[{k: v for k, v in e.to_dict().items() if k != "fyke"} for e in s] for s in series]
        assert ours == theirs
        assert [str(e) for s in series for e in s] == [
            str(e) for s in retis.SeriesReader(str(written)) for e in s if "kernel" in e
        ]
    plain = [e for e in api.EventReader(demo) if "startup" not in e]
    assert sorted(e.common.timestamp for e in plain) == sorted(
        e["common"]["timestamp"] for s in theirs for e in s
    )
    assert next(api.EventReader(demo)).startup.cmdline == api.open(demo).facts.cmdline


def test_a_file_of_nothing_but_its_start(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(NAT.read_text().splitlines()[0])
    assert [e.sections() for e in api.EventReader(path)] == [["common", "startup"]]
    assert [e.sections() for e in retis.EventReader(str(path))] == [["common", "startup"]]


def test_all_names_of_retis_are_there() -> None:
    for name in retis.__all__:
        theirs, ours = getattr(retis, name), getattr(api, name)
        assert set(dir(theirs)) <= set(dir(ours))
    assert issubclass(type(next(api.EventReader(NAT))), api.Event)
