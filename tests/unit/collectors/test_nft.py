"""Verdicts of nftables: their words, their bits, their text."""

from __future__ import annotations

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


def test_what_leads_nowhere_has_no_chain() -> None:
    column = next(c for c in SECTION.columns if c.name == "verdict_chain_name")
    assert column.label is not None
    assert column.label(bytes(128), None) is None  # type: ignore[arg-type]
    assert column.label(b"sub".ljust(128, b"\0"), None) == "sub"  # type: ignore[arg-type]
