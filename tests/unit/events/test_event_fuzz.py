"""Damaged files, read in a child process: what pyarrow makes of a garbled message can end a process
(plain pyarrow.ipc.open_stream does, on such files), and then the test must fail, not the test run."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, closing_row, gap_row, packets
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.events.store import EventWriter

CHILD = """
import json, re, resource, sys
from fyke.errors import InputError
from fyke.events.reader import open_events

def peak_mb():
    # Of Linux' ru_maxrss the larger part may be what the process that started this one had.
    try:
        with open("/proc/self/status") as status:
            return int(re.search(r"^VmHWM:\\s+([0-9]+) kB", status.read(), re.M)[1]) >> 10
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

for line in sys.stdin:
    rows, problem, complete = 0, None, None
    try:
        source = open_events(json.loads(line))
        for batch in source.batches():
            rows += len(batch)
            batch.to_pylist()
        complete = source.complete
    except InputError as error:
        problem = error.message
    print(json.dumps([rows, problem, complete, peak_mb()]), flush=True)
"""
ROWS = (0, 20, 40, 42)  # after each whole batch


class Reader:
    """A process that reads files and says what came of it."""

    def __init__(self) -> None:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-c", CHILD]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )

    def read(self, path: Path) -> tuple[int, str | None, bool | None, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(str(path)), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            code = self.process.wait()
            self.__init__()  # type: ignore[misc]  # for the next example
            pytest.fail(f"reading ended the process ({code})")
        rows, problem, complete, peak = json.loads(answer)
        return rows, problem, complete, peak

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    child = Reader()
    yield child
    child.close()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found = {}
    for compression in ("zstd-1", "none", "lz4"):
        path = tmp_path_factory.mktemp("fuzz") / compression
        with EventWriter(str(path), FACTS, compression=compression) as writer:
            writer.write(packets(0, 20))
            writer.write(packets(20, 20))
            writer.write(batch_of([gap_row(50), closing_row(60, 40)]))
        found[compression] = path.read_bytes()
    return found


INTERESTING = [-1, 0, 1, -(2**63), 2**63 - 1, 2**62, 2**40, 2**33, 2**31 - 1, -(2**31), 2**30]
PLACE = st.floats(0, 1, exclude_max=True)  # of the metadata or of the whole file
CHANGES = st.lists(
    st.tuples(st.just("bit"), st.booleans(), PLACE, st.integers(0, 7))
    | st.tuples(st.just("byte"), st.booleans(), PLACE, st.integers(0, 255))
    | st.tuples(st.just("word"), st.booleans(), PLACE, st.sampled_from(INTERESTING)),
    min_size=1,
    max_size=4,
)


def _metadata(content: bytes) -> list[int]:
    """Return where the bytes are that say how the others are to be read."""
    places: list[int] = []
    at = 0
    while at < len(content) - 8:
        length = struct.unpack_from("<I", content, at + 4)[0]
        places.extend(range(at, at + 8 + length))
        message = pa.ipc.read_message(pa.py_buffer(content[at:]))
        at += 8 + length + (message.body.size if message.body else 0)
    return places


def _changed(content: bytes, changes: list[Any]) -> bytes:
    changed = bytearray(content)
    metadata = _metadata(content)
    for what, in_metadata, place, value in changes:
        at = metadata[int(place * len(metadata))] if in_metadata else int(place * len(content))
        if what == "bit":
            changed[at] ^= 1 << value
        elif what == "byte":
            changed[at] = value
        else:
            at = min(at & ~7, len(changed) - 8)
            changed[at : at + 8] = (value % 2**64).to_bytes(8, "little")
    return bytes(changed)


@given(compression=st.sampled_from(["zstd-1", "none", "lz4"]), changes=CHANGES)
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_never_ends_the_process(
    tmp_path_factory: pytest.TempPathFactory,
    reader: Reader,
    samples: dict[str, bytes],
    compression: str,
    changes: list[Any],
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(_changed(samples[compression], changes))
    rows, problem, complete, peak = reader.read(path)
    assert rows in ROWS
    assert peak < 500  # MB: no length in the file decides how much is allocated
    if problem is None:
        assert complete is not None
        assert rows == ROWS[-1] or not complete
    else:
        assert "\n" not in problem
        assert problem.isprintable()
        assert str(path) in problem


def test_a_message_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, reader: Reader, samples: dict[str, bytes]
) -> None:
    content = samples["zstd-1"]
    body = content.index(b"\x28\xb5\x2f\xfd") - 8  # the first buffer: its unpacked length, then a zstd frame
    path = tmp_path / "bomb"
    path.write_bytes(content[:body] + struct.pack("<q", 1 << 40) + content[body + 8 :])
    rows, problem, _, peak = reader.read(path)
    assert (rows, peak < 500) == (0, True)
    assert problem is not None
    assert "claims to unpack to more than any batch" in problem
