"""Who may collect."""

from __future__ import annotations

import pytest

from fyke.kernel.rights import missing_rights


class Features:
    def __init__(self, *, bpf: bool) -> None:
        self._bpf = bpf

    def has(self, name: str) -> bool:
        assert name == "bpf"
        return self._bpf


@pytest.mark.parametrize(
    ("user", "bpf", "told"), [(0, False, False), (1000, True, False), (1000, False, True)]
)
def test_rights_are_missing(monkeypatch: pytest.MonkeyPatch, user: int, bpf: bool, told: bool) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    missing = missing_rights(Features(bpf=bpf))  # type: ignore[arg-type]
    assert (missing is not None) is told
    assert missing is None or (missing.message[:21], missing.hint) == (
        "collecting needs root",
        "run it with sudo",
    )
