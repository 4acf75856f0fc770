"""The tests' own machine refuses what the verifier refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machine import Machine
from machine_checks import Refused

from fyke.filters.asm import PROBE_READ_KERNEL, Assembler, Insn, Reg
from fyke.filters.pcap.loads import PacketView

VIEW = PacketView(head_bytes=64)
Write = Callable[[Assembler], object]


def code_of(write: Write) -> list[Insn]:
    code = Assembler()
    write(code)
    code.mov(Reg.R0, 0)
    code.exit()
    return code.finish()


def head_at(code: Assembler, off: int, size: int) -> None:
    code.load(Reg.R3, Reg.R1, VIEW.head + off, size)


def variable(code: Assembler, size: int) -> None:
    code.load(Reg.R3, Reg.R1, VIEW.wire_len, 4)
    code.alu("add", Reg.R3, Reg.R1)
    code.load(Reg.R0, Reg.R3, VIEW.head, size)


def jump_back(code: Assembler) -> None:
    label = code.label()
    code.place(label)
    code.branch("eq", Reg.R2, 0, label)


def set_on_one_way(code: Assembler) -> None:
    label = code.label()
    code.branch("eq", Reg.R2, 0, label)
    code.mov(Reg.R7, 1)
    code.place(label)
    code.mov(Reg.R0, Reg.R7)


def call(code: Assembler, target: int, size: int) -> None:
    code.mov(Reg.R3, 0)
    code.alu("add", Reg.R1, target)
    code.mov(Reg.R2, size)
    code.call(PROBE_READ_KERNEL)


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda code: code.mov(Reg.R0, Reg.R4), "r4 isn't set"),
        (set_on_one_way, "r7 isn't set on all ways"),
        (lambda code: code.load(Reg.R3, Reg.R10, -8, 8), "the frame"),
        (lambda code: code.load(Reg.R3, Reg.R2, 0, 8), "isn't to the view"),
        (lambda code: head_at(code, 1, 2), "aligned"),
        (lambda code: head_at(code, 2, 4), "aligned"),
        (lambda code: head_at(code, 160, 8), "in the view"),
        (lambda code: code.store(Reg.R1, -8, 0, 8), "in the view"),
        (lambda code: variable(code, 2), "variable offset"),
        (lambda code: code.alu("lsh", Reg.R2, 32, wide=False), "shifts too far"),
        (lambda code: code.alu("div", Reg.R2, 0), "divides by zero"),
        (lambda code: code.alu("mul", Reg.R1, 2), "an address"),
        (lambda code: code.alu("add", Reg.R1, Reg.R1), "adds addresses"),
        (lambda code: code.mov(Reg.R0, Reg.R1, wide=False), "half of an address"),
        (lambda code: code.branch("eq", Reg.R1, 0, code.label()), "an address"),
        (jump_back, "jumps back"),
        (lambda code: call(code, VIEW.head, 4), "only to `loaded`"),
        (lambda code: call(code, VIEW.loaded, 16), "only to `loaded`"),
        (lambda code: (call(code, VIEW.loaded, 4), code.mov(Reg.R0, Reg.R1)), "r1 isn't set"),
        (lambda code: code.call(1), "r3 isn't set"),
    ],
)
def test_refused(write: Write, why: str) -> None:
    def placed(code: Assembler) -> None:
        write(code)
        for label in code._labels:
            if label.at is None:
                code.place(label)

    with pytest.raises(Refused, match=why):
        Machine(code_of(placed), VIEW, variable_stack_reads=True)


def test_unreachable_code_is_refused() -> None:
    exit_early = [Insn(0xB7), Insn(0x95), *code_of(lambda code: None)]
    with pytest.raises(Refused, match="unreachable"):
        Machine(exit_early, VIEW, variable_stack_reads=True)


def test_variable_loads_need_a_new_kernel() -> None:
    code = code_of(lambda code: variable(code, 1))
    Machine(code, VIEW, variable_stack_reads=True)
    with pytest.raises(Refused, match="variable offset"):
        Machine(code, VIEW, variable_stack_reads=False)


@pytest.mark.parametrize(
    "write", [lambda code: head_at(code, 64, 1), lambda code: code.load(Reg.R3, Reg.R1, VIEW.memory, 4)]
)
def test_bytes_that_nobody_set_are_refused(write: Write) -> None:
    with pytest.raises(Refused, match="of the view"):
        Machine(code_of(write), VIEW, variable_stack_reads=True).run(bytes(100), 100)


def test_reads_past_the_packet_are_refused() -> None:
    def past(code: Assembler) -> None:
        code.load(Reg.R3, Reg.R1, VIEW.at, 8)
        code.alu("add", Reg.R3, 97)
        code.alu("add", Reg.R1, VIEW.loaded)
        code.mov(Reg.R2, 4)
        code.call(PROBE_READ_KERNEL)

    with pytest.raises(Refused, match="reads 4 bytes at 97"):
        Machine(code_of(past), VIEW, variable_stack_reads=True).run(bytes(100), 100)
