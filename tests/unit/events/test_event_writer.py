import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, closing_row, gap_row, packet_row, packets, room_for

from fyke.errors import InputError, RunError, UsageError
from fyke.events.coded import coded_schema
from fyke.events.facts import Facts
from fyke.events.reader import open_events
from fyke.events.schema import FACTS_KEY, arrow_schema
from fyke.events.store import EventWriter


@pytest.mark.parametrize("compression", ["zstd-1", "zstd-3", "lz4", "none"])
def test_plain_pyarrow_reads_back_what_was_written(tmp_path: Path, compression: str) -> None:
    path = str(tmp_path / "a.arrow")
    batches = [packets(0, 10), packets(10, 5), batch_of([gap_row(99), closing_row(100, 15)])]
    with EventWriter(path, FACTS, compression=compression) as writer:
        for batch in batches:
            writer.write(batch)
    with pa.ipc.open_stream(path) as stream:
        assert stream.schema.remove_metadata() == coded_schema(arrow_schema())
        assert Facts.from_json(stream.schema.metadata[FACTS_KEY]) == FACTS
        assert [batch.to_pylist() for batch in stream] == [batch.to_pylist() for batch in batches]
    assert writer.paths == [path]
    assert writer.bytes_written == os.path.getsize(path)
    assert writer.events_written == 15


def test_compression_makes_it_smaller(tmp_path: Path) -> None:
    sizes = {}
    for compression in ("none", "zstd-1"):
        with EventWriter(str(tmp_path / compression), FACTS, compression=compression) as writer:
            writer.write(packets(0, 10_000))
        sizes[compression] = writer.bytes_written
    assert sizes["zstd-1"] < sizes["none"] / 4


def test_a_batch_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    writer = EventWriter(str(path), FACTS)
    for number in range(3):
        writer.write(packets(number * 10, 10))
        source = open_events(str(path))
        assert sum(len(batch) for batch in source.batches()) == 10 * (number + 1)
        assert not source.complete
    writer.close()
    source = open_events(str(path))
    assert sum(len(batch) for batch in source.batches()) == 30
    assert source.complete


CHILD = """
import sys
from event_samples import FACTS, packets, room_for
from fyke.events.store import EventWriter
writer = EventWriter(sys.argv[1], FACTS)
for number in range(1_000_000):
    writer.write(packets(number * 100, 100))
    print(number + 1, flush=True)
"""


def test_kill_9_leaves_every_batch_that_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "a.arrow")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen([sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE, env=env) as child:
        assert child.stdout is not None
        for _ in range(3):
            child.stdout.readline()
        child.kill()
        said = 3 + len(child.stdout.read().splitlines())
    source = open_events(path)
    rows = 0
    with contextlib.suppress(InputError):  # the kernel may stop a write half way
        for batch in source.batches():
            rows += len(batch)
    assert rows in (100 * said, 100 * (said + 1))
    assert not source.complete


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Make writing beyond SIZE bytes fail in the middle of a write, as a full disk does (setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_a_readable_file_and_says_what_is_in_it(tmp_path: Path) -> None:
    path = str(tmp_path / "a.arrow")
    writer = EventWriter(path, FACTS)
    writer.write(packets(0, 100))
    writer.write(packets(100, 100))
    whole = os.path.getsize(path)
    with (
        _largest_file(whole + 3000),
        pytest.raises(RunError, match=r"no space left .*: 200 events") as caught,
    ):
        writer.write(packets(200, 100))
    assert caught.value.hint
    assert os.path.getsize(path) == whole
    writer.close()
    source = open_events(path)
    assert sum(len(batch) for batch in source.batches()) == 200
    assert not source.complete


def test_writing_may_go_on_when_there_is_space_again(tmp_path: Path) -> None:
    path = str(tmp_path / "a.arrow")
    writer = EventWriter(path, FACTS)
    writer.write(packets(0, 10))
    with _largest_file(os.path.getsize(path) + 1000), pytest.raises(RunError):
        writer.write(packets(10, 10))
    writer.write(batch_of([closing_row(100, 10)]))
    writer.close()
    source = open_events(path)
    assert [len(batch) for batch in source.batches()] == [10, 1]
    assert not source.complete  # a batch is missing: no end marker pretends otherwise


def test_a_disk_that_is_full_from_the_start() -> None:
    with pytest.raises(RunError, match="no space left for /dev/full: 0 events"):
        EventWriter("/dev/full", FACTS)


def test_a_closed_pipe_is_not_turned_into_an_error_message() -> None:
    reading, writing = os.pipe()
    writer = EventWriter(f"/dev/fd/{writing}", FACTS)
    os.close(reading)
    os.close(writing)
    with pytest.raises(BrokenPipeError):
        writer.write(packets(0, 1))
    writer.close()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "empty"),
        (".", "is a directory"),
        ("missing/dir/out", "no directory missing/dir"),
        ("file/out", "no directory file"),
        ("x" * 300, "can't write to x"),
    ],
)
def test_paths_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=says):
        EventWriter(path, FACTS)


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    path.write_text("")
    path.chmod(0)
    if os.geteuid() == 0:
        path = Path("/sys/kernel/notes")  # refused to root too
    with pytest.raises(UsageError, match="can't write to") as refused:
        EventWriter(str(path), FACTS)
    assert refused.value.hint == f"write elsewhere, or see who may write there: ls -ld {path}"


