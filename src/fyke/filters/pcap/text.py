"""cBPF as text, exactly as `tcpdump -d` prints it."""

from __future__ import annotations

from fyke.filters.pcap.classic import Program


def classic_text(program: Program) -> str:
    """Return a line for each instruction."""
    import cypcap  # slow to import, and needed only with a filter

    text: str = cypcap.BpfProgram([tuple(insn) for insn in program]).dumps(cypcap.BpfDumpType.DISASSEMBLY)
    return text.rstrip("\n")
