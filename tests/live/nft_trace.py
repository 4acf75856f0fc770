"""What `nft monitor trace` says of the packets of a namespace: a second source for verdicts."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from live.netns import Netns

_SECONDS = 60
# include/uapi/linux/netfilter/nfnetlink.h, netlink.h: a group in the mask of /proc/net/netlink; the protocol
_NFNLGRP_NFTRACE, _NETLINK_NETFILTER = 9, 12
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


class Monitor:
    """`nft monitor trace`, running."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line.decode())

    def listening(self) -> bool:
        """Say whether it hears of what happens from now on."""
        rows = Path(f"/proc/{self._process.pid}/net/netlink").read_text().splitlines()[1:]
        columns = [row.split() for row in rows]
        return any(
            int(c[1]) == _NETLINK_NETFILTER and int(c[3], 16) >> (_NFNLGRP_NFTRACE - 1) & 1 for c in columns
        )

    def settle(self, seconds: float = 0.5) -> None:
        """Wait until it has nothing more to say for so long."""
        before = -1
        while len(self._lines) != before:
            before = len(self._lines)
            time.sleep(seconds)

    def verdicts(self) -> list[Verdict]:
        """Return all verdicts so far, in order, once no more come."""
        self.settle()
        return [found for line in self._lines if (found := _verdict(line))]


@contextmanager
def nft_trace(ns: Netns) -> Iterator[Monitor]:
    """Watch the verdicts of a namespace, whose rules must be there already."""
    process = ns.popen("stdbuf", "-oL", "nft", "-a", "monitor", "trace")
    monitor = Monitor(process)
    try:
        end = time.monotonic() + _SECONDS
        while not monitor.listening():
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError("nft monitor trace doesn't begin")
            time.sleep(0.05)
        yield monitor
    finally:
        process.kill()
        process.communicate()


def _verdict(line: str) -> Verdict | None:
    match = _LINE.fullmatch(line)
    if match is None:
        assert " packet: " in line, line
        return None
    word, _, target = (match["rule"] or match["end"] or match["policy"]).strip().partition(" ")
    handle = match["handle"] and int(match["handle"])
    return Verdict(match["table"], match["chain"], handle or None, word, target, match["policy"] is not None)
