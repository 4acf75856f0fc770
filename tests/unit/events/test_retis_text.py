"""Any event the schema allows, through JSON: Retis' own library prints what we print, and we read it back.

Where the two differ is in one table, `DIFFERENCES`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
import retis
from event_samples import FACTS, batch_of, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_samples import DATA

from fyke.collectors.formatting import Style
from fyke.collectors.ovs import COLLECTOR as OVS
from fyke.events.escape import name_to_bytes, printable
from fyke.events.reader import open_events
from fyke.events.retis.connections import section_of
from fyke.events.retis.mapping import MAPPED, NAMES
from fyke.events.retis.write import RetisWriter
from fyke.render.text import EventText

os.environ["RUST_BACKTRACE"] = "0"

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Difference:
    """What is shown differently on purpose.

    row: the row as Retis has it, for us to print. theirs, ours: a text as the other has it, too.
    """

    reason: str
    row: Callable[[Row], Row] = dict
    theirs: Callable[[str], str] = str
    ours: Callable[[str], str] = str


def _without(*names: str) -> Callable[[Row], Row]:
    return lambda row: {key: value for key, value in row.items() if key not in names}


def _whole_sections(row: Row) -> Row:
    kept = dict(row)
    for mapped in MAPPED:
        values = row.get(mapped.section)
        needed = [column for key, column in mapped.keys if key not in mapped.optional]
        if values is not None and any(values[column] is None for column in needed):
            kept[mapped.section] = None
    return kept


def _without_columns(section: str, *columns: str) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        values = row.get(section)
        return row if values is None else {**row, section: {**values, **dict.fromkeys(columns)}}

    return change


def _no_blank(text: str) -> str:
    return re.sub(r"\n *(?=\n|$)", "", text)


def _no_slash(text: str) -> str:
    """Leave out slashes in front of a drop's reason: one may be of the reason itself."""
    return re.sub(r"drop \(reason /+", "drop (reason ", text)


def _connections(row: Row) -> Row:
    """Leave what Retis can hold of a connection."""
    values, parent = (
        row[name] and {c: v for c, v in row[name].items() if v is not None} for name in ("ct", "ct_parent")
    )
    if values is None:
        return {**row, "ct_parent": None}
    section, _, left = section_of(values, parent)
    if section is None:
        return {**row, "ct": None, "ct_parent": None}
    return row if parent is None or left != parent else {**row, "ct_parent": None}


def _one_probe(row: Row) -> Row:
    return {**row, "userspace": None} if row["kernel"] else row


OVS_SECTIONS = [section.name for section in OVS.sections]
_PARENT = ("parent_orig_head", "parent_timestamp_ns")
DIFFERENCES = (
    Difference("gaps and the end of a collection are ours alone", _without("gap", "closing")),
    Difference("so is what becomes of connections", _without("ct_event")),
    Difference("so is what a function returned", _without("retval")),
    Difference("so are the arguments of a place in a user program", _without("arguments")),
    Difference("Retis refuses connections that it can't hold: they are in our words only", _connections),
    Difference(
        "a connection without a zone doesn't end with a blank",
        theirs=lambda text: re.sub(r"(?m)(reply \[[^]]*\]) (?= |\]?$)", r"\1", text),
    ),
    Difference("so is the parent", _without_columns("skb_tracking", *_PARENT)),
    Difference("Retis refuses a section that isn't whole: it is in our words only", _whole_sections),
    Difference("no event is of the kernel and of a user program", _one_probe),
    Difference(
        "a subsystem without a name is none",
        theirs=_no_slash,
        ours=_no_slash,
    ),
    Difference("lines of frames without a name are indented differently", theirs=_no_blank, ours=_no_blank),
)

_PACKETS = sorted(
    {
        base64.b64decode(json.loads(line)["packet"]["data"])
        for sample in ("basic-default", "bridge-udp")
        for line in (DATA / sample / "events.json").read_text().splitlines()[1:]
    }
)
_PROBES = st.sampled_from(["raw_tracepoint", "kprobe", "kprobe_multi", "fentry", "fexit", "kretprobe"])


def _one_line(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _one_line(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    return value.replace("\n", "\r") if isinstance(value, str) else value


@st.composite
def _events(draw: st.DrawFn) -> Row:
    """Any event; of packets those that both dissect alike (tests/unit/packets compares the others).

    A newline in a name can't be told from the end of a line in Retis' text: here it is another character.
    """
    row = _one_line(draw(rows()))
    row["gap"] = row["closing"] = None
    row |= dict.fromkeys(OVS_SECTIONS)  # see test_ovs_text.py
    if row["packet"] is not None:
        data = draw(st.sampled_from(_PACKETS))
        row["packet"].update(data=data, len=len(data), capture_len=len(data))
    if row["kernel"] is not None and draw(st.integers(0, 5)):
        row["kernel"]["probe_type"] = draw(_PROBES)
    return row


def _text(row: Row) -> str:
    made = EventText(Style(), series=False)
    return b"".join(bytes(piece) for piece in made.batch(batch_of([row]))).decode().rstrip("\n")


def _theirs(event: Any, row: Row) -> str:
    """Return Retis' text with its names escaped as ours are: docs/differences.md, names from the kernel."""
    shown = {}
    for section, values in row.items():
        for column, value in (values or {}).items() if isinstance(values, dict) else ():
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str):
                    there = name_to_bytes(name).decode() if (section, column) in NAMES else name
                    if there != printable(name):
                        shown[there] = printable(name)
    if not shown:
        return str(event)
    names = "|".join(map(re.escape, sorted(shown, key=len, reverse=True)))
    return re.sub(names, lambda match: shown[match[0]], str(event))


def _crashes(event: Any) -> bool:
    """Say whether printing an event crashes Retis. (A panic of Rust's is a BaseException.)"""
    try:
        str(event)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return True
    return False


def _reconciled(event: Any, row: Row) -> tuple[str, str]:
    theirs, seen = _theirs(event, row).rstrip("\n"), row
    for difference in DIFFERENCES:
        theirs, seen = difference.theirs(theirs), difference.row(seen)
    ours = _text(seen)
    for difference in DIFFERENCES:
        ours = difference.ours(ours)
    return theirs, ours


@given(table=st.lists(_events(), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_same_text_and_the_same_rows(tmp_path_factory: pytest.TempPathFactory, table: list[Row]) -> None:
    path = str(tmp_path_factory.getbasetemp() / "text.json")
    batch = batch_of(table)
    with RetisWriter(path, FACTS) as writer:
        writer.write(batch)
    assert list(open_events(path).batches()) == [batch]
    events = list(retis.EventReader(path))[1:]
    for event, row in zip(events, table, strict=True):
        if _crashes(event):  # over an empty stack trace
            assert row["kernel"]["stack"] == []
            continue
        theirs, ours = _reconciled(event, row)
        assert theirs == ours
