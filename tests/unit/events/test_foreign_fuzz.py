"""Damaged Parquet, JSON of Retis, and captures: one sentence, soon, and what is before the damage is read."""

from pathlib import Path

import pytest
from event_samples import FACTS, packets
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_child import ReaderChild

from fyke.export.convert import event_file

COUNT = 20
KINDS = ("parquet", "json", "pcapng")
MOST_MB = 500
MOST_SECONDS = 2.0  # of CPU; an example takes some milliseconds
INTERESTING = (b"\xff" * 4, b"\0" * 8, b"\xff\xff\xff\x7f", b"\x80", b'"', b"[" * 300, b"9" * 40, b"\n")
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=4) | st.sampled_from(INTERESTING),
        st.sampled_from(["replace", "insert", "delete", "end"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    batch = packets(0, COUNT)
    found = {}
    for kind in KINDS:
        path = tmp_path_factory.mktemp("fuzz") / f"whole.{kind}"
        with event_file(str(path), kind, FACTS, batch.schema) as file:
            file.write(batch)
        found[kind] = path.read_bytes()
    return found


def _changed(content: bytes, changes: list[tuple[float, bytes, str]], near_end: bool) -> bytes:
    changed = bytearray(content)
    for place, value, how in changes:
        at = int(place * len(changed))
        if near_end:  # where Parquet has what tells how to read the rest
            at = len(changed) - 1 - min(int(place * 3000), len(changed) - 1) if changed else 0
        length = {"replace": len(value), "insert": 0, "delete": len(value), "end": len(changed)}[how]
        changed[at : at + length] = b"" if how in ("delete", "end") else value
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
@given(changes=CHANGES, near_end=st.booleans())
@settings(max_examples=20, deadline=None)
def test_any_damage(
    tmp_path_factory: pytest.TempPathFactory,
    reader: ReaderChild,
    samples: dict[str, bytes],
    kind: str,
    changes: list[tuple[float, bytes, str]],
    near_end: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(_changed(samples[kind], changes, near_end))
    read = reader.read(path)
    assert len(read.times) <= 3 * COUNT
    assert read.peak_mb < MOST_MB
    assert read.cpu_seconds < MOST_SECONDS
    if read.problem is not None:
        read.check_problem(path)


@pytest.mark.parametrize("kind", ["json", "pcapng"])
def test_what_is_before_the_end_is_read(
    tmp_path: Path, reader: ReaderChild, samples: dict[str, bytes], kind: str
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(samples[kind])
    whole = reader.read(path).times
    assert len(whole) == COUNT
    seen = set()
    for length in range(len(samples[kind]) - 1, 0, -(len(samples[kind]) // (2 * COUNT))):
        path.write_bytes(samples[kind][:length])
        read = reader.read(path)
        assert read.times == whole[: len(read.times)]
        if read.problem is not None:
            read.check_problem(path)
        seen.add(len(read.times))
    assert seen >= set(range(COUNT))


def test_a_line_of_json_that_never_ends(
    tmp_path: Path, reader: ReaderChild, samples: dict[str, bytes]
) -> None:
    path = tmp_path / "long"
    first = samples["json"].partition(b"\n")[0]
    for rest in (b"[" * 300_000, b'{"common":' * 30_000, b'{"common":{"timestamp":' + b"9" * 300_000):
        path.write_bytes(first + b"\n" + rest)
        read = reader.read(path)
        assert (read.times, read.peak_mb < MOST_MB, read.cpu_seconds < MOST_SECONDS) == ([], True, True)
        read.check_problem(path)
        assert "line 2" in (read.problem or "")
