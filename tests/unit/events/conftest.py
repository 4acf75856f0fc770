import pytest


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let split files be smaller than users may ask for: tests needn't write as much."""
    monkeypatch.setattr("fyke.events.output.LEAST_LIMIT", 1)
