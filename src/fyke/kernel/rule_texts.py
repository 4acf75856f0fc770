"""The text of each rule, cut out of what `nft -a list ruleset` prints.

What is printed isn't quoted: a comment or a log prefix may hold newlines and `# handle 9`. So the handles,
their order and the comments come from the kernel, and the text is cut where these say; a chain whose text
doesn't go together with them is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fyke.kernel.nfnetlink import Chain, Rule, Table

MAX_BYTES = 4096  # of a rule; one with a large anonymous set can have megabytes

_HEADER = re.compile(
    rb"^(?:table [^\n]* \{ # handle (?P<table>\d+)(?: progname [^\n]*)?|"
    rb"\tchain [^\n]* \{ # handle (?P<chain>\d+))$",
    re.MULTILINE,
)
_WRAPPED = re.compile(rb"\n\t+ *")
_CUT = b" ..."

Handles = tuple[int, int]  # of a table, and of a rule or chain in it


def rule_texts(
    listing: bytes, tables: Iterable[Table], chains: Iterable[Chain], rules: Iterable[Rule]
) -> dict[Handles, bytes]:
    """Return (handle of the table, handle of the rule) -> text, with its comment, without its handle."""
    of_table = {(t.family, t.name): t.handle for t in tables}
    of_chain: dict[tuple[str, bytes, bytes], list[Rule]] = {}
    for rule in rules:
        of_chain.setdefault((rule.family, rule.table, rule.chain), []).append(rule)
    starts = _starts(listing)
    found: dict[Handles, bytes] = {}
    for chain in chains:
        table = of_table.get((chain.family, chain.table))
        wanted = of_chain.get((chain.family, chain.table, chain.name))
        start = starts.get((table or 0, chain.handle))
        if table is None or wanted is None or start is None:
            continue
        texts = _cut(listing, _skip_declaration(listing, start, chain), wanted)
        found |= {(table, rule.handle): text for rule, text in zip(wanted, texts, strict=False)}
    return found


def _starts(listing: bytes) -> dict[Handles, int]:
    """Return where the lines after each chain's header begin."""
    found: dict[Handles, int] = {}
    table = 0
    for match in _HEADER.finditer(listing):
        if match["table"]:
            table = int(match["table"])
        else:
            found.setdefault((table, int(match["chain"])), match.end() + 1)
    return found


def _skip_declaration(listing: bytes, at: int, chain: Chain) -> int:
    comment = b'\t\tcomment "' + chain.comment + b'"\n'
    if chain.comment and listing.startswith(comment, at):
        at += len(comment)
    if chain.hook is not None and listing.startswith(b"\t\ttype ", at):
        at = listing.find(b"\n", at) + 1
    return at


def _cut(listing: bytes, at: int, rules: list[Rule]) -> list[bytes]:
    """Return the texts of the rules of one chain, whose first begins at `at`; nothing when they don't fit."""
    texts = []
    for rule in rules:
        comment = b' comment "' + rule.comment + b'"' if rule.comment else b""
        handle = b" # handle %d\n" % rule.handle
        end = listing.find(comment + handle, at)
        if end < 0 or not listing.startswith(b"\t\t", at):
            return []
        texts.append(_text(listing[at : end + len(comment)]))
        at = end + len(comment) + len(handle)
    return texts if listing.startswith(b"\t}\n", at) else []


def _text(raw: bytes) -> bytes:
    text = _WRAPPED.sub(b" ", raw[2 : MAX_BYTES + 2])
    return text + _CUT if len(raw) > MAX_BYTES + 2 else text
