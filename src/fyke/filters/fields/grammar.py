"""The language of field filters: text to tree.

    expr    := all ( ("or" | "||") all )*
    all     := one ( ("and" | "&&") one )*
    one     := ("not" | "!") one | "(" expr ")" | term
    term    := path ( operator value | ["not"] "in" "{" item ("," item)* "}" )?
    path    := name ( "." name ("[" number "]")* ( ":" "~"? number ( ":" name )? )? )*
    item    := value ( "-" value )?
    value   := number | "string" | 'string' | NAME | 10.0.0.0/8 | fe80::1/10 | 00:11:22:33:44:55

Numbers are decimal, 0x, 0b or 0o. Blanks may be anywhere but inside a path or a value.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from fyke.errors import UsageError
from fyke.filters.fields.scanner import NAME, Scanner, printable
from fyke.filters.fields.tree import (
    ESCAPES,
    OPERATORS,
    Address,
    And,
    Expr,
    Literal,
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

KEYWORDS = ("and", "or", "not", "in")
MAX_STRING_BYTES = 31
_MAX_NESTING = 64
_MAX_TERMS, _MAX_STEPS = 1000, 32  # more than fit into a program, or than anybody means
_MAX_DIGITS = 80  # more than a 64-bit number has in any base; no user's text makes Python count for long

_WORD = re.compile(r"[0-9A-Za-z_.:/]+")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|[0-9]+")
_DIGITS = re.compile(r"[0-9A-Za-z_]+")
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
_OPERATOR = re.compile(r"[=!<>]+")
_UNESCAPE = {letter: byte for byte, letter in ESCAPES.items()} | {"'": 0x27}


def parse(text: str) -> Expr:
    """Read an expression. UsageError, with the place, for what isn't one."""
    return _Parser(text).whole()


