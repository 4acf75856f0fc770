"""Rules' texts cut out of nft's list, by what the kernel says of handles and comments."""

from __future__ import annotations

from fyke.kernel.nfnetlink import Chain, Rule, Table
from fyke.kernel.rule_texts import MAX_BYTES, rule_texts

TABLE = Table("inet", b"t", 7, False)
CHAIN = Chain("inet", b"t", b"c", 1, 0, (), b"of # handle 5 {")
LISTING = b"""\
# Warning: table ip filter is managed by iptables-nft, do not touch!
table ip other { # handle 6
\tchain c { # handle 1
\t\tdrop # handle 2
\t}
}
table inet t { # handle 7 progname fyke
\tflags owner

\tset s { # handle 9
\t\ttype ipv4_addr
\t}

\tchain c { # handle 1
\t\tcomment "of # handle 5 {"
\t\ttype filter hook input priority 0; policy accept;
\t\tip saddr { 10.0.0.1,
\t\t\t     10.0.0.2 } drop # handle 2
%s\t}
}
"""


def rule(handle: int, comment: bytes = b"") -> Rule:
    return Rule("inet", b"t", b"c", handle, comment)


def texts(more: bytes, *rules: Rule) -> dict[tuple[int, int], bytes]:
    return rule_texts(LISTING.replace(b"%s", more), [TABLE], [CHAIN], [rule(2), *rules])


def test_declarations_are_skipped_and_broken_lines_joined() -> None:
    assert texts(b"\t\taccept # handle 4\n", rule(4)) == {
        (7, 2): b"ip saddr { 10.0.0.1, 10.0.0.2 } drop",
        (7, 4): b"accept",
    }


def test_the_kernel_says_where_a_comment_ends() -> None:
    forged = b'x" # handle 4\n\t\tdrop # handle 5\n\t}'
    more = b'\t\taccept comment "' + forged + b'" # handle 4\n\t\tdrop comment "y" # handle 5\n'
    found = texts(more, rule(4, forged), rule(5, b"y"))
    assert found[7, 5] == b'drop comment "y"'
    assert found[7, 4].startswith(b'accept comment "x" # handle 4')


def test_what_does_not_fit_is_left_out() -> None:
    assert texts(b"\t\taccept # handle 4\n") == {}  # one more than the kernel has
    assert texts(b"", rule(4)) == {}  # one fewer
    assert texts(b'\t\tlog prefix "a # handle 4\n" accept # handle 4\n', rule(4)) == {}
    assert texts(b'\t\tlog prefix "a # handle 4\n" # handle 4\n\t\tdrop # handle 5\n', rule(4), rule(5)) == {}
    assert rule_texts(b"", [TABLE], [CHAIN], [rule(2)]) == {}
    assert rule_texts(LISTING, [], [CHAIN], [rule(2)]) == {}


def test_a_long_rule_is_cut() -> None:
    found = texts(b"\t\ttcp dport { " + b"1, " * 5000 + b"1 } accept # handle 4\n", rule(4))
    assert len(found[7, 4]) == MAX_BYTES + len(" ...")
