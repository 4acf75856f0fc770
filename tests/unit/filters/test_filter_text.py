"""Programs as text: cBPF as tcpdump prints it, eBPF as the kernel does."""

from __future__ import annotations

from fyke.filters.asm import GET_CURRENT_TASK, Assembler, Insn, Reg
from fyke.filters.disassembler import text
from fyke.filters.pcap.classic import ClassicInsn
from fyke.filters.pcap.compile import compile_packet_filter
from fyke.filters.pcap.text import classic_text

# $ tcpdump -y EN10MB -d 'tcp[13] = 2'    (the columns before jt and jf are padded with blanks, then a tab)
TCPDUMP = """\
(000) ldh      [12]
(001) jeq      #0x800           jt 2\tjf 10
(002) ldb      [23]
(003) jeq      #0x6             jt 4\tjf 10
(004) ldh      [20]
(005) jset     #0x1fff          jt 10\tjf 6
(006) ldxb     4*([14]&0xf)
(007) ldb      [x + 27]
(008) jeq      #0x2             jt 9\tjf 10
(009) ret      #262144
(010) ret      #0"""


def test_classic() -> None:
    assert classic_text(compile_packet_filter("tcp[13] = 2").ethernet) == TCPDUMP


def test_classic_with_jumps() -> None:
    program = (ClassicInsn(0x05, 0, 0, 1), ClassicInsn(0x84, 0, 0, 0), ClassicInsn(0x16, 0, 0, 0))
    assert [line.rstrip() for line in classic_text(program).split("\n")] == [
        "(000) ja       2",
        "(001) neg",
        "(002) ret",
    ]


def test_ebpf() -> None:
    """Every kind of instruction was compared with what `bpftool prog dump xlated` prints."""
    code = Assembler()
    end = code.label()
    code.mov(Reg.R6, Reg.R1)
    code.mov(Reg.R7, -1, wide=False)
    code.load(Reg.R0, Reg.R6, 12, 2)
    code.load(Reg.R3, Reg.R6, -8, 8)
    code.from_big_endian(Reg.R0, 16)
    code.store(Reg.R6, 4, Reg.R0, 4)
    code.store(Reg.R6, 24, -7, 1)
    code.alu("neg", Reg.R7, 0, wide=False)
    code.alu("arsh", Reg.R7, 3)
    code.alu("xor", Reg.R7, Reg.R0)
    code.branch("ne", Reg.R7, 8, end, wide=False)
    code.branch("set", Reg.R7, Reg.R0, end)
    code.branch("slt", Reg.R7, -4095, end)
    code.constant64(Reg.R1, 0xFFFF_8880_0000_0001)
    code.call(GET_CURRENT_TASK)
    code.jump(end)
    code.place(end)
    code.exit()
    assert text(code.finish()).split("\n") == [
        "   0: (bf) r6 = r1",
        "   1: (b4) w7 = -1",
        "   2: (69) r0 = *(u16 *)(r6 +12)",
        "   3: (79) r3 = *(u64 *)(r6 -8)",
        "   4: (dc) r0 = be16 r0",
        "   5: (63) *(u32 *)(r6 +4) = r0",
        "   6: (72) *(u8 *)(r6 +24) = -7",
        "   7: (84) w7 = -w7",
        "   8: (c7) r7 s>>= 3",
        "   9: (af) r7 ^= r0",
        "  10: (56) if w7 != 0x8 goto pc+6",
        "  11: (4d) if r7 & r0 goto pc+5",
        "  12: (c5) if r7 s< 0xfffff001 goto pc+4",
        "  13: (18) r1 = 0xffff888000000001",
        "  15: (85) call bpf_get_current_task#35",
        "  16: (05) goto pc+0",
        "  17: (95) exit",
    ]


def test_unknown_helpers_have_their_number() -> None:
    assert text([Insn(0x85, imm=5), Insn(0x95)]).startswith("   0: (85) call helper#5")
