"""Live text: all of it to a reader that reads, an end all the same where it doesn't."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from fyke.cli import live_text
from fyke.cli.live_text import LiveText
from fyke.errors import RunError


@contextmanager
def pipe() -> Iterator[int]:
    """Make standard output a pipe (in the test itself: pytest changes it between a fixture and its test)."""
    saved = os.dup(1)
    read, write = os.pipe()
    os.dup2(write, 1)
    os.close(write)
    try:
        yield read
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(read)


@pytest.fixture
def signals() -> Iterator[Any]:
    read, write = os.pipe()
    yield SimpleNamespace(fd=read, count=0, write=write)
    os.close(read)
    os.close(write)


def test_all_is_written_in_order(signals: Any) -> None:
    with pipe() as reader:
        LiveText(signals).write([b"a" * 10_000, memoryview(b"b" * 5)])
        assert os.read(reader, 65536) == b"a" * 10_000 + b"b" * 5


def test_after_a_signal_a_reader_that_waits_is_left(signals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_text, "PATIENCE_SECONDS", 0.01)
    signals.count = 1
    with pipe() as reader:
        text = LiveText(signals)
        text.write([b"x" * (1 << 20)])  # a pipe holds 64 KiB
        text.write([b"more"])
        held = os.read(reader, 1 << 20)
    assert held == b"x" * len(held)
    assert 4096 <= len(held) < 1 << 20


def test_a_signal_ends_a_wait(signals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_text, "PATIENCE_SECONDS", 0.01)
    real = live_text.select.select

    def select(*arguments: Any) -> Any:
        if arguments[0]:  # the wait without an end
            ready = real(arguments[0], arguments[1], [], 0.05)
            if not any(ready):
                signals.count = 1
            return ready
        return real(*arguments)

    monkeypatch.setattr(live_text.select, "select", select)
    with pipe():
        LiveText(signals).write([b"y" * (1 << 20)])
    assert signals.count == 1


def test_no_standard_output(signals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(RunError, match="it is closed"):
        LiveText(signals)


def test_a_full_disk(signals: Any) -> None:
    with pipe():
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, 1)
        os.close(full)
        with pytest.raises(RunError, match="can't write to standard output: No space left on device"):
            LiveText(signals).write([b"text"])
