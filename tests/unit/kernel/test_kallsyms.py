from __future__ import annotations

import pytest

from fyke.kernel.kallsyms import Kallsyms, Symbol

SAMPLE = b"""\
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 T ip_rcv
ffffffff81000180 t ip_rcv_finish
ffffffff81000200 t ip_finish_output2.isra.0
ffffffff81000300 t put_page
ffffffff81000340 W arch_weak
ffffffff81000380 t put_page
ffffffff810003c0 t do_softirq.part.0
ffffffff81000400 T _etext
ffffffff82000000 D jiffies
ffffffff83000000 T _einittext
ffffffff83b26000 D __init_scratch_end
ffffffffc0400000 t ovs_vport_receive\t[openvswitch]
ffffffffc0300000 t nft_do_chain\t[nf_tables]
ffffffffc0300800 d nft_data\t[nf_tables]
ffffffffc0203000 t ftrace_trampoline\t[__builtin__ftrace]
ffffffffc0500000 t bpf_prog_6deef7357e7b4530_raw_tp\t[bpf]
"""


@pytest.fixture(scope="module")
def symbols() -> Kallsyms:
    return Kallsyms(SAMPLE)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFF81000100, "ip_rcv+0x0"),
        (0xFFFFFFFF8100017F, "ip_rcv+0x7f"),
        (0xFFFFFFFF81000000, "_text+0x0"),
        (0xFFFFFFFFC0300010, "nft_do_chain+0x10"),
        (0xFFFFFFFFC0400020, "ovs_vport_receive+0x20"),
        (0xFFFFFFFFC0500084, "bpf_prog_6deef7357e7b4530_raw_tp+0x84"),
        (0xFFFFFFFFC0203004, "ftrace_trampoline+0x4"),
    ],
)
def test_addresses_in_code_are_named(symbols: Kallsyms, address: int, name: str) -> None:
    assert symbols.symbol(address) == name


@pytest.mark.parametrize(
    "address",
    [
        0,
        0x7FFF00001000,
        0xFFFFFFFF80FFFFFF,
        0xFFFFFFFF81000400,  # _etext: the first byte after the code
        0xFFFFFFFF82000000,
        0xFFFFFFFF83000010,
        0xFFFFFFFF83B26000 + 0xB2B9B29,  # code far behind the last symbol of the kernel
        0xFFFFFFFFC0203000 + 0x10000,
        0xFFFFFFFFFFFFFFFF,
    ],
)
def test_addresses_in_no_known_code_stay_numbers(symbols: Kallsyms, address: int) -> None:
    assert symbols.lookup(address) is None
    assert symbols.symbol(address) == f"{address:#x}"


def test_a_symbol_knows_its_module(symbols: Kallsyms) -> None:
    assert symbols.lookup(0xFFFFFFFFC0300010) == Symbol("nft_do_chain", "nf_tables", 0x10)
    assert symbols.module("ovs_vport_receive") == "openvswitch"
    assert symbols.module("ip_rcv") == ""
    assert symbols.module("missing") is None


def test_names_are_unambiguous_ambiguous_or_unknown(symbols: Kallsyms) -> None:
    assert symbols.addresses("ip_rcv") == (0xFFFFFFFF81000100,)
    assert symbols.addresses("put_page") == (0xFFFFFFFF81000300, 0xFFFFFFFF81000380)
    assert symbols.addresses("jiffies") == ()
    assert symbols.is_function("arch_weak")
    assert not symbols.is_function("put_page")
    assert not symbols.is_function("jiffies")


def test_functions_changed_by_the_compiler_are_found_by_their_own_name(symbols: Kallsyms) -> None:
    assert symbols.variants("ip_finish_output2") == ["ip_finish_output2.isra.0"]
    assert symbols.variants("do_softirq") == ["do_softirq.part.0"]
    assert symbols.variants("ip_rcv") == []


def test_hidden_addresses_are_noticed_and_names_still_known() -> None:
    hidden = Kallsyms(b"\n".join(b"0" * 16 + line[16:] for line in SAMPLE.split(b"\n") if line))
    assert hidden.hidden
    assert hidden.symbol(0xFFFFFFFF81000100) == "0xffffffff81000100"
    assert hidden.is_function("ip_rcv")
    assert len(hidden.addresses("put_page")) == 2
    assert Kallsyms(b"").hidden
    assert not Kallsyms(SAMPLE).hidden


def test_marks_of_instruction_sets_name_nothing() -> None:
    arm = Kallsyms(
        b"ffff800080010000 T _stext\nffff800080010000 t $x\nffff800080010010 t $d\n"
        b"ffff800080020000 T _etext\n"
    )
    assert arm.symbol(0xFFFF800080010014) == "_stext+0x14"


def test_without_bounds_of_the_text_only_near_symbols_name_an_address() -> None:
    bare = Kallsyms(b"ffffffff81000100 T ip_rcv\n")
    assert bare.symbol(0xFFFFFFFF81000104) == "ip_rcv+0x4"
    assert bare.symbol(0xFFFFFFFF91000104) == "0xffffffff91000104"
