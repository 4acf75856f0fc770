import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, closing_row, packet_row, packets, room_for
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.errors import InputError
from fyke.events.facts import Facts
from fyke.events.frames import RECORD_BATCH, Frames
from fyke.events.reader import EventSource, default_input, open_events
from fyke.events.retis.write import RetisWriter
from fyke.events.schema import FACTS_KEY, arrow_schema
from fyke.events.store import END_OF_STREAM, EventWriter


def _write(path: Path, *batches: pa.RecordBatch, facts: Facts = FACTS, **options: Any) -> str:
    with EventWriter(str(path), facts, **options) as writer:
        for batch in batches:
            writer.write(batch)
    return str(path)


def _rows(source: EventSource) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", packets(0, 10), packets(10, 3))
    source = open_events(path)
    assert (source.format, source.facts, source.path) == ("arrow", FACTS, path)
    assert list(source.batches()) == [packets(0, 10), packets(10, 3)]
    assert source.complete
    assert source.problem is None
    assert source.warnings == []
    assert source.unknown_sections == {}


@given(cut=st.integers(0, 70_000))
@settings(max_examples=80, deadline=None)
def test_a_truncated_file_gives_what_is_whole_and_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    whole, bounds = _sample(tmp_path_factory)
    cut = min(cut, len(whole))
    path = tmp_path_factory.getbasetemp() / "truncated.arrow"
    path.write_bytes(whole[:cut])
    _check_cut(path, cut, bounds)


