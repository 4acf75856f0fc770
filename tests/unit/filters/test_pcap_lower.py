"""The lowered code: where it reads, what it does at the edges, and how large it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from machine import Machine

from fyke.errors import UsageError
from fyke.filters.asm import CALL, Assembler
from fyke.filters.pcap import MATCH, NO_LINK_LAYER, REJECT, UNREADABLE
from fyke.filters.pcap.classic import ClassicInsn, Program
from fyke.filters.pcap.compile import PacketFilter, compile_packet_filter
from fyke.filters.pcap.evaluate import verdicts
from fyke.filters.pcap.loads import MAX_HEAD, MIN_HEAD, PacketView
from fyke.filters.pcap.lower import MAX_INSNS, lower, lower_filter

LD_H_ABS, LD_W_ABS, LD_B_ABS, LD_B_IND, LD_H_IND, LD_W_IND = 0x28, 0x20, 0x30, 0x50, 0x48, 0x40
LDX_IMM, LD_IMM, LD_MEM, LDX_MEM, LD_LEN, LDX_MSH, TAX = 0x01, 0x00, 0x60, 0x61, 0x80, 0xB1, 0x07
RET_A, RET_K = 0x16, 0x06

both_kernels = pytest.mark.parametrize("variable_stack_reads", [False, True])


def program(*insns: tuple[int, int]) -> Program:
    """Return instructions without jumps, of code and constant."""
    return tuple(ClassicInsn(code, 0, 0, k) for code, k in insns)


def machine(of: Program, *, variable_stack_reads: bool = True, head_bytes: int = MAX_HEAD) -> Machine:
    view, code = PacketView(head_bytes=head_bytes), Assembler()
    lower(of, view, code, variable_stack_reads=variable_stack_reads)
    return Machine(code.finish(), view, variable_stack_reads=variable_stack_reads)


def evaluated(of: Program, packet: bytes, wire_len: int) -> int:
    data = np.frombuffer(packet, np.uint8).reshape(1, -1)
    return int(verdicts(of, data, np.array([len(packet)]), np.array([wire_len]))[0])


def verdict(of: Program, packet: bytes, wire_len: int | None = None) -> int:
    """Return the verdict of code for old and new kernels, and of the evaluation, which are all the same."""
    wire_len = len(packet) if wire_len is None else wire_len
    found = {
        machine(of, variable_stack_reads=variable_stack_reads, head_bytes=head_bytes).run(packet, wire_len)
        for variable_stack_reads in (False, True)
        for head_bytes in (MIN_HEAD, MAX_HEAD)
    } | {evaluated(of, packet, wire_len)}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("code", [LD_B_ABS, LD_H_ABS, LD_W_ABS])
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 21, 22, 23, 24, 155, 156, 157, 158, 159, 160, 300])
def test_constant_loads(code: int, offset: int) -> None:
    """Every alignment, around the end of the head and of the packet."""
    size = {LD_B_ABS: 1, LD_H_ABS: 2, LD_W_ABS: 4}[code]
    packet = bytes(n * 7 + 1 & 0xFF for n in range(offset + size))
    expected = int.from_bytes(packet[offset:], "big")
    equal = (*program((code, offset)), ClassicInsn(0x15, 0, 1, expected), *program((RET_K, 1), (RET_K, 0)))
    assert verdict(equal, packet) == MATCH
    assert verdict(equal, packet[:-1], len(packet)) == UNREADABLE
    assert verdict(equal, packet[:-1]) == REJECT


@pytest.mark.parametrize("code", [LD_B_IND, LD_H_IND, LD_W_IND])
@pytest.mark.parametrize("x", [0, 1, 7, 20, 21, 23, 154, 157, 158, 159, 160, 300])
@pytest.mark.parametrize("k", [0, 1, 14])
def test_indexed_loads(code: int, x: int, k: int) -> None:
    size = {LD_B_IND: 1, LD_H_IND: 2, LD_W_IND: 4}[code]
    packet = bytes(n * 7 + 1 & 0xFF for n in range(x + k + size))
    expected = int.from_bytes(packet[x + k :], "big")
    # X comes from the packet's length, so that it isn't known when the code is checked.
    begin = program((LD_LEN, 0), (0x14, k + size), (TAX, 0), (code, k))
    equal = (*begin, ClassicInsn(0x15, 0, 1, expected), *program((RET_K, 1), (RET_K, 0)))
    assert verdict(equal, packet) == MATCH
    if packet[:-1]:
        assert verdict(equal, packet[:-1], len(packet)) == UNREADABLE


@pytest.mark.parametrize("k", [2, 14, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
@pytest.mark.parametrize("x", [0xFFFFFFFF, 0xFFFFFFFE, 0x80000000, 59])
@pytest.mark.parametrize("code", [LD_B_IND, LD_H_IND, LD_W_IND])
def test_offsets_dont_wrap_around(code: int, x: int, k: int) -> None:
    always = program((LDX_IMM, x), (code, k), (RET_K, 1))
    assert verdict(always, bytes(60)) == REJECT


@pytest.mark.parametrize("k", [0x7FFFFFFF, 0x80000000, 0xFFFFEFFF, 0xFFFFFFFC, 0xFFFFFFFF])
def test_far_constant_offsets(k: int) -> None:
    assert verdict(program((LD_W_ABS, k), (RET_K, 1)), bytes(60)) == REJECT
    end = k + 4
    assert verdict(program((LD_W_ABS, k), (RET_K, 1)), bytes(60), min(end, 0xFFFFFFFF)) == (
        UNREADABLE if end < 1 << 32 else REJECT
    )


def test_registers_and_memory_begin_as_zero() -> None:
    assert verdict(program((RET_A, 0)), b"x") == REJECT
    assert verdict(program((LD_B_IND, 0), (RET_A, 0)), b"\1") == MATCH
    for word in (0, 7, 15):
        assert verdict(program((LD_MEM, word), (RET_A, 0)), b"x") == REJECT
        assert verdict(program((LDX_MEM, word), (LD_B_IND, 0), (RET_A, 0)), b"\1") == MATCH


@pytest.mark.parametrize(
    ("code", "a", "x", "result"),
    [
        (0x6C, 1, 31, 1 << 31),
        (0x6C, 1, 32, 0),
        (0x7C, 0xFFFFFFFF, 32, 0),
        (0x7C, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        (0x3C, 7, 2, 3),
        (0x9C, 7, 2, 1),
        (0xAC, 5, 3, 6),
        (0x0C, 0xFFFFFFFF, 2, 1),
        (0x1C, 1, 2, 0xFFFFFFFF),
        (0x2C, 0x80000001, 2, 2),
        (0x84, 1, 0, 0xFFFFFFFF),
        (0x84, 0x80000000, 0, 0x80000000),
    ],
)
def test_arithmetic_of_32_bits(code: int, a: int, x: int, result: int) -> None:
    begin = program((LDX_IMM, x), (LD_IMM, a), (code, 0))
    assert verdict((*begin, ClassicInsn(0x15, 0, 1, result), *program((RET_K, 1), (RET_K, 0))), b"") == MATCH


@pytest.mark.parametrize("code", [0x3C, 0x9C])
def test_division_by_zero_rejects(code: int) -> None:
    assert verdict(program((LD_IMM, 5), (code, 0), (RET_K, 1)), b"") == REJECT


@pytest.mark.parametrize("code", [0x34, 0x94])
def test_division_by_a_constant_zero_rejects(code: int) -> None:
    assert verdict(program((LD_IMM, 5), (code, 0), (RET_K, 1)), b"") == REJECT


@pytest.mark.parametrize("code", [0x64, 0x74])
def test_shifts_by_too_large_a_constant(code: int) -> None:
    assert verdict(program((LD_IMM, 5), (code, 32), (RET_A, 0)), b"") == REJECT


@both_kernels
def test_memory_that_cant_be_read(variable_stack_reads: bool) -> None:
    """The kernel may fail to read what an skb says is there."""
    of = program((LD_LEN, 0), (0x14, 1), (TAX, 0), (LD_B_IND, 0), (RET_K, 1))
    for one in (of, program((LD_B_ABS, 400), (RET_K, 1))):
        run = machine(one, variable_stack_reads=variable_stack_reads)
        assert run.run(bytes(401), 401, read=lambda _offset, _size: None) == UNREADABLE
        assert run.run(bytes(401), 401) == MATCH


@both_kernels
@pytest.mark.parametrize(
    "text", ["vlan 5 and tcp dst port 80", "vlan and ip[0] = 0x45", "ether[ip[16] + 1] = 1"]
)
def test_the_head_is_never_read_from_the_packet(text: str, variable_stack_reads: bool) -> None:
    """An inserted tag is only in the head: elsewhere its bytes are what lies before the packet."""
    packet_filter = compile_packet_filter(text)
    code = lower_filter(packet_filter, PacketView(), variable_stack_reads=variable_stack_reads)
    run = Machine(
        code.insns, PacketView(head_bytes=code.head_bytes), variable_stack_reads=variable_stack_reads
    )
    ip = bytes.fromhex("4500002800000000400600000a0000010a000002") + bytes.fromhex("9c400050") + bytes(16)
    packet = bytes(12) + bytes.fromhex("81000005") + b"\x08\0" + ip

    def read(offset: int, size: int) -> bytes:
        assert offset >= MIN_HEAD - 3, "a byte that may have been moved by the tag"
        return packet[offset : offset + size]

    expected = evaluated(packet_filter.ethernet, packet, len(packet))
    assert run.run(packet, len(packet), read=read) == expected
    assert expected == (REJECT if text.startswith("ether") else MATCH)


def test_network_header_first() -> None:
    ip = bytes.fromhex("4500002800000000400600000a0000010a000002") + bytes.fromhex("9c400050") + bytes(16)
    run = filter_machine("tcp dst port 80")
    assert run.run(bytes(12) + b"\x08\0" + ip, 54, 0) == MATCH
    assert run.run(ip, 40, 1) == MATCH
    assert run.run(ip, 40, 0) == REJECT
    assert run.run(bytes(12) + b"\x08\0" + ip, 54, 1) == REJECT


def test_no_link_layer() -> None:
    run = filter_machine("ether src 02:00:00:00:00:01")
    assert run.run(bytes(60), 60, 1) == NO_LINK_LAYER
    assert run.run(bytes(60), 60, 0) == REJECT


def filter_machine(text: str) -> Machine:
    code = lower_filter(compile_packet_filter(text), PacketView(), variable_stack_reads=True)
    return Machine(code.insns, PacketView(head_bytes=code.head_bytes), variable_stack_reads=True)


def test_programs_that_are_the_same_are_there_once() -> None:
    packet_filter = compile_packet_filter("greater 100")
    assert packet_filter.ethernet == packet_filter.raw
    once = lower_filter(packet_filter, PacketView(), variable_stack_reads=True)
    alone = lower_filter(replace(packet_filter, raw=None), PacketView(), variable_stack_reads=True)
    assert len(once.insns) == len(alone.insns) - 3


@pytest.mark.parametrize(
    ("text", "head_bytes"),
    [
        ("ip", 24),
        ("greater 5", 24),
        ("host 10.0.0.1", 48),
        ("ip6 host ::1", 56),
        ("ether[158:2] = 1", 160),
        ("ether[159:2] = 1", 24),
    ],
)
def test_the_head_is_as_long_as_it_is_used(text: str, head_bytes: int) -> None:
    assert (
        lower_filter(compile_packet_filter(text), PacketView(), variable_stack_reads=True).head_bytes
        == head_bytes
    )


def test_the_head_fits_its_room() -> None:
    view = PacketView(head_bytes=64)
    assert (
        lower_filter(compile_packet_filter("ether[100] = 1"), view, variable_stack_reads=True).head_bytes
        <= 64
    )


def test_lengths_are_checked_once() -> None:
    """What was loaded on every way to an instruction isn't checked there."""
    assert length_checks(program((LD_W_ABS, 30), (LD_H_ABS, 12), (LD_W_ABS, 30), (RET_A, 0))) == [34]
    assert length_checks(program((LD_H_ABS, 12), (LD_B_ABS, 13), (LD_B_ABS, 23), (RET_A, 0))) == [14, 24]
    both_ways = (
        *program((LD_B_ABS, 0)),
        ClassicInsn(0x15, 0, 1, 7),
        *program((LD_B_ABS, 50), (LD_B_ABS, 20), (RET_A, 0)),
    )
    assert length_checks(both_ways) == [1, 21, 51]


