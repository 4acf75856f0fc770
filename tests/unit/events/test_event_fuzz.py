"""Damaged files of ours. (Plain pyarrow.ipc.open_stream ends the process, on such files.)"""

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_samples import FACTS, batch_of, closing_row, gap_row, packets
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_child import ReaderChild

from fyke.events.store import EventWriter

ROWS = (0, 20, 40, 42)  # after each whole batch


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
    reader: ReaderChild,
    samples: dict[str, bytes],
    compression: str,
    changes: list[Any],
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(_changed(samples[compression], changes))
    read = reader.read(path)
    assert len(read.times) in ROWS
    assert read.peak_mb < 500  # no length in the file decides how much is allocated
    if read.problem is None:
        assert read.complete is not None
        assert len(read.times) == ROWS[-1] or not read.complete
    else:
        read.check_problem(path)


def test_a_message_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, reader: ReaderChild, samples: dict[str, bytes]
) -> None:
    content = samples["zstd-1"]
    body = content.index(b"\x28\xb5\x2f\xfd") - 8  # the first buffer: its unpacked length, then a zstd frame
    path = tmp_path / "bomb"
    path.write_bytes(content[:body] + struct.pack("<q", 1 << 40) + content[body + 8 :])
    read = reader.read(path)
    assert (read.times, read.peak_mb < 500) == ([], True)
    read.check_problem(path)
    assert read.problem is not None
    assert "claims to unpack to more than any batch" in read.problem
