"""cBPF as text, exactly as `tcpdump -d` prints it."""

from __future__ import annotations

from fyke.filters.pcap import libpcap
from fyke.filters.pcap.classic import Program


def classic_text(program: Program) -> str:
    """Return a line for each instruction."""
    return libpcap.disassembled(program)
