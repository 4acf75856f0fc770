from pathlib import Path

import pytest
from event_samples import FACTS, packets, room_for

from fyke.errors import UsageError
from fyke.events.rotation import next_path, parse_size, split_number
from fyke.events.store import EventWriter

pytestmark = pytest.mark.usefixtures("small_limits")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1B", 1),
        ("10MB", 10_000_000),
        ("2GB", 2_000_000_000),
        ("64K", 65536),
        ("64k", 65536),
        ("1M", 1 << 20),
        ("3G", 3 << 30),
        ("1KB", 1000),
        ("1kb", 1000),
        ("1KiB", 1024),
        ("1GiB", 1 << 30),
        (" 5MiB ", 5 << 20),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


NO_SIZES = [
    *("", "10", "MB", "10 MB", "0MB", "0K", "-1MB", "1.5GB", "x10MB", "10MBx", "10MB10MB", "1TB", "1e3K"),
    *("1BB", "٣MB", "9999999999999GB", "1iB", "1Mi"),
]


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.hint


def test_a_number_without_a_unit() -> None:
    with pytest.raises(UsageError, match="'10' has no unit") as caught:
        parse_size("10")
    assert caught.value.hint == "write 10B, 10K, 10MB ..."


def test_names_of_split_files() -> None:
    assert split_number("a/b.arrow.0") == 0
    assert split_number("b.12") == 12
    assert [split_number(p) for p in ("b", "b.", "b.x1", "b.01", "b.-1", "b1")] == [None] * 6
    assert next_path("a/b.arrow.9") == "a/b.arrow.10"
    assert next_path("a/b.arrow") is None


def _split_run(path: Path, batches: int) -> EventWriter:
    """Write a file for each batch."""
    limit = room_for(1, packets(0, 100))
    with EventWriter(str(path), FACTS, limit_bytes=limit) as writer:
        for number in range(batches):
            writer.write(packets(100 * number, 100))
    return writer


def test_stale_files_of_an_earlier_run_are_removed_and_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = _split_run(out, 6)
    assert len(first.paths) > 3
    second = _split_run(out, 1)
    assert second.paths == [f"{out}.0"]
    assert second.removed == first.paths[1:]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.0"]


def test_only_our_own_files_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _split_run(out, 6)
    (tmp_path / "out.1").write_text("my notes")
    (tmp_path / "out.20240101").write_text("more notes")
    (tmp_path / "out.2").rename(tmp_path / "out.3")  # its facts say 2
    removed = _split_run(out, 1).removed
    assert "my notes" in (tmp_path / "out.1").read_text()
    assert (tmp_path / "out.20240101").exists()
    assert f"{out}.3" not in removed
    assert (tmp_path / "out.3").exists()


def test_a_file_that_is_not_ours_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.1").write_text("my notes")
    with pytest.raises(UsageError, match=r"out\.1 is in the way"):
        _split_run(tmp_path / "out", 6)
    assert (tmp_path / "out.1").read_text() == "my notes"
