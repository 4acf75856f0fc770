import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.events.escape import name_from_bytes, name_to_bytes, printable


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"ping\0\0\0", "ping"),
        (b"ping\0garbage\xff", "ping"),
        (b"", ""),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf\\xe9"),
        (b"a\\b", "a\\\\b"),
        (b"\\xff", "\\\\xff"),
        (b"\xff", "\\xff"),
        (b"\x1b[31m\n", "\x1b[31m\n"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),  # an encoded surrogate is not UTF-8
        (b"cut\xe2\x82", "cut\\xe2\\x82"),  # a character cut by the kernel's 16 bytes
    ],
)
def test_kernel_names(raw: bytes, text: str) -> None:
    assert name_from_bytes(raw) == text
    assert name_to_bytes(text) == raw.partition(b"\0")[0]


@given(st.binary(max_size=32) | st.from_regex(rb"[\\x0-9a-f\xff]{0,16}", fullmatch=True))
def test_names_lose_nothing(raw: bytes) -> None:
    text = name_from_bytes(raw)
    text.encode()  # is text Arrow can hold
    assert name_to_bytes(text) == raw.partition(b"\0")[0]


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=2, unique=True))
def test_different_names_stay_different(pair: list[bytes]) -> None:
    cut = [raw.partition(b"\0")[0] for raw in pair]
    assert (name_from_bytes(pair[0]) == name_from_bytes(pair[1])) == (cut[0] == cut[1])


@given(st.text())
def test_any_text_gives_bytes(text: str) -> None:
    assert isinstance(name_to_bytes(text), bytes)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b\u2066c\u200bd\ufeff", "a\\u2028b\\u2066c\\u200bd\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_moves_a_terminal_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "kworker/0:1", "a b \"c\" 'd' \\x1b \\\\", "naïve ünïcode 網路 🎣"])
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters()))
def test_nothing_dangerous_is_left(text: str) -> None:
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not [c for c in printable(text) if unicodedata.category(c) in bad]
