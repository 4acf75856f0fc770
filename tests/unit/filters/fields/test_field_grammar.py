from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.errors import UsageError
from fyke.filters.fields.grammar import KEYWORDS, MAX_STRING_BYTES, parse
from fyke.filters.fields.tree import (
    OPERATORS,
    SETS,
    Address,
    And,
    Mask,
    Name,
    Not,
    Number,
    Or,
    Path,
    Range,
    Step,
    Term,
    Text,
)

A, B, C = (Term(Path("s", (Step(name),))) for name in "abc")

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
free_names = names.filter(lambda name: name not in KEYWORDS)
numbers = st.integers(-(1 << 64), 1 << 64).map(Number)
strings = st.binary(max_size=MAX_STRING_BYTES).filter(lambda value: 0 not in value).map(Text)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    size = draw(st.sampled_from((4, 6, 16)))
    value = draw(st.binary(min_size=size, max_size=size))
    bits = 8 * size if size == 6 else draw(st.integers(0, 8 * size))
    kept = int.from_bytes(value, "big") >> 8 * size - bits << 8 * size - bits
    return Address(kept.to_bytes(size, "big"), bits)


ends = numbers | free_names.map(Name) | addresses().filter(lambda address: address.is_whole)
values = numbers | strings | free_names.map(Name) | addresses()
masks = st.builds(Mask, st.integers(1, (1 << 64) - 1), st.booleans())
steps = st.builds(Step, names, st.lists(st.integers(0, 999), max_size=2).map(tuple)) | st.builds(
    Step, names, st.just(()), masks, st.just("") | names
)
paths = st.builds(Path, free_names, st.lists(steps, max_size=4).map(tuple))
terms = (
    st.builds(Term, paths)
    | st.builds(Term, paths, st.sampled_from(OPERATORS), st.tuples(values))
    | st.builds(
        Term,
        paths,
        st.sampled_from(SETS),
        st.lists(values | st.builds(Range, ends, ends), min_size=1, max_size=4).map(tuple),
    )
)
trees = st.recursive(
    terms,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=8,
)
# Pieces of the language in any order: far more of it is nearly right than of random characters.
PIECES = (
    *(
        *KEYWORDS,
        "&&",
        "||",
        "!",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ".",
        ":",
        "~",
        "-",
        "=",
        "==",
        "!=",
        "<=",
    ),
    *(
        "sk_buff",
        "sk_buff.mark",
        "0x7",
        "0b1",
        "0o7",
        "7",
        "08",
        "10.0.0.1",
        "10.0.0.0/8",
        "fe80::1",
        "::",
        "/",
    ),
    *("00:11:22:33:44:55", '"', "'", '"a"', "\\", "\\x41", "\0", "\n", " ", "é", "\ud800", "9" * 90),
)


@settings(max_examples=100)
@given(trees)
def test_what_is_printed_parses_to_the_same_tree(tree: And | Or | Not | Term) -> None:
    assert parse(str(tree)) == tree


@settings(max_examples=100)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30))
def test_any_text_is_a_tree_or_a_usage_error(text: str) -> None:
    try:
        tree = parse(text)
    except UsageError as error:
        error.message.encode()  # can be printed
    else:
        assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("s.a or s.b and s.c", Or((A, And((B, C))))),
        ("s.a and s.b or s.c", Or((And((A, B)), C))),
        ("(s.a or s.b) and s.c", And((Or((A, B)), C))),
        ("not s.a and s.b", And((Not(A), B))),
        ("not (s.a and s.b)", Not(And((A, B)))),
        ("!s.a||!!s.b&&s.c", Or((Not(A), And((Not(Not(B)), C))))),
        ("s.a or s.b or s.c", Or((A, B, C))),
        (" ( s.a )\n", A),
        ("notx.y", Term(Path("notx", (Step("y"),)))),
        ("s.not.and", Term(Path("s", (Step("not"), Step("and"))))),
    ],
)
def test_not_binds_tighter_than_and_than_or(text: str, tree: And | Or | Not | Term) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", Number(0)),
        ("-12", Number(-12)),
        ("0xFf", Number(255)),
        ("0b101", Number(5)),
        ("0o17", Number(15)),
        ("ETH_P_IP", Name("ETH_P_IP")),
        ('"eth0"', Text(b"eth0")),
        ("'it\"s'", Text(b'it"s')),
        (r'"a\"\\\'\n\x00ff"'.replace(r"\x00", r"\x7f"), Text(b"a\"\\'\n\x7fff")),
        ('"é"', Text("é".encode())),
        ('"\udcff"', Text(b"\xff")),  # how Python gives the bytes of an argument that are no UTF-8
        ("10.0.0.1", Address(bytes([10, 0, 0, 1]), 32)),
        ("10.0.0.0/8", Address(bytes([10, 0, 0, 0]), 8)),
        ("::1", Address(bytes(15) + b"\1", 128)),
        ("fe80::/10", Address(b"\xfe\x80" + bytes(14), 10)),
        ("00:1B:2c:00:00:01", Address(b"\x00\x1b\x2c\x00\x00\x01", 48)),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse(f"s.a == {text}") == Term(A.path, "==", (value,))  # type: ignore[arg-type]


