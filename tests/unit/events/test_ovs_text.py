"""Open vSwitch's events in a file of Retis': their text is Retis', and they are written as they were read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import retis

from fyke.collectors.formatting import Style
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.retis.write import RetisWriter
from fyke.render.text import EventText

STARTUP = {"common": {"timestamp": 1}, "startup": {"retis_version": "v1.7.0", "cmdline": "retis collect"}}
STARTUP["startup"] |= {
    "clock_monotonic_offset": {"sec": 1, "nsec": 2},
    "machine": {"kernel_release": "6", "kernel_version": "#1", "hardware_name": "x86_64"},
}
UFID = [0x01020304, 0xFFFF0001, 0, 7]
BATCH = {"queue_id": 9, "batch_ts": 77, "batch_idx": 3}
OF_UPCALL = {"upcall_ts": 5, "upcall_cpu": 2}
LOOKUP = {"event_type": "flow_lookup", "n_mask_hit": 2, "n_cache_hit": 1, "dpflow": "", "ofpflows": []}
HIT = {**LOOKUP, "flow": 0xFFFF_8881_0000_0000, "sf_acts": 0xFFFF_8881_0000_1000, "ufid": UFID}
TOLD = {"dpflow": "recirc_id(0),in_port(2), actions:3", "ofpflows": ["table=0 actions=drop", "table=1"]}
ACTION = {"event_type": "action_execute", "recirc_id": 0}
CT = {**ACTION, "action": "ct", "zone_id": 5}
NAT = {"dir": "src", "min_addr": "192.0.2.1", "max_addr": "192.0.2.9", "min_port": 10, "max_port": 10}
PLAIN = (
    *("userspace", "set", "push_vlan", "pop_vlan", "sample", "hash", "push_mpls", "pop_mpls", "set_masked"),
    *("trunc", "push_eth", "pop_eth", "ct_clear", "push_nsh", "pop_nsh", "meter", "clone", "check_pkt_len"),
    *("add_mpls", "dec_ttl"),
)
EVENTS: list[dict[str, Any]] = [
    *({"event_type": "upcall", "cmd": cmd, "port": 42, "cpu": 1} for cmd in range(5)),
    {"event_type": "upcall_enqueue", "ret": -12, "cmd": 1, "port": 42, **OF_UPCALL, "queue_id": 7},
    {"event_type": "upcall_return", **OF_UPCALL, "ret": 0},
    {"event_type": "recv_upcall", "type": 0, "pkt_size": 98, "key_size": 200, **BATCH},
    *({"event_type": "flow_operation", "op_type": kind, **BATCH} for kind in ("exec", "put")),
    {**LOOKUP, "flow": 0, "sf_acts": 0, "ufid": [0, 0, 0, 0]},
    HIT,
    {**HIT, **TOLD},
    *({**ACTION, "action": name} for name in PLAIN),
    {**ACTION, "action": "output", "port": 3, "queue_id": 8},
    {**ACTION, "recirc_id": 0x1F, "action": "recirc", "id": 0x2A},
    {**ACTION, "action": "drop", "reason": 2},
    ACTION,
    {**CT, "flags": 1},
    {**CT, "flags": 0b11 | 1 << 10 | 1 << 9 | 1 << 11},
    {**CT, "flags": 1 << 4, "nat": {}},
    {**CT, "flags": 0b1010110101, "nat": NAT},
    {**CT, "flags": 0b0000110001 | 1 << 7, "nat": {**NAT, "max_addr": "192.0.2.1"}},
]
DETRACE = {"ufid": UFID, "flow": 1, "sf_acts": 2, **TOLD}


def written(folder: Path, *events: dict[str, Any]) -> str:
    lines = [STARTUP, *({"common": {"timestamp": n}, **event} for n, event in enumerate(events, 2))]
    path = folder / "retis.json"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def plain(text: str) -> str:
    """Leave out how lines are indented."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("style", [Style(), Style(multi_line=False)], ids=["lines", "line"])
def test_every_event_reads_as_in_retis(style: Style, tmp_path: Path) -> None:
    path = written(tmp_path, *({"ovs": event} for event in EVENTS), {"ovs-detrace": DETRACE})
    (batch,) = open_events(path).batches()
    made = EventText(style, series=False)
    for number, event in enumerate(list(retis.EventReader(path))[1:]):
        ours = b"".join(bytes(piece) for piece in made.batch(batch.slice(number, 1))).decode()
        theirs = plain(str(event)).replace("openflow:table=0", "openflow:\ntable=0")
        if style.multi_line:
            assert plain(ours).replace("openflow:table=0", "openflow:\ntable=0") == theirs
        else:
            assert "\n" not in ours.rstrip("\n")
            assert ours.split() == theirs.split()


def test_events_are_written_as_they_were_read(tmp_path: Path) -> None:
    path = written(tmp_path, *({"ovs": event} for event in EVENTS), {"ovs-detrace": DETRACE})
    again = str(tmp_path / "again.json")
    source = open_events(path)
    with RetisWriter(again, Facts()) as writer:
        for batch in source.batches():
            writer.write(batch)
    assert not source.unknown_sections
    lines = [[json.loads(line) for line in Path(name).read_text().splitlines()[1:]] for name in (path, again)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({**HIT, "ufid": [1, 2, 3]}, "ovs.ufid is not four numbers of 32 bits"),
        ({**HIT, "ufid": [1, 2, 3, 1 << 32]}, "ovs.ufid is not four numbers of 32 bits"),
        ({**HIT, "ofpflows": "table=0"}, "ovs.ofpflows is not a list of strings"),
        ({**CT, "flags": 0, "nat": 5}, "ovs.nat is not a JSON object"),
        ({**ACTION, "action": 5}, "ovs.action is not a string"),
    ],
)
def test_what_is_wrong_is_said(event: dict[str, Any], said: str, tmp_path: Path) -> None:
    from fyke.errors import InputError

    with pytest.raises(InputError, match=said):
        list(open_events(written(tmp_path, {"ovs": event})).batches())


def test_what_has_no_column_is_kept(tmp_path: Path) -> None:
    odd = [
        {**HIT, "more": 1},
        {"event_type": "upcall_return", **OF_UPCALL, "ret": 0, "port": 3},
        {"event_type": "x"},
    ]
    again = str(tmp_path / "again.json")
    source = open_events(written(tmp_path, *({"ovs": event} for event in odd)))
    with RetisWriter(again, Facts()) as writer:
        for batch in source.batches():
            writer.write(batch)
    assert [json.loads(line)["ovs"] for line in Path(again).read_text().splitlines()[1:]] == odd
    assert source.unknown_sections == {"ovs": 3}
