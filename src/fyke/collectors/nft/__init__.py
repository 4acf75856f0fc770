"""nft: which rule of nftables, or policy, decided what about a packet.

Table and chain by name and handle, the rule's handle (as `nft -a list ruleset` shows it), the verdict, and
the chain that a jump or goto leads to. The kernel tells of packets that some rule traces (`meta nftrace set
1`), from that rule on, as `nft monitor trace` does. Which verdicts are wanted says `--nft-verdicts`: drop and
accept, unless told otherwise. Adds a probe at the function `__nft_trace_packet`.
"""

import struct

from fyke.collectors.api import Collector
from fyke.collectors.kernel_view import KernelView
from fyke.collectors.nft.verdicts import verdict
from fyke.events.column import Column, Names, Section

# Named differently where the compiler, or an older kernel, keeps the outer one.
_FUNCTIONS = ("__nft_trace_packet", "nft_trace_packet")
_RULE = struct.Struct("=qqI4x")  # struct nft_rule_place


def _name(number: int, names: Names) -> str | None:
    return names.name(number)


def _rule(raw: bytes, names: Names) -> str | None:
    table, rule, netns = _RULE.unpack(raw)
    return names.nft_rule(netns, table, rule) if rule >= 0 else None


SECTION = Section(
    "nft",
    "Which rule of nftables, or policy, decided what about the packet.",
    (
        Column("table_name", "string", "Table; odd bytes escaped as in task.comm", "", "table_name", _name),
        Column("chain_name", "string", "Chain", "", "chain_name", _name),
        Column(
            "verdict",
            "string",
            "continue, break, jump, goto, return, drop, accept, stolen, queue, repeat",
            "",
            "verdict",
            verdict,
        ),
        Column(
            "verdict_chain_name",
            "string",
            "Chain that a jump or goto leads to",
            "",
            "verdict_chain_name",
            _name,
        ),
        Column("table_handle", "int64", "The table's handle", "", "rule.table_handle"),
        Column("chain_handle", "int64", "The chain's handle", "", "chain_handle"),
        Column(
            "rule_handle",
            "int64",
            "The rule's handle, null at the end of a chain and for its policy",
            "",
            "rule.rule_handle",
            null_if=-1,
        ),
        Column("policy", "bool", "Whether the chain's policy decided", "", "policy"),
        Column(
            "rule",
            "string",
            "The rule as `nft list` showed it when the packet met it, null where it wasn't read",
            "",
            "rule",
            _rule,
            may_change=True,  # a rule that is replaced keeps its handle
        ),
    ),
)


def _function(kernel: KernelView) -> str | None:
    return next((name for name in _FUNCTIONS if kernel.has_function(name)), None)


def _probes(kernel: KernelView) -> tuple[str, ...]:
    return (f"kprobe:{_function(kernel)}",)


def _unavailable(kernel: KernelView) -> str | None:
    if _function(kernel) is None:
        return "this kernel has no nftables (CONFIG_NF_TABLES), or its module nf_tables isn't loaded"
    # Linux kernel commit 36e68442d1af ("bpf: Load and verify kernel module BTFs") (in v5.11).
    if not kernel.has_type("struct", "nft_traceinfo"):
        return "this kernel has no types (BTF) of its module nf_tables; kernels have them since Linux 5.11"
    # Linux kernel commit 6018e1f407cc ("bpf: implement numbers iterator") (in v6.4).
    if kernel.has_type("struct", "nft_rule_dp_last") and not kernel.has_type("struct", "bpf_iter_num"):
        return "BPF can't follow the rules of a chain to its name here: Linux 6.4 or newer can"
    return None


COLLECTOR = Collector("nft", (SECTION,), takes=(), probes=_probes, unavailable=_unavailable)