def test_every_place_around_a_batch_boundary(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole, bounds = _sample(tmp_path_factory)
    path = tmp_path_factory.getbasetemp() / "truncated.arrow"
    # The end of the schema and of each batch; there are many messages of what numbers mean.
    for bound in {batches: bound for bound, batches in reversed(bounds.items())}.values():
        for cut in range(max(0, bound - 9), min(len(whole), bound + 9) + 1):
            path.write_bytes(whole[:cut])
            _check_cut(path, cut, bounds)


def _check_cut(path: Path, cut: int, bounds: dict[int, int]) -> None:
    """Check what reading says of a file cut at this byte; bounds: see `_sample`."""
    end = max(bounds) + len(END_OF_STREAM)
    if cut < min(bounds):
        with pytest.raises(InputError) as caught:
            open_events(str(path))
        _one_sentence(caught.value)
        return
    source = open_events(str(path))
    batches = []
    with contextlib.suppress(InputError):
        for batch in source.batches():
            batches.append(batch)
    start = max(b for b in bounds if b <= cut)
    assert batches == [packets(5 * n, 5) for n in range(bounds[start])]
    assert source.complete == (cut == end)
    assert (source.problem is None) == (cut in bounds or cut == end)
    if source.problem is not None:
        _one_sentence(source.problem)
        expected = f"at byte {start}, after {5 * len(batches)} events: it ends inside a message"
        assert expected in source.problem.message


def _sample(factory: pytest.TempPathFactory) -> tuple[bytes, dict[int, int]]:
    """Return a file, and for the end of each message in it how many batches are before."""
    path = factory.getbasetemp() / "whole.arrow"
    with EventWriter(str(path), FACTS) as writer:
        for number in range(3):
            writer.write(packets(5 * number, 5))
    bounds, batches = {}, 0
    with open(path, "rb") as file:
        for frame in Frames(file):
            batches += frame.kind == RECORD_BATCH
            bounds[frame.offset + len(frame.data)] = batches
    return path.read_bytes(), bounds


def _one_sentence(error: InputError) -> None:
    assert "\n" not in error.message
    assert error.message.isprintable()
    assert not error.message.endswith(".")
    assert error.exit_code == 2


def test_what_comes_after_the_end_marker_is_not_passed_over(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", packets(0, 5))
    with open(path, "ab") as file:
        file.write(b"x")
    source = open_events(path)
    with pytest.raises(InputError, match=r"after 5 events: it goes on after its end marker"):
        _rows(source)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "damaged at byte 0, after 0 packets: its byte order isn't known"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "damaged at byte 0, after 0 packets: it is in version 0 of pcap"),
        (b"hello, world\n", "is not an event file"),
        (b"\0\0\0\0\0\0\0\0\0", "is not an event file"),
        (b"\xff", "is not an event file"),
        (b"ARROW1\0\0" + bytes(100), "an Arrow file, not an Arrow stream"),
        (b"PAR1" + bytes(100), "a Parquet file, but not of events"),
        (b"\x1f\x8b\x08" + bytes(100), "compressed"),
        (b"\x7fELF" + bytes(100), "a program"),
        (b"\xff\xff\xff\xff", "damaged at byte 0, after 0 events: it ends inside a message"),
        (b"\xff\xff\xff\xff\0\0\0\0", "doesn't begin with a schema"),
        (b"\xff\xff\xff\xff" + bytes.fromhex("ffffff7f"), "claims to be larger than any batch"),
        (b"\xff\xff\xff\xff" + struct.pack("<I", 64) + bytes(64), "not of events|garbled|schema"),
        (b"{}\n", "not an event file: it doesn't begin with a startup event"),
        (b"[]\n", "doesn't begin with a startup event"),
        (b"{\n", "not JSON"),
        (b'{"a":', "ends inside an event"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_are_no_event_files(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        open_events(str(path))
    _one_sentence(caught.value)
    assert caught.value.message.startswith(str(path))
    assert caught.value.hint


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    for path, says in [
        (str(tmp_path), "is a directory"),
        (str(tmp_path) + "/..", "is a directory"),
        (str(tmp_path / "missing"), "there is no file"),
        ("a\0b", "can't read"),
        ("x" * 5000, "can't read"),
    ]:
        with pytest.raises(InputError, match=says):
            open_events(path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = Path(_write(tmp_path / "a"))
    path.chmod(0)
    was = os.geteuid()
    if was == 0:  # root may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"can't read .*: Permission denied"):
            open_events(str(path))
    finally:
        os.seteuid(was)


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    content = Path(_write(tmp_path / "a", packets(0, 5))).read_bytes()
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    source = open_events(f"/dev/fd/{reading}")
    os.close(reading)
    assert _rows(source) == packets(0, 5).to_pylist()
    assert source.complete


# Files of other versions and of other tools


def _stream(path: Path, table: pa.Table, facts: bytes | None = None) -> str:
    schema = table.schema.with_metadata({FACTS_KEY: facts} if facts is not None else None)
    with pa.ipc.new_stream(str(path), schema) as writer:
        writer.write_table(table.cast(schema))
    return str(path)


def test_columns_that_an_older_file_lacks_are_null(tmp_path: Path) -> None:
    old = pa.table(
        {
            "dev": pa.array([{"name": "eth0"}, None], pa.struct([("name", pa.string())])),
            "timestamp_ns": pa.array([1, 2], pa.uint64()),
        }
    )
    source = open_events(_stream(tmp_path / "old", old, FACTS.to_json()))
    assert source.schema == arrow_schema()
    rows = _rows(source)
    assert rows[0]["dev"] == {"name": "eth0", "ifindex": None, "rx_ifindex": None}
    assert rows[1] == {**dict.fromkeys(arrow_schema().names), "timestamp_ns": 2}


def test_columns_of_a_newer_file_are_kept_at_the_end(tmp_path: Path) -> None:
    new = packets(0, 2).to_pylist()
    for row in new:
        row["dev"]["mtu"] = 1500
    table = pa.Table.from_pylist(new, schema=_with_mtu()).append_column("weather", pa.array(["sun", "rain"]))
    source = open_events(_stream(tmp_path / "new", table.select([*table.column_names[::-1]]), b"{}"))
    assert source.schema.names == [*arrow_schema().names, "weather"]
    (batch,) = source.batches()
    assert batch.schema == source.schema
    assert [row["dev"]["mtu"] for row in batch.to_pylist()] == [1500, 1500]
    assert batch.column("weather").to_pylist() == ["sun", "rain"]
    path = str(tmp_path / "copy")
    with EventWriter(path, FACTS, schema=source.schema) as writer:
        writer.write(batch)
    assert list(open_events(path).batches()) == [batch]


def _with_mtu() -> pa.Schema:
    schema = arrow_schema()
    dev = schema.field("dev")
    kind = pa.struct([*(dev.type.field(i) for i in range(dev.type.num_fields)), ("mtu", pa.uint32())])
    return schema.set(schema.get_field_index("dev"), dev.with_type(kind))


def test_what_other_tools_made_of_the_types_is_undone(tmp_path: Path) -> None:
    dev = pa.struct([("name", pa.large_string()), ("ifindex", pa.int64()), ("rx_ifindex", pa.null())])
    kernel = pa.struct([("symbol", pa.large_string()), ("stack", pa.large_list(pa.large_string()))])
    table = pa.table(
        {
            "timestamp_ns": pa.array([5], pa.int64()),
            "dev": pa.array([{"name": "eth0", "ifindex": 2}], dev),
            "kernel": pa.array([{"symbol": "f", "stack": ["a", "b"]}], kernel),
        }
    )
    source = open_events(_stream(tmp_path / "a", table))
    (row,) = _rows(source)
    assert source.schema == arrow_schema()
    assert row["dev"] == {"name": "eth0", "ifindex": 2, "rx_ifindex": None}
    assert row["kernel"] == {"symbol": "f", "probe_type": None, "stack": ["a", "b"]}
    assert source.warnings == [
        f"{tmp_path / 'a'} holds no facts about its collection; another tool has written it"
    ]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"x": pa.array([1])}, "there is no column timestamp_ns"),
        ({"timestamp_ns": pa.array(["noon"])}, "the column timestamp_ns is string, not uint64"),
        ({"timestamp_ns": pa.array([1], pa.uint64()), "dev": pa.array([7])}, "dev is int64, not a section"),
        (
            {"timestamp_ns": pa.array([1], pa.uint64()), "x": pa.array([7]).dictionary_encode()},
            "column x is dictionary.*not supported",
        ),
    ],
)
def test_streams_that_are_not_of_events(tmp_path: Path, columns: dict[str, pa.Array], says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_events(_stream(tmp_path / "a", pa.table(columns)))


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    two = pa.Table.from_arrays([pa.array([1], pa.uint64())] * 2, names=["timestamp_ns", "timestamp_ns"])
    with pytest.raises(InputError, match="two columns timestamp_ns"):
        open_events(_stream(tmp_path / "a", two))


@pytest.mark.parametrize("times", [[1, None], [-1]])
def test_times_that_cannot_be(tmp_path: Path, times: list[int | None]) -> None:
    source = open_events(_stream(tmp_path / "a", pa.table({"timestamp_ns": pa.array(times, pa.int64())})))
    with pytest.raises(InputError, match="after 0 events: a batch is garbled"):
        _rows(source)


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"timestamp_ns": "noon"}',
        b'{"timestamp_ns": 1e400}',
        b'{"timestamp_ns": true}',
        b'{"clock_monotonic_offset_ns": 99999999999999999999999}',
        b'{"split_id": -1}',
        b'{"probes": [1]}',
        b'{"collectors": [[]]}',
        b'{"extra": 5}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_garbled_facts(tmp_path: Path, facts: bytes) -> None:
    with pytest.raises(InputError, match="not of events") as caught:
        open_events(_stream(tmp_path / "a", packets_table(), facts))
    _one_sentence(caught.value)


