from collections.abc import Iterator

import pytest
from reader_child import ReaderChild


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let split files be smaller than users may ask for: tests needn't write as much."""
    monkeypatch.setattr("fyke.events.output.LEAST_LIMIT", 1)


@pytest.fixture(scope="session")
def reader() -> Iterator[ReaderChild]:
    child = ReaderChild()
    yield child
    child.close()
