from collections.abc import Iterator
from pathlib import Path

import pytest
from reader_child import ReaderChild


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let split files be smaller than users may ask for: tests needn't write as much."""
    monkeypatch.setattr("fyke.events.output.LEAST_LIMIT", 1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read Retis' files in blocks of a few events, so that little files have several."""
    monkeypatch.setattr("fyke.events.retis.lines.BLOCK_BYTES", 3_000)


@pytest.fixture(scope="module")
def retis_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for a file that many tests and examples write anew."""
    return tmp_path_factory.mktemp("retis") / "events.json"


@pytest.fixture(scope="session")
def reader() -> Iterator[ReaderChild]:
    child = ReaderChild()
    yield child
    child.close()
