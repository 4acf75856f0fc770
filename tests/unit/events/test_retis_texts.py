"""Retis' files sorted to JSON, their events copied: as if each had been made of its columns again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from retis_both_ways import write
from retis_samples import DATA, EVENT, STARTUP

from fyke.cli.main import main
from fyke.errors import InputError
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.retis.texts import Texts
from fyke.events.retis.write import RetisWriter
from fyke.journeys.sort import LOOKED_AT, sort_source, sorted_facts

UNSORTED = sorted(DATA.glob("*/events.json"))
OTHER = {**EVENT, "later": {"a": 1.5}}  # has no column
OWN = {**EVENT, "fyke": {"kernel": {"probe_type": "fexit"}}}
GAP = {"common": {"timestamp": 2000}, "fyke": {"gap": {"since_ns": 5, "cause": "ring_full", "count": 12}}}
UPCALL = {
    "common": {"timestamp": 2000, "smp_id": 1},
    "ovs": {"event_type": "upcall", "upcall_cmd": 1, "upcall_port": 2, "cpu": 1},
}


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were copied: one number for each batch."""
    counts = []
    fill = Texts.fill

    def counting(self: Texts, batch: pa.RecordBatch) -> pa.RecordBatch:
        filled = fill(self, batch)
        counts.append(len(batch) - filled.column("text").null_count)
        return filled

    monkeypatch.setattr(Texts, "fill", counting)
    return counts


def sort(path: Path, out: Path, *, copy: bool) -> tuple[bytes, str]:
    """Sort a file as the command does; return what was written, and the problem."""
    problem = ""
    with contextlib.ExitStack() as opened, contextlib.suppress(InputError):
        source = opened.enter_context(open_events(str(path)))
        texts = source.keep_texts(LOOKED_AT) if copy else None
        if texts is not None:
            opened.callback(texts.close)
        try:
            written(out, sorted_facts(source.facts), texts, sort_source(source))
        except InputError as error:
            problem = error.message
            raise
    return out.read_bytes(), problem


def written(out: Path, facts: Facts, texts: Texts | None, batches: Iterable[pa.RecordBatch]) -> None:
    with RetisWriter(str(out), facts, texts=texts) as writer:
        for batch in batches:
            writer.write(batch)


def both(path: Path) -> tuple[bytes, bytes]:
    """Return what is written of the columns, and by copying; both say the same and have the same problem."""
    out = path.with_name("sorted.json")
    made, copy = sort(path, out, copy=False), sort(path, out, copy=True)
    assert copy[1] == made[1]
    assert list(events(copy[0])) == list(events(made[0]))
    return made[0], copy[0]


def events(content: bytes) -> Iterator[Any]:
    """Yield each journey's events, whose base64 may be written in several ways, as the bytes they are."""
    for line in content.splitlines():
        yield [[*event.items()] and event for event in json.loads(line)]


@pytest.mark.parametrize("sample", UNSORTED, ids=lambda path: path.parent.name)
def test_files_of_retis(tmp_path: Path, copied: list[int], sample: Path) -> None:
    first, *lines = sample.read_bytes().splitlines()
    path = tmp_path / "events.json"
    path.write_bytes(b"\n".join([first, *lines * 8]) + b"\n")  # each shape is learned
    made, copy = both(path)
    assert copy == made
    assert sum(copied) == 8 * len(lines)


@pytest.mark.parametrize("order", ["as it was", "reversed", "shuffled"])
@pytest.mark.parametrize("most", [1, 2_000, 1 << 20])
def test_whatever_lies_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: list[int], most: int, order: str
) -> None:
    monkeypatch.setattr("fyke.events.retis.write.MAX_TEXT_BYTES", most)
    monkeypatch.setattr("fyke.events.retis.lines.BLOCK_BYTES", 20_000)
    monkeypatch.setattr("fyke.journeys.sort.CHUNK_ROWS", 50)
    monkeypatch.setattr("fyke.journeys.spool.MEMORY_BYTES", 5_000)
    lines = [
        json.dumps(
            {
                **EVENT,
                "common": {"timestamp": 10_000 + n, "smp_id": n % 3},
                "skb-tracking": {"orig_head": 5 + n % 7, "timestamp": 9_000, "skb": n},
                "packet": {"len": n, "capture_len": 0, "data": "QUJD" * (n % 400)},
            },
            separators=(",", ":"),
        ).encode()
        for n in range(600)
    ]
    if order == "reversed":
        lines.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(lines)
    path = tmp_path / "events.json"
    write(path, lines)
    made, copy = both(path)
    assert copy == made
    assert sum(copied) == 600
    assert len(copied) > 5 or most == 1 << 20


