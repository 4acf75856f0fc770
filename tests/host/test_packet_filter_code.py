"""Random cBPF, lowered, in the real kernel: its verifier accepts the code, and the verdicts are libpcap's.

A small program puts `struct packet_view` on its stack, as the probe programs do, and calls the code.
Expressions in fyke's own programs: test_filter_pairs.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import cypcap
import pytest

from fyke.filters.asm import CALL, EXIT, PROBE_READ_KERNEL, Assembler, Insn, Reg, encode
from fyke.filters.pcap import MATCH, UNREADABLE
from fyke.filters.pcap.classic import ClassicInsn
from fyke.filters.pcap.lower import PacketView, lower
from fyke.kernel import syscall_bpf as bpf
from fyke.kernel.view import LiveKernel
from live.image import Image, ProgramRun

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/filters"))

from pcap_expressions import classic  # type: ignore[import-not-found]
from pcap_packets import packet  # type: ignore[import-not-found]
from pcap_pairs import CLEAR  # type: ignore[import-not-found]

pytestmark = pytest.mark.ends_only

VIEW = PacketView()
ON_STACK = -(VIEW.head + VIEW.head_bytes)
ROOM_BYTES = 2048

kernels = pytest.mark.parametrize(
    "variable_stack_reads",
    [pytest.param(False, id="any"), pytest.param(True, marks=pytest.mark.needs("variable_stack_reads"))],
)


@kernels
def test_programs(variable_stack_reads: bool) -> None:
    """A thousand pairs of program and packet."""
    random = Random(2)
    with Image(LiveKernel()) as image:
        for head_bytes in (24, 64, 160) * 34:
            program = tuple(ClassicInsn(*insn) for insn in classic(random))
            code, view = Assembler(), replace(VIEW, head_bytes=head_bytes)
            lower(program, view, code, variable_stack_reads=variable_stack_reads)
            libpcap = cypcap.BpfProgram([*CLEAR, *map(tuple, program)])
            with loaded(code.finish(), head_bytes) as run:
                for _ in range(10):
                    one = packet(random)
                    found = verdict(image, run, one)
                    header = cypcap.Pkthdr(0.0, one.seen, len(one.whole))
                    assert (found == MATCH) == libpcap.offline_filter(header, one.data), (program, one, found)
                    assert found != UNREADABLE or one.seen < len(one.whole), (program, one)


def verdict(image: Image, run: ProgramRun, one: Any) -> int:
    image.clear()
    at = image.allocate(ROOM_BYTES)
    image.write_bytes(at, one.data.ljust(ROOM_BYTES, b"\xa5"))
    return run(at, one.seen, len(one.whole))


@contextmanager
def loaded(function: list[Insn], head_bytes: int) -> Iterator[ProgramRun]:
    code = encode([*caller(head_bytes), Insn(EXIT), *function])
    fd = bpf.prog_load(bpf.PROG_TYPE_RAW_TRACEPOINT, code)
    try:
        yield ProgramRun(fd)
    finally:
        os.close(fd)


def caller(head_bytes: int) -> list[Insn]:
    """Return code that calls what follows its end.

    Its arguments: the packet's address, how many bytes can be read, the packet's length.
    """
    code = Assembler()
    code.load(Reg.R7, Reg.R1, 0, 8)
    code.load(Reg.R2, Reg.R1, 8, 8)
    code.load(Reg.R3, Reg.R1, 16, 8)
    code.store(Reg.R10, ON_STACK + VIEW.at, Reg.R7, 8)
    code.store(Reg.R10, ON_STACK + VIEW.len, Reg.R2, 4)
    code.store(Reg.R10, ON_STACK + VIEW.wire_len, Reg.R3, 4)
    code.mov(Reg.R1, Reg.R10)
    code.alu("add", Reg.R1, ON_STACK + VIEW.head)
    code.mov(Reg.R2, head_bytes)
    code.mov(Reg.R3, Reg.R7)
    code.call(PROBE_READ_KERNEL)
    code.mov(Reg.R1, Reg.R10)
    code.alu("add", Reg.R1, ON_STACK)
    code.exit()
    return [*code.finish()[:-1], Insn(CALL, src=1, imm=1)]