def packets_table() -> pa.Table:
    return pa.Table.from_batches([packets(0, 2)])


def test_facts_of_a_later_version_are_kept(tmp_path: Path) -> None:
    with open_events(
        _stream(tmp_path / "a", packets_table(), b'{"version": "9", "colour": "red"}')
    ) as source:
        assert source.facts == Facts(version="9", extra={"colour": "red"})


def test_control_characters_of_a_file_do_not_reach_a_message(tmp_path: Path) -> None:
    table = pa.table(
        {"timestamp_ns": pa.array([1], pa.uint64()), "\x1b[31m\n": pa.array([7]).dictionary_encode()}
    )
    with pytest.raises(InputError) as caught:
        open_events(_stream(tmp_path / "a", table))
    _one_sentence(caught.value)
    assert "\\x1b[31m" in caught.value.message


# Split sets


def _split_set(path: Path) -> list[str]:
    with EventWriter(str(path), FACTS, limit_bytes=room_for(2, packets(0, 200))) as writer:
        for number in range(8):
            writer.write(packets(number * 200, 200))
        writer.write(batch_of([closing_row(9_000_000, 1600)]))
    assert len(writer.paths) >= 4
    return writer.paths


def test_a_split_set_is_followed_from_any_file(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    source = open_events(paths[0] + "..")
    assert [row["timestamp_ns"] for row in _rows(source)] == [
        *(1_000_000 + n for n in range(1600)),
        9_000_000,
    ]
    assert [path for path, _ in source.files] == paths
    assert [facts.split_id for _, facts in source.files] == list(range(len(paths)))
    assert source.complete
    assert source.warnings == []
    later = open_events(paths[2] + "..")
    assert 0 < len(_rows(later)) < 1600
    assert [path for path, _ in later.files] == paths[2:]
    alone = open_events(paths[0])
    assert 0 < len(_rows(alone)) < 1600
    assert alone.warnings == []


def test_a_name_that_is_not_the_file_s_number_stops_following(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    os.rename(paths[0], str(tmp_path / "out.7"))
    source = open_events(str(tmp_path / "out.7") + "..")
    assert 0 < len(_rows(source)) < 1600
    assert source.warnings == [f"File extension does not match the rotation policy: {tmp_path / 'out.7'}"]


def test_a_file_without_a_number_is_read_alone(tmp_path: Path) -> None:
    source = open_events(_write(tmp_path / "a", packets(0, 3)) + "..")
    assert len(_rows(source)) == 3


def test_a_file_of_another_collection_is_not_mixed_in(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    other = Facts(timestamp_ns=1, split_id=1, split_limit_bytes=14_000)
    _write(Path(paths[1]), packets(0, 1), facts=other)
    source = open_events(paths[0] + "..")
    _rows(source)
    assert source.warnings == [
        f"{paths[1]} is of another collection and was not read",
        f"{paths[0]} is the last file here, but not the end of its collection",
    ]
    assert [path for path, _ in source.files] == paths[:1]


def test_damage_in_a_later_file_is_said_with_its_name(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    with open(paths[1], "r+b") as file:
        file.truncate(9000)
    source = open_events(paths[0] + "..")
    with pytest.raises(InputError, match=rf"{paths[1]} is damaged"):
        _rows(source)
    assert not source.complete


def test_split_json_is_followed_too(tmp_path: Path) -> None:
    with RetisWriter(str(tmp_path / "out"), FACTS, limit_bytes=33_000) as writer:
        writer.write(packets(0, 100))
    assert len(writer.paths) > 1
    source = open_events(writer.paths[0] + "..")
    assert _rows(source) == packets(0, 100).to_pylist()
    assert [facts.split_id for _, facts in source.files] == list(range(len(writer.paths)))


def test_what_is_behind_a_missing_file_is_read(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    (tmp_path / "out.20240101").write_text("my notes")
    os.unlink(paths[1])
    source = open_events(paths[0] + "..")
    assert _rows(source)[-1]["timestamp_ns"] == 9_000_000
    assert [path for path, _ in source.files] == [paths[0], *paths[2:]]
    assert source.warnings == [f"{paths[1]} is missing: what it held isn't shown"]
    os.unlink(paths[2])
    source = open_events(paths[0] + "..")
    _rows(source)
    assert source.warnings == [f"{paths[1]} to {paths[2]} are missing: what they held isn't shown"]


def test_a_set_without_its_last_file(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    os.unlink(paths[-1])
    source = open_events(paths[0] + "..")
    _rows(source)
    assert source.warnings == [f"{paths[-2]} is the last file here, but not the end of its collection"]


def test_a_file_without_an_end_is_named(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    os.truncate(paths[-1], os.path.getsize(paths[-1]) - 8)
    source = open_events(paths[0] + "..")
    _rows(source)
    assert source.endless == [paths[-1]]
    assert source.warnings == []


def test_the_base_name_with_dots_reads_the_set(tmp_path: Path) -> None:
    paths = _split_set(tmp_path / "out")
    source = open_events(str(tmp_path / "out") + "..")
    assert len(_rows(source)) == 1601
    assert [path for path, _ in source.files] == paths


@pytest.mark.parametrize(
    ("path", "says"), [("", "the name of the file is empty"), ("nofile", "no file nofile")]
)
def test_names_of_nothing_have_a_hint(path: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        open_events(path)
    assert caught.value.hint


# The default


def test_the_default_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"there is no fyke\.arrow and no retis\.data here") as caught:
        open_events()
    assert caught.value.hint
    for name, expected in [
        ("retis.data.0", "retis.data.0.."),
        ("retis.data", "retis.data"),
        ("fyke.arrow.0", "fyke.arrow.0.."),
        ("fyke.arrow", "fyke.arrow"),
    ]:
        _write(tmp_path / name, packets(0, 1))
        assert default_input() == expected
        assert len(_rows(open_events())) == 1


def test_the_base_name_of_a_split_set_is_hinted_at(tmp_path: Path) -> None:
    _split_set(tmp_path / "out")
    with pytest.raises(InputError) as caught:
        open_events(str(tmp_path / "out"))
    assert f"{tmp_path / 'out'}.0.." in caught.value.hint


# As a reader for others


def test_a_reader_for_others_ends_quietly_at_damage(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", packets(0, 5), packets(5, 5))
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 20)
    source = open_events(path)
    assert source.reader().read_all().num_rows == 5
    assert source.problem is not None
    assert "after 5 events" in source.problem.message


def test_notes_are_not_counted_as_events(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", batch_of([packet_row(1), closing_row(2, 1)]), packets(0, 5))
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 20)
    with pytest.raises(InputError, match="after 1 events"):
        _rows(open_events(path))
