"""Which argument is where, by the calling conventions (System V psABI for AMD64, AAPCS64)."""

from __future__ import annotations

import re

import pytest

from fyke.capture.arguments import IN_REGISTERS, argument_slots, context_offset, readable_params

SKB, DEV, NET = "struct sk_buff *", "struct net_device *", "struct net *"
# Members of struct pt_regs in order, arch/x86/include/asm/ptrace.h.
X86_64 = re.findall(r"\w+", "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss")


def test_registers_of_x86_64() -> None:
    order = [X86_64.index(name) * 8 for name in ("di", "si", "dx", "cx", "r8", "r9")]
    for mechanism in ("kprobe", "kprobe_multi"):
        assert [context_offset(mechanism, n, "x86_64") for n in range(IN_REGISTERS)] == order


def test_registers_of_arm64() -> None:
    assert [context_offset("kprobe", n, "aarch64") for n in range(IN_REGISTERS)] == [0, 8, 16, 24, 32, 40]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
@pytest.mark.parametrize("mechanism", ["raw_tracepoint", "fentry", "fexit"])
def test_tracepoints_and_trampolines_have_an_array(mechanism: str, machine: str) -> None:
    assert [context_offset(mechanism, n, machine) for n in (0, 1, 11)] == [0, 8, 88]


def test_the_first_of_each_kind() -> None:
    params = ["int", DEV, SKB, SKB, "enum ovs_drop_reason", DEV]
    assert argument_slots(params, "kprobe") == {"dev": 1, "skb": 2, "reason": 4}
    assert argument_slots([SKB + "*", "struct sk_buff", "const"], "kprobe") == {}
    assert argument_slots([], "kprobe") == {}


def test_what_is_on_the_stack_is_for_arrays_only() -> None:
    params = ["int"] * 5 + [NET, SKB]
    assert argument_slots(params, "kprobe_multi") == {"net": 5}
    assert argument_slots(params, "raw_tracepoint") == {"net": 5, "skb": 6}
    assert readable_params(params, "kprobe") == params[:6]
    for mechanism in ("raw_tracepoint", "fentry"):
        assert readable_params(params, mechanism) == params
