"""Which argument holds what, and where an argument is in a program's context."""

from __future__ import annotations

from fyke.capture.mechanisms import IN_REGISTERS, MECHANISMS
from fyke.collectors.api import NET, NET_DEVICE, SKB

# kind (a `<kind>_at` member of struct probe in core/probe.bpf.h) -> types that fill it, as BTF spells them
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "skb": (SKB,),
    "dev": (NET_DEVICE,),
    "net": (NET,),
    "reason": (
        "enum skb_drop_reason",
        "enum mac80211_drop_reason",
        "enum ovs_drop_reason",
        "enum qdisc_drop_reason",
    ),
    "nft_info": ("struct nft_traceinfo *",),
    "nft_verdict": ("struct nft_verdict *",),
    "nft_rule": ("struct nft_rule_dp *",),
    "nft_chain": ("struct nft_chain *",),
    "nft_type": ("enum nft_trace_types",),
    "ovs_info": ("struct dp_upcall_info *",),
    "ovs_dp": ("struct datapath *",),
    "ovs_key": ("struct sw_flow_key *",),
    "ovs_attr": ("struct nlattr *",),
}

# Offsets of the argument registers in struct pt_regs (arch/*/include/uapi/asm/ptrace.h; psABI, AAPCS64).
_REGISTERS = {
    "x86_64": (112, 104, 96, 88, 72, 64),  # di si dx cx r8 r9
    "aarch64": (0, 8, 16, 24, 32, 40, 48, 56),  # x0 to x7
}


def readable_params(params: list[str], mechanism: str) -> list[str]:
    """Return the parameters that a probe of this mechanism can read."""
    return params if MECHANISMS[mechanism].all else params[:IN_REGISTERS]


def argument_slots(params: list[str], mechanism: str) -> dict[str, int]:
    """Return kind -> index of the first parameter of a fitting type, of those that can be read."""
    slots: dict[str, int] = {}
    for index, param in enumerate(readable_params(params, mechanism)):
        for argument, types in ARGUMENTS.items():
            if param in types:
                slots.setdefault(argument, index)
    return slots


def root_slots(params: list[str], mechanism: str, roots: tuple[str, ...]) -> dict[str, int]:
    """Return struct -> index of the first readable parameter that points to one, for a filter's roots."""
    readable = readable_params(params, mechanism)
    wanted = {root: f"struct {root} *" for root in roots}
    return {root: readable.index(spelled) for root, spelled in wanted.items() if spelled in readable}


def context_offset(mechanism: str, index: int, machine: str) -> int:
    """Return the byte offset of an argument in the context of a program of this mechanism."""
    if MECHANISMS[mechanism].array:
        return index * 8  # struct bpf_raw_tracepoint_args; a trampoline's; struct call in core/call.bpf.h
    return _REGISTERS[machine][index]