@pytest.mark.parametrize("name", ["other", "own", "gap", "upcall", "é", "\\", "spaces"])
def test_what_is_copied_and_what_is_not(tmp_path: Path, copied: list[int], name: str) -> None:
    named = {**EVENT, "dev": {"name": name, "ifindex": 1}}
    odd = {"other": OTHER, "own": OWN, "gap": GAP, "upcall": UPCALL}.get(name, named)
    separators = (", ", ": ") if name == "spaces" else (",", ":")
    lines = [json.dumps(event, separators=separators).encode() for event in [EVENT, odd] * 20]
    path = tmp_path / "events.json"
    write(path, lines)
    made, copy = both(path)
    assert (copy == made) is (name != "spaces")
    assert sum(copied) == (20 if name in ("other", "upcall", "é", "\\") else 40)


UNLIKE_OURS = [
    {**EVENT, "kernel": {"symbol": "ip_rcv", "probe_type": "fexit"}},  # Retis has no such probe
    {**EVENT, "dev": {"name": "eth0"}},  # Retis would refuse it
    {**EVENT, "fyke": {"skb_tracking": {"orig_head": 9, "timestamp_ns": 9, "skb": 9}}},
    {"common": {"timestamp": 5}, "fyke": {"skb_drop": {"drop_reason": "NO_SOCKET"}}},
]


@pytest.mark.parametrize("event", UNLIKE_OURS)
def test_events_that_we_would_write_in_another_way(tmp_path: Path, copied: list[int], event: Any) -> None:
    path = tmp_path / "events.json"
    write(path, [json.dumps(event).encode()] * 9)
    made, copy = both(path)
    assert copy == made
    assert sum(copied) == 0


LAST = [
    json.dumps({"fyke": OWN["fyke"], **EVENT}),  # not at the end
    json.dumps({**EVENT, "fyke": {}}),
    json.dumps({**EVENT, "fyke": {"journey": {"id": 7, "index": 8, "clone": 0, "lost": 0}}}),
    json.dumps({**EVENT, "tracking": {"skb": EVENT["skb-tracking"], "idx": 3}}),
    json.dumps(OWN).removesuffix("}") + " }",
    json.dumps(OWN) + " ",
    " " + json.dumps(OWN),
]


@pytest.mark.parametrize("line", LAST)
def test_events_without_room_at_their_end(tmp_path: Path, copied: list[int], line: str) -> None:
    path = tmp_path / "events.json"
    write(path, [json.dumps(EVENT).encode()] * 9 + [line.encode()] * 9)
    out = tmp_path / "sorted.json"
    made, problem = sort(path, out, copy=False)
    assert sort(path, out, copy=True) == (made, problem)
    assert sum(copied) == 0


@given(
    table=st.lists(rows(), min_size=1, max_size=6), ends=st.lists(st.sampled_from(["", " ", "x"]), max_size=3)
)
@settings(max_examples=60, deadline=None)
def test_files_of_ours(retis_file: Path, table: list[dict[str, Any]], ends: list[str]) -> None:
    with RetisWriter(str(retis_file), FACTS) as writer:
        writer.write(batch_of(table * 9))
    with open(retis_file, "a") as file:
        file.writelines(end + "\n" for end in ends)
    made, copy = both(retis_file)
    assert copy == made


