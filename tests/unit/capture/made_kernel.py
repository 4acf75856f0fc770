"""A kernel for planning, made of a real LiveKernel over types, symbols and events written here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from btf_writer import BtfWriter

from fyke.kernel.bpf_programs import BpfProgram
from fyke.kernel.btf import Btf
from fyke.kernel.features import FEATURES, Answer, Features
from fyke.kernel.kallsyms import Kallsyms
from fyke.kernel.view import LiveKernel, Sources

_T = TypeVar("_T")

SKB, DEV, NET, REASON, INT, NAPI, FLAG = "skb", "dev", "net", "reason", "int", "napi", "bool"
# What only leads to a device or a namespace; FAR and WRONG aren't what they are on any kernel.
SOCK, SOCKET, STATE, QDISC, FAR, WRONG, PSKB = "sock", "socket", "state", "queueing", "far", "wrong", "pskb"
# Enums of subsystems' own drop reasons.
SUBSYSTEMS = {name: f"{name}_drop_reason" for name in ("mac80211", "ovs", "qdisc")}

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "skb_free_head": (SKB,),
    "skb_release_data": (SKB, REASON),
    "kfree_skb_partial": (SKB, FLAG),
    "pskb_expand_head": (SKB, INT, INT, INT),
    "skb_gro_receive": (SKB, SKB),
    "skb_gro_receive_list": (SKB, SKB),
    "napi_skb_free_stolen_head": (SKB,),
    "__skb_gso_segment": (SKB, INT, FLAG),
    "ip_rcv": (SKB, DEV, INT, DEV),
    "ip_output": (NET, INT, SKB),
    "ip_select": (INT, INT),
    "dev_open": (DEV, INT),
    "unregister_pernet": (NET,),
    "drop_for": (INT, SKB, REASON),
    "six_then_skb": (INT, INT, INT, INT, INT, INT, SKB),
    "five_then_skb": (INT, INT, INT, INT, INT, SKB),
    "dev_and_six_then_skb": (DEV, INT, INT, INT, INT, INT, SKB),
}
MODULE_FUNCTIONS: dict[str, tuple[str, ...]] = {"nft_do_chain": (SKB, INT)}
TRACEPOINTS: dict[str, tuple[str, ...]] = {
    "net:netif_receive_skb": (SKB,),
    "net:net_dev_start_xmit": (SKB, DEV),
    "net:napi_poll": (NAPI, INT),
    "skb:kfree_skb": (SKB, INT, REASON),
    "skb:consume_skb": (SKB, INT),
    "sched:sched_switch": (INT, INT),
    "fib:wide": (INT, INT, INT, INT, INT, INT, INT, SKB),
}
MODULE_TRACEPOINTS: dict[str, tuple[str, ...]] = {"nft:nft_trace": (SKB,)}
NO_BTF = "no_btf"  # ftrace can trace it, but nothing says what it takes
NFT_TRACE = "__nft_trace_packet"
NFT_OLD = ("info", "chain", "trace_type")
NFT_NEW = ("pktinfo", "verdict", "rule_dp", "info", "trace_type")
ALL = ("kprobe", "kprobe_multi", "fentry")
WHY_NOT = {"kprobe": "this kernel doesn't have it", "fentry": "the kernel refuses it"}


class GivenFeatures(Features):
    """The features of a kernel that has exactly these, answered without asking any."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        for feature in FEATURES:
            has = feature.name in names
            self._answers[feature.name] = Answer(
                *(("yes",) if has else ("no", WHY_NOT.get(feature.name, "")))
            )