def length_checks(of: Program) -> list[int]:
    """Return the lengths that the code compares the packet's with."""
    code = Assembler()
    lower(of, PacketView(), code, variable_stack_reads=True)
    return sorted(insn.imm for insn in code.finish() if insn.op == 0xA6 and insn.dst == 9)


def test_common_filters_need_no_help() -> None:
    """All that `src host` looks at is in the head."""
    code = lower_filter(compile_packet_filter("src host 10.0.0.1"), PacketView(), variable_stack_reads=True)
    assert not [insn for insn in code.insns if insn.op == CALL]


def test_too_large() -> None:
    big = tuple([ClassicInsn(LD_W_IND, 0, 0, 4)] * 600 + [ClassicInsn(RET_K, 0, 0, 1)])
    packet_filter = PacketFilter("made up", big, None, "", sees_vlan=False)
    with pytest.raises(
        UsageError, match=r"601 cBPF instructions become 1[0-9],[0-9]{3} of eBPF; at most 8,190 fit"
    ):
        lower_filter(packet_filter, PacketView(), variable_stack_reads=True)


def test_a_long_list_fits() -> None:
    text = "port " + " or ".join(str(n) for n in range(1, 50))
    insns = lower_filter(compile_packet_filter(text), PacketView(), variable_stack_reads=True).insns
    assert len(insns) < MAX_INSNS


def test_no_packets() -> None:
    of = compile_packet_filter("tcp port 80").ethernet
    assert verdicts(of, np.zeros((0, 0), np.uint8), np.zeros(0, int), np.zeros(0, int)).shape == (0,)
    empty = verdicts(of, np.zeros((3, 0), np.uint8), np.zeros(3, int), np.array([0, 14, 60]))
    assert empty.tolist() == [REJECT, UNREADABLE, UNREADABLE]


def test_lengths_beyond_the_rows_cant_be_read() -> None:
    of = compile_packet_filter("ip").ethernet
    assert verdicts(of, np.zeros((1, 4), np.uint8), np.array([60]), np.array([60])).tolist() == [UNREADABLE]
