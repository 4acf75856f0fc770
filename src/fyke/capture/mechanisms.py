"""The mechanisms that bring a hit to a program of ours, and which of them a function gets."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.capture.kernel import Kernel
from fyke.capture.probe_spec import ProbeSpec
from fyke.errors import Unsupported

# How many arguments of a function are in registers on every machine; the others are on the stack.
IN_REGISTERS = 6


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A way to attach.

    program: the one that runs at the probe. entry: of returns, the one that runs at the function's entry.
    connections: the one where a connection comes or goes. frames: those at XDP programs, at return and entry.
    ovs, ovs_entry: those of Open vSwitch's probes. ovs_many: where a hit is many things. received: where its
    daemon may receive a message.
    cookie: the rodata switch and feature of a cookie that carries the number of the probe; None: there is
    none, so that each probe has a copy of the program; empty: there always is one.
    array: arguments are given as an array, not in registers. all: those that aren't in registers, too.
    trampoline: each program is made for one function. many: one link attaches to many functions.
    user: in user programs.
    """

    program: str
    entry: str = ""
    cookie: str | None = None
    array: bool = False
    all: bool = False
    trampoline: bool = False
    many: bool = False
    connections: str = ""
    ovs: str = ""
    ovs_entry: str = ""
    ovs_many: str = ""
    received: str = ""
    user: bool = False
    frames: tuple[str, str] = ("", "")

    @property
    def programs(self) -> tuple[str, ...]:
        """All its programs."""
        ovs = (self.ovs, self.ovs_entry, self.ovs_many, self.received)
        names = (self.program, self.entry, self.connections, *ovs, *self.frames)
        return tuple(name for name in names if name)


MECHANISMS = {
    "raw_tracepoint": Mechanism(
        "probe_raw_tracepoint",
        cookie="raw_tracepoint_cookie",
        array=True,
        all=True,
        ovs="ovs_raw_tracepoint",
        received="ovs_received",
    ),
    "kprobe": Mechanism(
        "probe_kprobe", cookie="kprobe_cookie", connections="connection_kprobe", ovs="ovs_kprobe"
    ),
    "kprobe_multi": Mechanism(
        "probe_kprobe_multi",
        cookie="",
        many=True,
        connections="connection_kprobe_multi",
        ovs="ovs_kprobe_multi",
    ),
    "kretprobe": Mechanism(
        "probe_kretprobe",
        "entry_kretprobe",
        cookie="kprobe_cookie",
        array=True,
        ovs="ovs_kretprobe",
        ovs_entry="ovs_entry_kretprobe",
    ),
    "kretprobe_multi": Mechanism(
        "probe_kretprobe_multi",
        "entry_kretprobe_multi",
        cookie="",
        array=True,
        many=True,
        ovs="ovs_kretprobe_multi",
        ovs_entry="ovs_entry_kretprobe_multi",
    ),
    "fentry": Mechanism("probe_fentry", array=True, all=True, trampoline=True),
    "fexit": Mechanism(
        *("probe_fexit", "entry_fexit"),
        array=True,
        all=True,
        trampoline=True,
        frames=("probe_xdp", "entry_xdp"),
    ),
    "uprobe": Mechanism(
        "probe_uprobe", cookie="kprobe_cookie", user=True, ovs="ovs_usdt", ovs_many="ovs_operations"
    ),
    "usdt": Mechanism("probe_uprobe", cookie="kprobe_cookie", user=True, ovs="ovs_usdt"),
}
# Those at the entry of a function.
ENTRIES = tuple(
    name for name, how in MECHANISMS.items() if not how.entry and not how.user and name != "raw_tracepoint"
)


def of_function(kernel: Kernel, spec: ProbeSpec) -> tuple[str, ...]:
    """Return the mechanisms for the functions of a spec: the first that reads what is wanted is taken.

    Only without a type is there more than one. Raises Unsupported where the kernel has none.

    Without a type it is kprobes where there are any. By fentry the trap costs 57 ns, by kprobe.multi 274, by
    a kprobe of its own 471 (6.12, emulated; `python -m bench mechanisms`), but a packet takes 11,700 there,
    what runs at a hit 2,000 to 13,000; and each function needs a program, which takes 150 to 500 ms to load.
    """
    if spec.type in ("fentry", "fexit"):
        _check(kernel, spec, "fentry", f" by {spec.type}:", _OTHER[spec.type])
        return (spec.type,)
    fentry = ("fentry",) if spec.type == "func" and kernel.features.has("fentry") else ()
    if fentry and not kernel.features.has("kprobe"):
        return fentry
    _check(kernel, spec, "kprobe", ": no kprobes here,", "use tracepoints: -p tp:SUBSYSTEM:NAME")
    if spec.type == "kretprobe":
        return ("kretprobe_multi" if kernel.features.has("kprobe_multi") else "kretprobe",)
    return (kprobe(kernel), *fentry)


def why(kernel: Kernel, mechanism: str) -> str:
    """Return why functions without a type are probed by a mechanism, a clause."""
    if mechanism == "kprobe_multi":
        return "one program and one link serve all functions"
    if mechanism == "kprobe":
        return f"there is no kprobe.multi, {kernel.features['kprobe_multi'].why}"
    if kernel.features.has("kprobe"):
        return f"kprobes read only the first {IN_REGISTERS} arguments"
    return f"no kprobes here, {kernel.features['kprobe'].why}"


_OTHER = {
    "fentry": "write func: for whatever works here",
    "fexit": "write kr: for kretprobes, where there are kprobes",
}


def kprobe(kernel: Kernel) -> str:
    """Return the better of the two mechanisms that are kprobes."""
    return "kprobe_multi" if kernel.features.has("kprobe_multi") else "kprobe"


def _check(kernel: Kernel, spec: ProbeSpec, feature: str, what: str, hint: str) -> None:
    if not kernel.features.has(feature):
        why = kernel.features[feature].why
        raise Unsupported(f"can't probe function {spec.target}{what} {why}", hint)