@pytest.mark.parametrize("compression", ["gzip", "zstd-x", "zstd-99", "zstd-0", "", "lz4-banana"])
def test_compressions_that_there_are_not(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a"
    with pytest.raises(UsageError, match="compression"):
        EventWriter(str(path), FACTS, compression=compression)
    assert not path.exists()


def test_a_batch_of_another_schema_is_a_bug_of_the_caller(tmp_path: Path) -> None:
    with EventWriter(str(tmp_path / "a"), FACTS) as writer, pytest.raises(ValueError, match="schema"):
        writer.write(pa.RecordBatch.from_pylist([{"x": 1}]))


def test_an_exception_leaves_no_end_marker(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with contextlib.suppress(KeyError), EventWriter(path, FACTS) as writer:
        writer.write(packets(0, 5))
        raise KeyError
    source = open_events(path)
    assert sum(len(batch) for batch in source.batches()) == 5
    assert not source.complete


def test_split_output_keeps_its_limit_and_loses_nothing(tmp_path: Path) -> None:
    path, limit = str(tmp_path / "out"), room_for(2, packets(0, 200))
    with EventWriter(path, FACTS, limit_bytes=limit) as writer:
        for number in range(8):
            writer.write(packets(number * 200, 200))
    assert writer.paths == [f"{path}.{n}" for n in range(len(writer.paths))]
    assert len(writer.paths) > 2
    assert max(map(os.path.getsize, writer.paths)) <= limit
    assert sum(map(os.path.getsize, writer.paths)) == writer.bytes_written
    stamps = []
    for number, name in enumerate(writer.paths):
        with open_events(name) as source:
            assert (source.facts.split_id, source.facts.split_limit_bytes) == (number, limit)
            stamps += [t for batch in source.batches() for t in batch.column("timestamp_ns").to_pylist()]
        assert source.complete
    assert stamps == [1_000_000 + n for n in range(1600)]


def test_a_batch_larger_than_the_limit_is_cut(tmp_path: Path) -> None:
    noise = [
        packet_row(n, packet={"len": 900, "capture_len": 900, "data": os.urandom(900)}) for n in range(64)
    ]
    limit = room_for(1, packets(0, 1)) + 16_000
    with EventWriter(str(tmp_path / "out"), FACTS, limit_bytes=limit) as writer:
        writer.write(batch_of(noise))
    assert len(writer.paths) > 3
    assert max(map(os.path.getsize, writer.paths)) <= limit
    source = open_events(writer.paths[0] + "..")
    assert [row for batch in source.batches() for row in batch.to_pylist()] == batch_of(noise).to_pylist()


@pytest.mark.usefixtures("small_limits")
def test_a_limit_too_small_for_one_event_still_writes_them(tmp_path: Path) -> None:
    with EventWriter(str(tmp_path / "out"), FACTS, limit_bytes=10) as writer:
        writer.write(packets(0, 3))
    assert len(writer.paths) == 3


def test_writing_a_batch_costs_microseconds_not_milliseconds_an_event(tmp_path: Path) -> None:
    batch = packets(0, 10_000)
    with EventWriter(str(tmp_path / "a"), FACTS) as writer:
        writer.write(batch)
        start = time.process_time()
        writer.write(batch)
        assert time.process_time() - start < 0.2  # 20 us an event: 40 times what it takes


def test_a_limit_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--out-rotate 1B is too small") as caught:
        EventWriter(str(tmp_path / "out"), FACTS, limit_bytes=1)
    assert caught.value.hint == "give at least 32KiB"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", [False, True])
def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path, split: bool) -> None:
    path, limit = str(tmp_path / "s.arrow"), room_for(2, packets(0, 200)) if split else None
    with EventWriter(path, FACTS, limit_bytes=limit) as writer:
        for number in range(8 if split else 1):
            writer.write(packets(number * 200, 200))
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        with pytest.raises(UsageError, match="is being written by another fyke") as caught:
            EventWriter(path, FACTS, limit_bytes=limit)
        assert caught.value.hint == "choose another name"
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    EventWriter(path, FACTS, limit_bytes=limit).close()


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    pipe = str(tmp_path / "ff")
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="nobody reads the pipe") as caught:
        EventWriter(pipe, FACTS)
    assert caught.value.hint == "start its reader first"


def test_a_pipe_with_a_reader(tmp_path: Path) -> None:
    pipe = str(tmp_path / "ff")
    os.mkfifo(pipe)
    copy = tmp_path / "copy"
    with copy.open("wb") as out, subprocess.Popen(["cat", pipe], stdout=out):
        deadline = time.monotonic() + 20
        while True:
            try:
                writer = EventWriter(pipe, FACTS)
                break
            except UsageError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        with writer:
            for number in range(40):  # more than a pipe holds: it must wait, not fail
                writer.write(packets(number * 1000, 1000))
    assert copy.stat().st_size == writer.bytes_written > 1 << 16
