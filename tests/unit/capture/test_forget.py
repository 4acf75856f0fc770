"""Packets whose end was not seen are forgotten after a minute, and no others."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from fyke.capture import libbpf
from fyke.capture.forget import MAX_AGE_NS, forget_stale

TRACKED = np.dtype({"names": ["last_seen_ns"], "formats": ["u8"], "offsets": [32], "itemsize": 56})
NOW = 10 * MAX_AGE_NS


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """The tracking map: address -> when it was last seen."""
    held: dict[int, int] = {}

    def elements(fd: int, key_bytes: int, value_bytes: int, entries: int) -> tuple[bytes, bytes, int]:
        assert (fd, key_bytes, value_bytes, entries) == (5, 8, TRACKED.itemsize, 100)
        values = np.zeros(len(held), TRACKED)
        values["last_seen_ns"] = list(held.values())
        return struct.pack(f"={len(held)}Q", *held), values.tobytes(), len(held)

    monkeypatch.setattr(libbpf, "elements", elements)
    monkeypatch.setattr(
        libbpf, "delete_element", lambda fd, key: held.pop(struct.unpack("=Q", key)[0], None) is not None
    )
    return held


def test_only_what_is_old_is_forgotten(tracking: dict[int, int]) -> None:
    kept = {1 << 63 | 1: NOW - MAX_AGE_NS, 3: NOW, 4: NOW + 5}
    tracking.update(kept | {0xFFFF888000000000: NOW - MAX_AGE_NS - 1, 6: 0})
    assert forget_stale(5, 100, TRACKED, NOW) == 2
    assert tracking == kept
    assert forget_stale(5, 100, TRACKED, NOW) == 0


def test_an_empty_map(tracking: dict[int, int]) -> None:
    assert forget_stale(5, 100, TRACKED, NOW) == 0


def test_in_the_first_minute_nothing_is_old(tracking: dict[int, int]) -> None:
    tracking[1] = 0
    assert forget_stale(5, 100, TRACKED, MAX_AGE_NS) == 0
    assert forget_stale(5, 100, TRACKED, MAX_AGE_NS + 1) == 1


def test_what_ended_meanwhile_is_not_counted(
    tracking: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking[1] = 0
    monkeypatch.setattr(libbpf, "delete_element", lambda fd, key: False)
    assert forget_stale(5, 100, TRACKED, NOW) == 0