def test_older_files_sets_and_pipes_are_not_copied(tmp_path: Path, copied: list[int]) -> None:
    lines = [json.dumps(EVENT).encode()] * 9
    path, out = tmp_path / "events.json.0", tmp_path / "sorted.json"
    startup = json.loads(json.dumps(STARTUP))
    startup["startup"]["retis_version"] = "1.6.0"
    path.write_bytes(b"\n".join([json.dumps(startup).encode(), *lines]) + b"\n")
    assert main(["sort", str(path), "-o", str(out)]) == 0
    write(path, lines)
    assert main(["sort", f"{path}..", "-o", str(out)]) == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    thread.start()
    assert main(["sort", str(pipe), "-o", str(out)]) == 0
    thread.join()
    assert copied == []
    assert main(["sort", str(path), "-o", str(out)]) == 0
    assert copied == [9]


@pytest.mark.parametrize("change", ["shrunk", "moved", "other", "grown"])
def test_a_file_that_changes_while_it_is_sorted(tmp_path: Path, change: str) -> None:
    path, out = tmp_path / "events.json", tmp_path / "sorted.json"
    write(path, [json.dumps(EVENT).encode()] * 9)
    content = path.read_bytes()
    os.utime(path, (1, 1))
    with open_events(str(path)) as source:
        texts = source.keep_texts(LOOKED_AT)
        assert texts is not None
        batches = list(sort_source(source))
        if change == "grown":
            with open(path, "ab") as file:
                file.write(b"more")
            written(out, sorted_facts(source.facts), texts, batches)
            texts.close()
            assert len(out.read_bytes().splitlines()) == 2
            return
        new = {
            "shrunk": content[:-100],
            "moved": b" " + content,
            "other": content.replace(b"_head", b"_hexd"),
        }
        path.write_bytes(new[change])
        with pytest.raises(InputError, match="has changed while it was sorted"):
            written(out, sorted_facts(source.facts), texts, batches)
        texts.close()
    assert len(out.read_bytes().splitlines()) == 1  # the startup event


def test_a_file_that_cannot_be_read_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    path, out = tmp_path / "events.json", tmp_path / "sorted.json"
    write(path, [json.dumps({**EVENT, "common": {"timestamp": n}}).encode() for n in range(9)])
    monkeypatch.setattr("fyke.events.retis.texts.os.pread", fail)
    content, problem = sort(path, out, copy=True)
    assert problem == f"can't read on in {path}: Input/output error"
    assert len(content.splitlines()) == 1


def test_events_are_written_once_before_a_file_has_shrunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: list[int]
) -> None:
    """Of a block that is written in parts, those before the one that can't be."""
    monkeypatch.setattr("fyke.events.retis.write.MAX_TEXT_BYTES", 3_000)
    monkeypatch.setattr("fyke.journeys.sort.CHUNK_ROWS", 20)
    path, out = tmp_path / "events.json", tmp_path / "sorted.json"
    journeys = [
        {
            **EVENT,
            "common": {"timestamp": 10 * n + i},
            "skb-tracking": {"orig_head": 1, "timestamp": n, "skb": 1},
        }
        for n in range(40)
        for i in range(5)
    ]
    write(path, [json.dumps(event).encode() for event in journeys])
    fill = Texts.fill  # which counts

    def shrinking(self: Texts, batch: pa.RecordBatch) -> pa.RecordBatch:
        if sum(copied) > 60:
            os.truncate(path, 1000)
        return fill(self, batch)

    monkeypatch.setattr(Texts, "fill", shrinking)
    content, problem = sort(path, out, copy=True)
    assert "has changed" in problem
    lines = [json.loads(line) for line in content.splitlines()[1:]]
    assert [len(line) for line in lines] == [5] * len(lines)
    assert [line[0]["common"]["timestamp"] for line in lines] == [10 * n for n in range(len(lines))]
    assert 60 < 5 * len(lines) < 200


def test_what_is_between_events_is_skipped_where_it_is_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: list[int]
) -> None:
    monkeypatch.setattr("fyke.events.retis.texts._MOST_BYTES", 1)
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr("fyke.events.retis.texts.os.pread", lambda *a: read.append(a[1]) or pread(*a))
    path = tmp_path / "events.json"
    lines = [
        json.dumps({**EVENT, "common": {"timestamp": n}}, separators=(",", ":")).encode() for n in range(50)
    ]
    write(path, lines)
    made, copy = both(path)
    assert copy == made
    assert sum(read) == sum(map(len, lines))
