"""Who may collect."""

from __future__ import annotations

from typing import Any

import pytest

from fyke.errors import Unsupported
from fyke.kernel.rights import rights_first


class Kernel:
    """A kernel, and its features."""

    def __init__(self, *, bpf: bool) -> None:
        self._bpf = bpf
        self.features = self

    def has(self, name: str) -> bool:
        assert name == "bpf"
        return self._bpf


@pytest.mark.parametrize(
    ("user", "bpf", "says"),
    [(0, False, "no kprobes"), (1000, True, "no kprobes"), (1000, False, "collecting needs root")],
)
def test_rights_that_are_missing_are_told_first(
    monkeypatch: pytest.MonkeyPatch, user: int, bpf: bool, says: str
) -> None:
    kernel: Any = Kernel(bpf=bpf)
    monkeypatch.setattr("os.geteuid", lambda: user)
    with pytest.raises(Unsupported, match=says), rights_first(kernel):
        raise Unsupported("no kprobes here")