class _Parser(Scanner):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.terms = 0

    def whole(self) -> Expr:
        self.blanks()
        if self.at == len(self.text):
            raise UsageError("the field filter is empty", "for example -m 'sk_buff.mark == 1'")
        expr = self.any_of()
        if self.at < len(self.text):
            hint = "pointers are followed by `.` too" if self.next_is("->") else ""
            self.fail("expected `and`, `or` or the end", hint=hint)
        return expr

    def any_of(self) -> Expr:
        parts = self.chain(self.all_of, "or", "||")
        return parts[0] if len(parts) == 1 else Or(parts)

    def all_of(self) -> Expr:
        parts = self.chain(self.one, "and", "&&")
        return parts[0] if len(parts) == 1 else And(parts)

    def chain(self, part: Callable[[], Expr], word: str, sign: str) -> tuple[Expr, ...]:
        parts = [part()]
        while self.keyword(word) or self.sign(sign):
            parts.append(part())
        return tuple(parts)

    def one(self) -> Expr:
        start = self.at
        self.depth += 1
        if self.depth > _MAX_NESTING:
            self.fail(f"more than {_MAX_NESTING} levels of brackets and `not`")
        expr: Expr
        if self.keyword("not") or self.sign("!"):
            expr = Not(self.one())
        elif self.sign("("):
            expr = self.any_of()
            if not self.sign(")"):
                self.fail(f"expected `)` for the `(` at character {start + 1}, `and` or `or`")
        else:
            expr = self.term()
        self.depth -= 1
        return expr

    def term(self) -> Term:
        self.terms += 1
        if self.terms > _MAX_TERMS:
            self.fail(f"more than {_MAX_TERMS} terms", hint="a set is one term: sk_buff.mark in {1, 5, 7-9}")
        path = self.path()
        start = self.at
        negated = self.keyword("not")
        if self.keyword("in"):
            return Term(path, "not in" if negated else "in", self.items())
        if negated:
            self.fail("expected `in` after `not`")
        match = _OPERATOR.match(self.text, self.at)
        if match is None:
            return Term(path)
        if match[0] not in OPERATORS:
            hint = "write == for equality" if match[0] == "=" else f"operators: {' '.join(OPERATORS)} in"
            self.fail(f"there is no operator `{match[0]}`", start, hint)
        self.skip(match.end())
        return Term(path, match[0], (self.value(),))

    # Paths

    def path(self) -> Path:
        name = NAME.match(self.text, self.at)
        if name is None:
            hint = "a field begins with a struct's name, like sk_buff.mark"
            self.fail("expected a field", hint=hint)
        if name[0] in KEYWORDS:
            self.fail(f"expected a field, not `{name[0]}`")
        self.at = name.end()
        steps = []
        while self.next_is("."):
            self.at += 1
            steps.append(self.step())
            if len(steps) > _MAX_STEPS:
                self.fail(f"more than {_MAX_STEPS} members on one path")
        if self.next_is("[") or self.next_is(":"):
            self.fail(f"`{self.text[self.at]}` comes after a member, not after {name[0]}")
        self.blanks()
        return Path(name[0], tuple(steps))

    def step(self) -> Step:
        name = self.name("a member's name after the `.`")
        indexes = []
        while self.next_is("["):
            self.at += 1
            indexes.append(self.number("an array index"))
            if not self.next_is("]"):
                self.fail("expected `]`")
            self.at += 1
        mask, cast = None, ""
        if self.next_is(":"):
            self.at += 1
            inverted = self.next_is("~")
            self.at += inverted
            start = self.at
            if not inverted and NAME.match(self.text, start):
                self.fail("a cast needs a mask before it", hint="keep all bits with :~0x0:TYPE")
            mask = Mask(self.number("a mask"), inverted)
            if not mask.value and not inverted:
                self.fail("a mask of 0 keeps nothing", start)
            if self.next_is(":"):
                self.at += 1
                cast = self.name("a struct's name to cast to")
        return Step(name, tuple(indexes), mask, cast)

    def name(self, what: str) -> str:
        match = NAME.match(self.text, self.at)
        if match is None:
            self.fail(f"expected {what}")
        self.at = match.end()
        return match[0]

    def number(self, what: str) -> int:
        match = _DIGITS.match(self.text, self.at)
        value = None if match is None else self.digits(match[0], self.at)
        if match is None or value is None:
            self.fail(f"expected {what}: a number")
        self.at = match.end()
        return value

    # Values

    def items(self) -> tuple[Literal | Range, ...]:
        if not self.sign("{"):
            self.fail("expected `{` and values after `in`", hint="for example: in {80, 443, 8000-8099}")
        items = [self.item()]
        while self.sign(","):
            items.append(self.item())
        if not self.sign("}"):
            self.fail("expected `,` or `}`")
        return tuple(items)

    def item(self) -> Literal | Range:
        start = self.at
        low = self.value()
        if not self.sign("-"):
            return low
        high = self.value()
        for end in (low, high):
            if isinstance(end, Text) or (isinstance(end, Address) and not end.is_whole):
                self.fail(f"a range can't have the end {end}", start)
        return Range(low, high)

    def value(self) -> Literal:
        start = self.at
        if self.next_is('"') or self.next_is("'"):
            return self.string()
        negative = self.next_is("-")
        match = _WORD.match(self.text, start + negative)
        if match is None or match[0] in KEYWORDS:
            what = "numbers, names, addresses and strings are values"
            self.fail("expected a value", hint=what)
        literal = self.literal(match[0], start)
        if negative:
            if not isinstance(literal, Number):
                self.fail("only a number can be negative", start)
            literal = Number(-literal.value)
        self.skip(match.end())
        return literal

    def literal(self, word: str, start: int) -> Literal:
        if NAME.fullmatch(word):
            return Name(word)
        value = self.digits(word, start)
        if value is not None:
            return Number(value)
        if _MAC.fullmatch(word):
            return Address(bytes.fromhex(word.replace(":", "")), 48)
        try:
            network = ipaddress.ip_network(word, strict=False)
            address = ipaddress.ip_address(word.partition("/")[0])
        except ValueError:
            self.fail(f"`{printable(word)}` is no value: no number, name or address", start)
        if network.network_address != address:
            right = str(network)
            self.fail(f"{word} has bits set behind its prefix", start, f"for the network write {right}")
        return Address(address.packed, network.prefixlen)

    def digits(self, word: str, start: int) -> int | None:
        """Return the value of a number, None when the word is none."""
        if not _NUMBER.fullmatch(word):
            return None
        if len(word) > _MAX_DIGITS:
            self.fail(f"a number of {len(word)} digits is larger than any field", start)
        if word[0] == "0" and word.isdigit() and len(word) > 1:
            hint = f"write {int(word)}, or 0o{word[1:]} for octal"
            self.fail(f"{word} may be octal or decimal", start, hint)
        return int(word, 0)

    def string(self) -> Text:
        start, quote = self.at, self.text[self.at]
        value, at = bytearray(), start + 1
        while at < len(self.text) and self.text[at] != quote:
            if self.text[at] == "\\":
                byte, at = self.escape(at + 1)
                value.append(byte)
                continue
            try:
                value += self.text[at].encode(errors="surrogateescape")  # an argument's bytes as they were
            except UnicodeEncodeError:
                self.fail("the string has a character that is none", at)
            at += 1
        if at >= len(self.text):
            self.fail(f"the string has no closing {quote}", start)
        if 0 in value:
            self.fail("a string can't have a NUL: it ends there", start)
        if len(value) > MAX_STRING_BYTES:
            self.fail(f"a string can have {MAX_STRING_BYTES} bytes, not {len(value)}", start)
        self.skip(at + 1)
        return Text(bytes(value))

    def escape(self, at: int) -> tuple[int, int]:
        """Return the byte of an escape whose letter is at a place, and the place behind."""
        letter = self.text[at : at + 1]
        if letter in _UNESCAPE:
            return _UNESCAPE[letter], at + 1
        code = re.compile(r"x([0-9a-fA-F]{2})").match(self.text, at)
        if code is None:
            self.fail("unknown escape in a string", at - 1, r"escapes: \\ \" \' \a \b \n \r \t \xHH")
        return int(code[1], 16), code.end()
