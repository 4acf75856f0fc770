"""The mechanisms that bring a hit to a program of ours, and which of them a function gets."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.capture.kernel import Kernel
from fyke.capture.probe_spec import ProbeSpec
from fyke.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A way to attach.

    program: the one that runs at the probe. cookie: the rodata switch and feature of an attach cookie that
    carries the number of the probe; None: there is none, so that each probe has a copy of the program;
    empty: there always is one. array: its context is an array of all arguments, not the registers.
    trampoline: each program is made for one function. connections: the program where one comes or goes.
    """

    program: str
    cookie: str | None = None
    array: bool = False
    trampoline: bool = False
    connections: str = ""


MECHANISMS = {
    "raw_tracepoint": Mechanism("probe_raw_tracepoint", "raw_tracepoint_cookie", array=True),
    "kprobe": Mechanism("probe_kprobe", "kprobe_cookie", connections="connection_kprobe"),
    "kprobe_multi": Mechanism("probe_kprobe_multi", "", connections="connection_kprobe_multi"),
    "fentry": Mechanism("probe_fentry", array=True, trampoline=True),
    "fexit": Mechanism("", array=True, trampoline=True),
}
# Those at the entry of a function.
ENTRIES = ("kprobe", "kprobe_multi", "fentry")


def of_function(kernel: Kernel, spec: ProbeSpec) -> str:
    """Return the mechanism for the functions of a spec. Raises Unsupported where the kernel lacks it."""
    if spec.type == "fentry":
        _check(kernel, spec, "fentry", " by fentry:", "write func: for whatever works here")
        return "fentry"
    _check(kernel, spec, "kprobe", ": no kprobes here,", "use tracepoints: -p tp:SUBSYSTEM:NAME")
    return kprobe(kernel)


def kprobe(kernel: Kernel) -> str:
    """Return the better of the two mechanisms that are kprobes."""
    return "kprobe_multi" if kernel.features.has("kprobe_multi") else "kprobe"


def _check(kernel: Kernel, spec: ProbeSpec, feature: str, what: str, hint: str) -> None:
    if not kernel.features.has(feature):
        why = kernel.features[feature].why
        raise Unsupported(f"can't probe function {spec.target}{what} {why}", hint)
