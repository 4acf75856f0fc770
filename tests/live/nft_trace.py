"""What `nft monitor trace` says of the packets of a namespace: a second source for verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from live.monitor import Monitor, monitor
from live.netns import Netns

_NFNLGRP_NFTRACE = 9  # include/uapi/linux/netfilter/nfnetlink.h
# `trace id 1f ip t c rule ip ttl 1 jump s # handle 4 (verdict jump s)`, `.. verdict return`, `.. policy drop`
_LINE = re.compile(
    r"trace id \w+ (?P<family>\w+) (?P<table>\S+) (?P<chain>\S+) "
    r"(?:rule .* # handle (?P<handle>\d+) \(verdict (?P<rule>[^)]*)\)|verdict (?P<end>\w+)|"
    r"policy (?P<policy>\w+))"
    r"( meta mark \w+)?\s*"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict. handle: of the rule, None without one. target: the chain it leads to, "" for none."""

    table: str
    chain: str
    handle: int | None
    verdict: str
    target: str
    policy: bool


class Verdicts:
    """`nft monitor trace`, running."""

    def __init__(self, running: Monitor) -> None:
        self._running = running

    def settle(self, seconds: float = 0.5) -> None:
        """Wait until it has nothing more to say for so long."""
        self._running.settle(seconds)

    def verdicts(self) -> list[Verdict]:
        """Return all verdicts so far, in order, once no more come."""
        return [found for line in self._running.lines() if (found := _verdict(line))]


@contextmanager
def nft_trace(ns: Netns) -> Iterator[Verdicts]:
    """Watch the verdicts of a namespace, whose rules must be there already."""
    with monitor(ns, "nft", "-a", "monitor", "trace", group=_NFNLGRP_NFTRACE) as running:
        yield Verdicts(running)


def _verdict(line: str) -> Verdict | None:
    match = _LINE.fullmatch(line)
    if match is None:
        assert " packet: " in line, line
        return None
    word, _, target = (match["rule"] or match["end"] or match["policy"]).strip().partition(" ")
    handle = match["handle"] and int(match["handle"])
    return Verdict(match["table"], match["chain"], handle or None, word, target, match["policy"] is not None)
