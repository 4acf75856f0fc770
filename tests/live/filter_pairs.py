"""Pairs of packet filter and made-up packet: what fyke says in the real kernel, and what libpcap says."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import cypcap

from fyke.capture.filters import FilterOptions
from live.image import Image
from live.image_run import ImageRun, Verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/filters"))

from pcap_expressions import expression  # type: ignore[import-not-found]
from pcap_packets import Packet, packet  # type: ignore[import-not-found]

__all__ = [
    "LACKS",
    "Libpcap",
    "Packet",
    "expression",
    "filtering",
    "judge",
    "mismatch",
    "packet",
    "readable",
    "verdict_of",
    "without_link_layer",
]

# What a kernel may lack, in turn: loads from the stack at an offset in a register (5.12), direct loads from
# the kernel's structures (6.2).
LACKS: tuple[tuple[str, ...], ...] = (
    (),
    ("variable_stack_reads",),
    ("variable_stack_reads", "bpf_rdonly_cast"),
    ("bpf_rdonly_cast",),
)
# libpcap before 1.11 doesn't clear a program's memory, though expressions with `geneve` read it unset.
CLEAR = [(0x00, 0, 0, 0), *((0x02, 0, 0, word) for word in range(16))]
SNAPLEN = 262_144


class Libpcap:
    """What libpcap says of one expression. raw is None where it means nothing without a link-layer header."""

    def __init__(self, text: str) -> None:
        self.ethernet = _compiled(text, cypcap.DatalinkType.EN10MB)
        # Without such a header libpcap takes the network header for one.
        reads_link = re.search(r"\b(ether|link)\s*\[", text)
        try:
            self.raw = None if reads_link else _compiled(text, cypcap.DatalinkType.RAW)
        except cypcap.Error:
            self.raw = None

    @classmethod
    def accepts(cls, text: str) -> bool:
        """Whether it is an expression, and not one that contradicts itself."""
        try:
            cls(text)
        except cypcap.Error:
            return False
        return True


def _compiled(text: str, link: Any) -> Any:
    with closing(cypcap.open_dead(link, SNAPLEN)) as dead:
        program = list(map(tuple, dead.compile(text, optimize=True)))
    return cypcap.BpfProgram([*CLEAR, *program])


def judge(program: Any, whole: bytes) -> bool:
    """Return libpcap's verdict of a packet that can be read whole."""
    return bool(program.offline_filter(cypcap.Pkthdr(0.0, len(whole), len(whole)), whole))


def mismatch(program: Any, one: Packet, verdict: Verdict) -> str:
    """Say how a verdict isn't libpcap's; "" when it is. program: None where it means nothing."""
    unreadable = verdict.counted.get("unreadable", 0)
    no_link_layer = verdict.counted.get("no_link_layer", 0)
    if program is None:
        right = (verdict.recorded, no_link_layer, unreadable) == (False, 1, 0)
        return "" if right else f"without link layer: {verdict.counted}"
    wire = len(one.whole)
    of_part = program.offline_filter(cypcap.Pkthdr(0.0, one.seen, wire), one.data)
    of_whole = judge(program, one.whole)
    if no_link_layer or unreadable > 1 or (unreadable and one.seen == wire):
        return f"counted {verdict.counted}"
    if verdict.recorded != of_part:
        return f"recorded {verdict.recorded}, libpcap {of_part}"
    if not unreadable and verdict.recorded != of_whole:
        return f"{verdict.recorded} to a part, libpcap {of_whole} to the whole"
    return ""


def verdict_of(run: ImageRun, image: Image, one: Packet, **options: Any) -> Verdict:
    """Lay a packet out and run the program on it. Without options it begins with the Ethernet header."""
    image.clear()
    usual = {"mac": 0, "network": max(one.network, 1)}
    return run(image.skb(one.whole, linear=one.seen, **usual | options))


def without_link_layer(run: ImageRun, image: Image, one: Packet, **options: Any) -> Verdict:
    return verdict_of(run, image, one, mac=None, network=0, **options)


def filtering(number: int = 0, **filters: Any) -> ImageRun:
    """Return a collection with filters on a kernel that lacks something, another thing for each number."""
    lacks = LACKS[number % len(LACKS)]
    return ImageRun(lacks, collectors=("skb",), skb_sections=("meta",), filters=FilterOptions(**filters))


def readable(one: Packet) -> bool:
    """Whether there is anything of the packet to be seen; else nothing is recorded."""
    return bool(one.seen)
