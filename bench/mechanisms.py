"""What each way to probe a function costs whoever calls it: CPU time of a process past an empty program.

BPF statistics can't tell: they leave out the trap, which is what mechanisms differ in. A packet takes too
long, and too unevenly, to show it; so the function is one of a system call that does next to nothing.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.report import Line, spread
from bench.wire import compiled, run, wire
from fyke.capture import perf
from fyke.kernel import syscall_bpf as bpf
from fyke.kernel.view import LiveKernel

FUNCTION = {"x86_64": "__x64_sys_getpgid", "aarch64": "__arm64_sys_getpgid"}[platform.machine()]
Attach = Callable[[LiveKernel], list[int]]


def measure(*, quick: bool) -> Iterator[Line]:
    """Call with each mechanism in turn, several times; the least counts, as what disturbs only adds."""
    kernel = LiveKernel()
    ways = {name: attach for name, (feature, attach) in MECHANISMS.items() if kernel.features.has(feature)}
    if not ways:
        yield Line("not measured: this kernel can't probe functions", 0, "ns")
        return
    rounds, calls = (1, 20_000) if quick else (25, 200_000)
    costs: dict[str, list[float]] = defaultdict(list)
    with compiled("calls") as program:
        for _ in range(rounds):
            costs["nothing"].append(_per_call(program, calls))
            for name, attach in ways.items():
                with attached(attach, kernel):
                    costs[name].append(_per_call(program, calls))
    with wire() as net:
        packet = [net.send(calls // 10).cpu_seconds * 1e9 / (calls // 10) for _ in range(3)]
    yield Line("a packet, nothing attached", min(packet), "ns", note=spread(packet))
    before = costs.pop("nothing")
    yield Line("a call, nothing attached", min(before), "ns", note=spread(before))
    for name, found in costs.items():
        yield Line(f"{name}, a hit", min(found) - min(before), "ns", note=f"a call: {spread(found)}")


def _per_call(program: str, calls: int) -> float:
    return float(run(program, str(calls))) * 1e9 / calls


@contextmanager
def attached(attach: Attach, kernel: LiveKernel) -> Iterator[None]:
    """Have an empty program at the function."""
    fds = attach(kernel)
    try:
        yield
    finally:
        for fd in reversed(fds):
            os.close(fd)


def _kprobe(_kernel: LiveKernel) -> list[int]:
    program = bpf.prog_load(bpf.PROG_TYPE_KPROBE, bpf.RETURN_0)
    event = perf.open_kprobe(FUNCTION, 0)
    link = perf.attach(event, program, None)
    return [program, event] if link is None else [program, event, link]


def _kprobe_multi(_kernel: LiveKernel) -> list[int]:
    program = bpf.prog_load(bpf.PROG_TYPE_KPROBE, bpf.RETURN_0, attach_type=bpf.TRACE_KPROBE_MULTI)
    return [program, bpf.link_create_kprobe_multi(program, [FUNCTION])]


def _fentry(kernel: LiveKernel) -> list[int]:
    target = kernel.function_type(FUNCTION)
    assert target
    tracing, fentry = bpf.PROG_TYPE_TRACING, bpf.TRACE_FENTRY
    program = bpf.prog_load(tracing, bpf.RETURN_0, attach_type=fentry, attach_btf_id=target[1])
    return [program, bpf.raw_tracepoint_open(program, None)]


# name -> the feature it needs, what attaches
MECHANISMS: dict[str, tuple[str, Attach]] = {
    "kprobe": ("kprobe", _kprobe),
    "kprobe.multi": ("kprobe_multi", _kprobe_multi),
    "fentry": ("fentry", _fentry),
}
