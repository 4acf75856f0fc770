"""The YAML of profiles: text as written, lines, and bounds that hostile files don't get over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.errors import UsageError
from fyke.profiles.document import MAX_BYTES, MAX_DEPTH, Node, documents

PATH = "p.yaml"


def plain(node: Node) -> object:
    if node.fields is not None:
        return {key: plain(value) for key, value in node.fields.items()}
    return node.text if node.items is None else [plain(item) for item in node.items]


def one(text: str) -> object:
    (node,) = documents(text.encode(), PATH)
    return plain(node)


def test_scalars_are_as_written() -> None:
    assert one("{a: 1.0, b: on, c: 0x10, d: 'x', e: '~', f: '', g: 2026-01-01, h: 1:30, i: =}") == {
        "a": "1.0",
        "b": "on",
        "c": "0x10",
        "d": "x",
        "e": "~",
        "f": "",
        "g": "2026-01-01",
        "h": "1:30",
        "i": "=",
    }
    assert one("[~, null, Null, '', ]") == [None, None, None, ""]
    assert one("{a: , b: }") == {"a": None, "b": None}


def test_documents_and_lines() -> None:
    text = "---\n# nothing\n---\na: 1\nb:\n  - x\n  - y: 1\n---\nc: 2\n---\n"
    first, second = documents(text.encode(), PATH)
    assert first.fields is not None
    assert str(first.fields["a"].place) == "p.yaml:4"
    assert str(first.fields["b"].place) == "p.yaml:5"  # of the key
    items = first.fields["b"].items
    assert items is not None
    assert [item.place.line for item in items] == [6, 7]
    assert plain(second) == {"c": "2"}


def test_aliases_stand_for_what_they_name() -> None:
    assert one("a: &x [1, 2]\nb: *x\n") == {"a": ["1", "2"], "b": ["1", "2"]}
    assert one("a: &x {k: v}\nb:\n  <<: *x\n") == {"a": {"k": "v"}, "b": {"<<": {"k": "v"}}}  # as in Retis


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(8)
)

WRONG = {
    "a: [1, 2": "p.yaml:1: ",
    "a: 1\nb: 2\nb: 3\n": "p.yaml:3: the key 'b' is given twice, first in line 2",
    "a: 1\n\t- x": "p.yaml:2: ",
    "a:\n  b: !!python/object/apply:os.system ['true']\n": "p.yaml:2: the YAML tag",
    "a: !foo x": "p.yaml:1: the YAML tag '!foo' has no place in a profile",
    "a: !!binary aGFsbG8=": "p.yaml:1: the YAML tag",
    "? [a, b]\n: 1\n": "p.yaml:1: a key must be a name",
    "a: *nothing": "p.yaml:1: found undefined alias",
    "a: x\nb: \x07": "p.yaml:2: the character '\\x07' is not allowed",
    "[" * 50_000: "p.yaml:1: nested more than",
    "a:\n" + "".join(" " * n + "- \n" for n in range(1, MAX_DEPTH + 2)): "nested more than",
    "&a [*a]": "p.yaml:1: too much is here",
    "&a {a: *a}": "p.yaml:1: too much is here",
    BOMB: "too much is here, with all aliases followed",
    "%YAML 9.9\n---\na: 1\n": "p.yaml:1: ",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        documents(text.encode(), PATH)
    assert WRONG[text] in caught.value.message
    assert caught.value.message.isprintable()


def test_bytes_that_are_refused() -> None:
    with pytest.raises(UsageError, match=r"p\.yaml:3: this is no UTF-8 text"):
        documents(b"a: 1\nb: 2\nc: \xff\n", PATH)
    with pytest.raises(UsageError, match="larger than 64 KiB"):
        documents(b"#" * (MAX_BYTES + 1), PATH)
    assert documents(b"\xef\xbb\xbfa: 1\n", PATH)  # a byte order mark
    assert documents(b"", PATH) == []


@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet="ab:-[]{},&*!|>'\"#~\n \t%?0", max_size=120).map(str.encode)
    )
)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        found = documents(raw, PATH)
    except UsageError as error:
        assert error.message.startswith("p.yaml")  # noqa: PT017
        assert error.message.isprintable()  # noqa: PT017
    else:
        assert all(plain(node) is not None for node in found)
