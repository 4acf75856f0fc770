"""Verdicts of nftables, by the numbers that the kernel has for them."""

from __future__ import annotations

from collections.abc import Iterable

from fyke.events.column import Names

# include/uapi/linux/netfilter.h, netfilter/nf_tables.h; Retis' words.
VERDICTS = {
    -1: "continue",
    -2: "break",
    -3: "jump",
    -4: "goto",
    -5: "return",
    0: "drop",
    1: "accept",
    2: "stolen",
    3: "queue",
    4: "repeat",
}
ALL = "all"
DEFAULT = ("drop", "accept")
_FIRST = min(VERDICTS)


def verdict(raw: int, _names: Names) -> str:
    """Return the word for a verdict."""
    return VERDICTS.get(raw, str(raw))


def mask(words: Iterable[str]) -> int:
    """Return the bits of verdicts as `nft_verdicts` in nft.bpf.h has them. KeyError for an unknown word."""
    bits = {word: 1 << (number - _FIRST) for number, word in VERDICTS.items()}
    bits[ALL] = sum(bits.values())
    result = 0
    for word in words:
        result |= bits[word]
    return result
