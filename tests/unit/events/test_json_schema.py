"""The JSON Schema, held against every event of the corpus, and against any that is written."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from event_samples import FACTS, batch_of, closing_row, gap_row, packet_row, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.events.facts import Facts
from fyke.events.json_schema import event_schema
from fyke.events.retis.write import RetisWriter

CORPUS = Path(__file__).parents[2] / "data" / "retis"
VALIDATOR = jsonschema.Draft202012Validator(event_schema())


def lines(path: Path) -> list[Any]:
    items = [json.loads(line) for line in path.read_bytes().rstrip(b"\n").split(b"\n")]
    return [event for item in items for event in (item if isinstance(item, list) else [item])]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(event_schema())
    assert event_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert event_schema()["title"] == "Retis Metadata"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*.json")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_the_corpus_is_valid(path: Path) -> None:
    events = lines(path)
    assert events
    for event in events:
        VALIDATOR.validate(event)


@settings(max_examples=40)
@given(data=st.data(), by_journey=st.booleans())
def test_any_event_that_is_written_is_valid(
    data: st.DataObject, by_journey: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("schema") / "e.json"
    table = data.draw(st.lists(rows(journeys=by_journey), max_size=4))
    facts = Facts(order="journey") if by_journey else FACTS
    with RetisWriter(str(path), facts) as writer:
        writer.write(batch_of(table))
    events = lines(path)
    assert len(events) == len(table) + 1
    for event in events:
        VALIDATOR.validate(event)


@pytest.fixture
def written(tmp_path: Path) -> list[Any]:
    with RetisWriter(str(tmp_path / "e.json"), FACTS, limit_bytes=10**6) as writer:
        writer.write(batch_of([packet_row(1), gap_row(2), closing_row(3, 1)]))
    return lines(next(tmp_path.iterdir()))


# What may not be: (event, path of the value, a wrong one).
WRONG: list[tuple[int, tuple[str, ...], Any]] = [
    (1, ("common",), None),
    (1, ("common", "timestamp"), -1),
    (1, ("common", "timestamp"), 2**64),
    (1, ("common", "timestamp"), "1"),
    (1, ("common", "task", "pid"), 2**31),
    (1, ("kernel", "symbol"), 5),
    (1, ("kernel", "stack_trace"), "a+0x1"),
    (1, ("packet", "data"), "no base64"),
    (1, ("packet", "data"), "AAA"),
    (1, ("skb", "vlan_accel", "dei"), 1),
    (1, ("skb", "vlan_accel", "pcp"), 256),
    (1, ("dev", "ifindex"), None),
    (2, ("fyke", "gap", "count"), -1),
    (2, ("fyke", "gap", "cause"), 1),
    (0, ("startup", "retis_version"), 1),
    (0, ("startup", "split_file", "id"), "0"),
]


@pytest.mark.parametrize(("number", "path", "value"), WRONG)
def test_what_is_wrong_is_found(written: list[Any], number: int, path: tuple[str, ...], value: Any) -> None:
    event = copy.deepcopy(written[number])
    VALIDATOR.validate(event)
    node = event
    for key in path[:-1]:
        node = node[key]
    assert path[-1] in node
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError) as caught:
        VALIDATOR.validate(event)
    assert tuple(caught.value.absolute_path) == path


@pytest.mark.parametrize("path", [("common",), ("common", "timestamp"), ("packet", "len"), ("netns", "inum")])
def test_what_must_be_there_is_missed(written: list[Any], path: tuple[str, ...]) -> None:
    node = event = copy.deepcopy(written[1])
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    with pytest.raises(jsonschema.ValidationError, match=f"'{path[-1]}' is a required property"):
        VALIDATOR.validate(event)