def test_retis_own_examples_parse() -> None:
    assert parse('sk_buff.dev.name == "eth0"')
    path = parse("sk_buff._nfct:~0x7:nf_conn.mark == 1").path  # type: ignore[union-attr]
    assert path.steps == (Step("_nfct", (), Mask(7, True), "nf_conn"), Step("mark"))
    assert parse("sk_buff.cb[3]:0xf").path.steps == (Step("cb", (3,), Mask(15)),)  # type: ignore[union-attr]


def test_sets_have_ranges() -> None:
    assert parse("s.a not in {1, 5-7,-3--1, A-B}") == Term(
        A.path,
        "not in",
        (
            Number(1),
            Range(Number(5), Number(7)),
            Range(Number(-3), Number(-1)),
            Range(Name("A"), Name("B")),
        ),
    )


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        ("s.a =3", 5, "no operator `=`"),
        ("s.a == ", 8, "expected a value"),
        ("s.a == 010", 8, "010 may be octal or decimal"),
        ("s.a == 10.0.0.1/8", 8, "bits set behind its prefix"),
        ("s.a == 5x", 8, "`5x` is no value"),
        ("s.a == -x", 8, "only a number can be negative"),
        ("s.a == 10.0.0.256", 8, "is no value"),
        ("s.a == and", 8, "expected a value"),
        ("s.a == 1 & s.b", 10, "expected `and`, `or` or the end"),
        ("s.a s.b", 5, "expected `and`, `or` or the end"),
        ("s.a and", 8, "expected a field"),
        ("(s.a", 5, "expected `)`"),
        ("s.", 3, "expected a member's name"),
        ("s.a[x]", 5, "expected an array index"),
        ("s.a[1", 6, "expected `]`"),
        ("s:1", 2, "comes after a member"),
        ("s.a:0", 5, "a mask of 0 keeps nothing"),
        ("s.a:nf_conn.mark", 5, "a cast needs a mask before it"),
        ("s.a:1:", 7, "expected a struct's name"),
        ("s.a in 5", 8, "expected `{`"),
        ("s.a in {}", 9, "expected a value"),
        ("s.a in {1", 10, "expected `,` or `}`"),
        ("s.a not 5", 9, "expected `in` after `not`"),
        ('s.a in {"a"-"b"}', 9, "a range can't have the end"),
        ('s.a == "abc', 8, 'no closing "'),
        (r's.a == "\q"', 9, "unknown escape"),
        (r's.a == "a\x00b"', 8, "can't have a NUL"),
        ('s.a == "' + 32 * "x" + '"', 8, "31 bytes, not 32"),
        ("s.a == " + 81 * "9", 8, "81 digits"),
        (65 * "(" + "s.a" + 65 * ")", 65, "more than 64 levels"),
        (3000 * "not " + "s.a", 257, "more than 64 levels"),
        ("and", 1, "expected a field"),
        ("s->a", 2, "expected `and`, `or` or the end"),
        (1001 * "s.a or " + "s.a", 7001, "more than 1000 terms"),
        ("s" + 33 * ".a", 68, "more than 32 members on one path"),
    ],
)
def test_mistakes_are_shown_where_they_are(text: str, place: int, sentence: str) -> None:
    with pytest.raises(UsageError) as failed:
        parse(text)
    first, shown, caret = failed.value.message.split("\n")
    assert f"character {place}: " in first
    assert sentence in first
    assert shown[caret.index("^") :][:1] == text[place - 1 : place]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_is_no_filter(text: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        parse(text)


def test_a_mistake_in_a_long_text_is_shown_with_what_is_around_it() -> None:
    with pytest.raises(UsageError) as failed:
        parse("s.a or " * 200 + "s.b = 1 or " + "s.a or " * 200 + "s.a")
    _, shown, caret = failed.value.message.split("\n")
    assert shown[caret.index("^")] == "="
    assert len(shown) < 90
    assert shown.count("...") == 2