class _Types:
    """Writes functions and tracepoints that take a few kinds of arguments."""

    def __init__(self, writer: BtfWriter) -> None:
        self.writer = writer

    def define(self, reasons: bool) -> None:
        w = self.writer
        self.kinds = {INT: w.int("int", signed=True), FLAG: w.int("bool", 1)}
        for name, struct in ((SKB, "sk_buff"), (DEV, "net_device"), (NET, "net"), (NAPI, "napi_struct")):
            self.kinds[name] = w.pointer(w.struct(struct, 8))
        w.struct("nf_conn", 8)
        self._define_ways()
        self.kinds[REASON] = self.kinds[INT]
        if reasons:
            self.kinds[REASON] = w.enum("skb_drop_reason", ("SKB_NOT_DROPPED_YET", 0), ("SKB_CONSUMED", 1))
        for kind, name in SUBSYSTEMS.items():
            self.kinds[kind] = w.enum(name, (f"{kind.upper()}_DROP", 0x10001))
        self.void = w.pointer(0)

    def _define_ways(self) -> None:
        """Describe structures that lead to devices and namespaces."""
        w, dev, net = self.writer, self.kinds[DEV], self.kinds[NET]
        common = w.struct("sock_common", 64, ("skc_net", w.struct("possible", 8, ("net", net, 0)), 48 * 8))
        sock = w.pointer(w.struct("sock", 64, ("__sk_common", common, 0)))
        queue = w.pointer(w.struct("netdev_queue", 8, ("dev", dev, 0)))
        state = w.struct("nf_hook_state", 24, ("out", dev, 16 * 8), ("net", net, 32 * 8))
        self.kinds |= {
            SOCK: sock,
            SOCKET: w.pointer(w.struct("socket", 32, ("sk", sock, 24 * 8))),
            STATE: w.pointer(state),
            QDISC: w.pointer(w.struct("Qdisc", 80, ("dev_queue", queue, 64 * 8))),
            FAR: w.pointer(w.struct("xdp_sock", 40000, ("dev", dev, 1 << 18))),
            WRONG: w.pointer(w.struct("in_device", 8, ("dev", net, 0))),
            PSKB: w.pointer(self.kinds[SKB]),
        }

    def define_nft(self, *, old: bool) -> tuple[str, ...]:
        """Describe what nftables traces with, before Linux 6.4 or since; return what its function takes."""
        w = self.writer
        pktinfo = w.pointer(w.struct("nft_pktinfo", 8, ("skb", self.kinds[SKB], 0)))
        members = (("pkt", pktinfo, 64),) if old else ()
        self.kinds |= {"pktinfo": pktinfo, "info": w.pointer(w.struct("nft_traceinfo", 16, *members))}
        for name in ("verdict", "rule_dp", "chain"):
            self.kinds[name] = w.pointer(w.struct(f"nft_{name}", 8))
        self.kinds["trace_type"] = w.enum("nft_trace_types", ("NFT_TRACETYPE_UNSPEC", 0))
        if not old:
            w.struct("nft_rule_dp_last", 8)
            w.struct("bpf_iter_num", 8)
        return NFT_OLD if old else NFT_NEW

    def _proto(self, kinds: Iterable[str], *first: tuple[str, int]) -> int:
        """Parameters have the names of their kinds."""
        return self.writer.proto(self.kinds[INT], *first, *((kind, self.kinds[kind]) for kind in kinds))

    def function(self, name: str, kinds: tuple[str, ...]) -> None:
        self.writer.func(name, self._proto(kinds))

    def tracepoint(self, name: str, kinds: tuple[str, ...]) -> None:
        proto = self._proto(kinds, ("__data", self.void))
        self.writer.add("typedef", f"btf_trace_{name.partition(':')[2]}", self.writer.pointer(proto))


def made_kernel(
    features: Iterable[str] = ALL,
    *,
    without: Iterable[str] = (),
    reasons: bool = True,
    tracefs: bool = True,
    more: dict[str, tuple[str, ...]] | None = None,
    modules: Iterable[str] = ("nf_conntrack_ftp",),
    nft: str = "",
    programs: Sequence[BpfProgram] | None = (),
) -> LiveKernel:
    """Return a kernel. without: functions it lacks; tracefs: whether it lists events and functions.

    programs: the XDP and TC programs that are loaded; None: it doesn't say.
    nft: "old" (before Linux 6.4), "new", or "" for a kernel without nftables.
    """
    functions = {n: kinds for n, kinds in (FUNCTIONS | (more or {})).items() if n not in set(without)}
    types = _Types(BtfWriter())
    types.define(reasons)
    if nft:
        functions[NFT_TRACE] = types.define_nft(old=nft == "old")
    for name, kinds in functions.items():
        types.function(name, kinds)
    for name, kinds in TRACEPOINTS.items():
        types.tracepoint(name, kinds)
    vmlinux = Btf.parse(types.writer.blob())
    own = _Types(BtfWriter(vmlinux.end_id, vmlinux.end_string))
    own.kinds, own.void = types.kinds, types.void
    for name, kinds in MODULE_FUNCTIONS.items():
        own.function(name, kinds)
    for name, kinds in MODULE_TRACEPOINTS.items():
        own.tracepoint(name, kinds)
    module = Btf.parse(own.writer.blob(), vmlinux)
    kernel = LiveKernel(
        Sources(
            vmlinux=lambda: vmlinux,
            modules=lambda _vmlinux: {"nf_tables": module},
            kallsyms=lambda: Kallsyms(_symbols(functions)),
            events=_read(frozenset({*TRACEPOINTS, *MODULE_TRACEPOINTS}) if tracefs else None),
            functions=_read(dict.fromkeys([*functions, *MODULE_FUNCTIONS, NO_BTF], "") if tracefs else None),
            blacklist=lambda: frozenset(),
            has_module=lambda name: name in modules,
            bpf_programs=_read(programs),
        )
    )
    kernel.features = GivenFeatures(features)
    return kernel


def _symbols(functions: Iterable[str]) -> bytes:
    own = [*functions, NO_BTF]
    lines = [f"{0xFFFFFFFF81000000 + 256 * n:x} T {name}" for n, name in enumerate(own)]
    lines += [
        f"{0xFFFFFFFFC0000000 + 256 * n:x} t {name}\t[nf_tables]" for n, name in enumerate(MODULE_FUNCTIONS)
    ]
    return "\n".join(lines).encode() + b"\n"


def _read(value: _T | None) -> Callable[[], _T]:
    def read() -> _T:
        if value is None:
            raise PermissionError(1, "Operation not permitted")
        return value

    return read
