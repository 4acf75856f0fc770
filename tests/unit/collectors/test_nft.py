"""Verdicts of nftables: their words, their bits, their text."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fyke.collectors.formatting import Style
from fyke.collectors.nft import SECTION
from fyke.collectors.nft.format import nft_text
from fyke.collectors.nft.verdicts import ALL, DEFAULT, mask

RULE = {
    "table_name": "filter",
    "chain_name": "forward",
    "verdict": "drop",
    "table_handle": 2,
    "chain_handle": 1,
    "rule_handle": 4,
    "policy": False,
}


def text(**values: Any) -> str | None:
    return nft_text(Style(), *(values.get(c.name) for c in SECTION.columns))


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "table filter (2) chain forward (1) handle 4 drop"),
        ({"rule_handle": None, "policy": True}, "table filter (2) chain forward (1) drop (policy)"),
        (
            {"verdict": "jump", "verdict_chain_name": "sub"},
            "table filter (2) chain forward (1) handle 4 jump chain sub",
        ),
    ],
)
def test_as_retis_has_it(more: dict[str, Any], shown: str) -> None:
    assert text(**RULE | more) == shown


def test_nothing_and_half_a_verdict() -> None:
    assert text() is None
    assert text(verdict="drop") == "table ? (?) chain ? (?) drop"


def test_names_from_a_file_are_harmless() -> None:
    found = text(**RULE | {"table_name": "\x1b[2J", "verdict_chain_name": "\n", "verdict": "\r"})
    assert found is not None
    assert found.isprintable()


def test_the_bits_of_verdicts() -> None:
    # nft.bpf.h: 1 << (verdict - NFT_RETURN), of include/uapi/linux/netfilter.h and netfilter/nf_tables.h
    assert mask(DEFAULT) == 1 << 5 | 1 << 6
    assert mask(["return", "goto", "jump", "break", "continue"]) == 0b11111
    assert mask([ALL]) == 0b11_1111_1111
    with pytest.raises(KeyError):
        mask(["stop"])


class Names:
    """A collection's names, as far as nft asks for them."""

    def name(self, number: int) -> str | None:
        return {7: "sub"}.get(number)

    def nft_rule(self, netns: int, table: int, rule: int) -> str | None:
        return {(4026531840, 2, 4): "tcp dport 22 drop"}.get((netns, table, rule))


def label(column: str, raw: Any) -> Any:
    found = next(c.label for c in SECTION.columns if c.name == column)
    assert found is not None
    return found(raw, Names())  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["table_name", "chain_name", "verdict_chain_name"])
def test_names_are_looked_up_by_their_number(column: str) -> None:
    assert [label(column, raw) for raw in (7, 0, 8)] == ["sub", None, None]


def test_a_rule_is_found_by_its_handles_in_its_namespace() -> None:
    def place(netns: int, table: int, rule: int) -> bytes:
        return struct.pack("=qqII", table, rule, netns, 0)  # struct nft_rule_place

    assert label("rule", place(4026531840, 2, 4)) == "tcp dport 22 drop"
    assert label("rule", place(4026531841, 2, 4)) is None
    assert label("rule", place(4026531840, 2, -1)) is None


def test_the_rule_itself_is_shown_when_asked_for() -> None:
    rule = RULE | {"rule": 'tcp dport 22 drop comment "\x1b"'}
    values = [rule.get(c.name) for c in SECTION.columns]
    shown = nft_text(Style(link_layer=True), *values)
    assert shown == 'table filter (2) chain forward (1) handle 4 drop rule: tcp dport 22 drop comment "\\x1b"'
    assert nft_text(Style(), *values) == "table filter (2) chain forward (1) handle 4 drop"
