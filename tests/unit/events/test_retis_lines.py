"""The lines of a Retis file, and where they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.events.retis.lines import PAD, _set, blocks


@given(st.lists(st.booleans(), max_size=300))
def test_flags_that_are_set(flags: list[bool]) -> None:
    there = np.array(flags, np.bool_)
    assert _set(there).tolist() == np.flatnonzero(there).tolist()


@pytest.mark.parametrize("size", [1, 7, 40, 1 << 20])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_are_where_the_file_has_them(monkeypatch: pytest.MonkeyPatch, size: int, end: bytes) -> None:
    monkeypatch.setattr("fyke.events.retis.lines.BLOCK_BYTES", size)
    lines = [b"x" * (n * 7 % 50) for n in range(60)] + [b"last"]
    content = b"\n".join(lines) + end
    found, numbers = [], []
    for block in blocks(io.BytesIO(content), 5):
        for number, (start, stop) in enumerate(zip(block.starts, block.ends, strict=True)):
            found.append(content[block.offset - len(PAD) + start : block.offset - len(PAD) + stop])
            numbers.append(block.first + number)
            assert block.line(number) == found[-1] + (b"\n" if numbers[-1] < 65 or end else b"")
    assert found == lines
    assert numbers == [*range(5, 5 + len(lines))]


@pytest.mark.parametrize("odd", [b"\x00", b"\x1f", b"\r", b"\\", b"\x7f", b"\x80", b"\xc3\xa9"])
def test_which_lines_are_plain(odd: bytes) -> None:
    content = b"".join(b"a%d" % n + (odd if n in (3, 64, 65) else b"") + b"\n" for n in range(100))
    (block,) = blocks(io.BytesIO(content), 1)
    assert np.flatnonzero(~block.plain).tolist() == [3, 64, 65]
