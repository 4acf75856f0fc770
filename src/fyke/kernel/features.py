"""What this kernel can do for fyke: each feature, what is lost without it, and the one thing to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fyke.kernel import feature_probes as probe
from fyke.kernel.btf import Btf
from fyke.kernel.feature_probes import Answer, Probes

__all__ = ["FEATURES", "Answer", "Feature", "Features"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing a kernel can or can't do.

    since: the Linux version that brought it, to tell the user; it is never compared with.
    lost: what the user loses without it; fix: the one thing to do. Both are clauses without a full stop.
    needed: no collection is possible without it. part_of: the feature without which it means nothing.
    """

    name: str
    title: str
    ask: Callable[[Probes], Answer]
    since: str
    lost: str
    fix: str
    needed: bool = False
    part_of: str = ""


FEATURES = (
    Feature(
        "bpf",
        "loading BPF programs",
        probe.bpf_programs,
        "4.4",
        "nothing can be collected",
        "run as root, or with the capabilities CAP_BPF and CAP_PERFMON (CAP_SYSLOG for names in stacks)",
        needed=True,
    ),
    # Linux kernel commit 341dfcf8d78e ("btf: expose BTF info through sysfs") (in v5.4).
    Feature(
        "btf",
        "kernel types (BTF)",
        probe.btf,
        "5.4",
        "nothing can be collected: packets can't be found in a function's arguments",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' kernels are",
        needed=True,
    ),
    # Linux kernel commit 9d1f8be5cf42 ("bpf: Restrict bpf when kernel lockdown is in confidentiality mode")
    # (in v5.4).
    Feature(
        "read_memory",
        "reading kernel memory from BPF",
        probe.read_memory,
        "5.5",
        "nothing can be collected: packets can't be read",
        "boot with lockdown=integrity or without lockdown",
        needed=True,
    ),
    # Linux kernel commit 457f44363a88 ("bpf: Implement BPF ring buffer and verifier support for it")
    # (in v5.8).
    Feature(
        "ringbuf",
        "BPF ring buffers",
        probe.ringbuf,
        "5.8",
        "nothing can be collected: there is no way to hand events out of the kernel",
        "use Linux 5.8 or newer",
        needed=True,
    ),
    Feature(
        "libbpf",
        "libbpf",
        probe.libbpf,
        "",
        "nothing can be collected: programs can't be loaded",
        "install it (apt install libbpf1, dnf install libbpf)",
        needed=True,
    ),
    Feature(
        "cpus",
        "the list of CPUs",
        probe.cpus,
        "",
        "nothing can be collected: there is one ring buffer per CPU",
        "mount /sys",
        needed=True,
    ),
    # Linux kernel commit c4f6699dfcb8 ("bpf: introduce BPF_RAW_TRACEPOINT") (in v4.17).
    Feature(
        "raw_tracepoint",
        "tracepoints",
        probe.raw_tracepoint,
        "4.17",
        "tracepoints (-p tp:...) can't be probed, the default probes included",
        "use a kernel built with CONFIG_BPF_EVENTS",
        needed=True,
    ),
    # Linux kernel commit 68ca5d4eebb8 ("bpf: support BPF cookie in raw tracepoint (raw_tp, tp_btf) programs")
    # (in v6.10).
    Feature(
        "raw_tracepoint_cookie",
        "one program for many tracepoints",
        probe.raw_tracepoint_cookie,
        "6.10",
        "each tracepoint needs a program of its own, which takes longer to start",
        "nothing needs to be done; Linux 6.10 or newer is faster",
    ),
    # Linux kernel commit e12f03d7031a ("perf/core: Implement the 'perf_kprobe' PMU") (in v4.17).
    Feature(
        "kprobe",
        "kprobes",
        probe.kprobe,
        "4.17",
        "functions can't be probed (without fentry either); packets are tracked by tracepoints only",
        "use a kernel built with CONFIG_KPROBE_EVENTS",
    ),
    # Linux kernel commit 7adfc6c9b315 ("bpf: Add bpf_get_attach_cookie() BPF helper to access bpf_cookie
    # value") (in v5.15).
    Feature(
        "kprobe_cookie",
        "one program for many kprobes",
        probe.kprobe_cookie,
        "5.15",
        "each kprobe needs a program of its own, which takes longer to start",
        "nothing needs to be done; Linux 5.15 or newer is faster",
        part_of="kprobe",
    ),
    # Linux kernel commit 0dcac2725406 ("bpf: Add multi kprobe link") (in v5.18).
    Feature(
        "kprobe_multi",
        "many kprobes at once (kprobe.multi)",
        probe.kprobe_multi,
        "5.18",
        "functions are probed one by one: wildcards that match hundreds take long",
        "use a kernel built with CONFIG_FPROBE, or probe fewer functions",
    ),
    # Linux kernel commit 33ea4b24277b ("perf/core: Implement the 'perf_uprobe' PMU") (in v4.17).
    Feature(
        "uprobe",
        "probes in user programs (uprobes)",
        probe.uprobe,
        "4.17",
        "user programs can't be probed (-p u:..., -p usdt:...)",
        "use a kernel built with CONFIG_UPROBE_EVENTS",
    ),
    # Linux kernel commit fec56f5890d9 ("bpf: Introduce BPF trampoline") (in v5.5).
    Feature(
        "fentry",
        "fentry and fexit",
        probe.fentry,
        "5.5",
        "functions are probed by kprobe where there are kprobes, which costs more per packet",
        "use a kernel that allows BPF trampolines (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)",
    ),
    # Linux kernel commit a35b9af4ec2c ("bpf: Add a kfunc for generic type cast") (in v6.2).
    Feature(
        "bpf_rdonly_cast",
        "direct reads in programs (bpf_rdonly_cast)",
        probe.rdonly_cast,
        "6.2",
        "each packet costs a little more",
        "nothing needs to be done; Linux 6.2 or newer is faster",
    ),
    # Linux kernel commit 01f810ace9ed ("bpf: Allow variable-offset stack access") (in v5.12).
    Feature(
        "variable_stack_reads",
        "loads at computed places",
        probe.variable_stack_reads,
        "5.12",
        "packet filters that look behind headers of any length cost a little more",
        "nothing needs to be done; Linux 5.12 or newer is faster",
    ),
    # Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was prevented") (in v5.12).
    Feature(
        "recursion_misses",
        "counting of nested probes",
        probe.recursion_misses,
        "5.12",
        "events lost because a probe was hit inside another one are not counted",
        "use Linux 5.12 or newer",
    ),
    # Linux kernel commit 36e68442d1af ("bpf: Load and verify kernel module BTFs") (in v5.11).
    Feature(
        "module_btf",
        "types of modules",
        probe.module_btf,
        "5.11",
        "functions and tracepoints of modules can't be probed",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES",
    ),
    Feature(
        "lockdown",
        "an unlocked kernel",
        probe.lockdown,
        "5.4",
        "the kernel may hide which functions can be probed, and refuse kprobes or fentry",
        "boot without lockdown (it comes with Secure Boot) if that is needed",
    ),
    Feature(
        "tracefs",
        "the list of tracepoints (tracefs)",
        probe.tracefs,
        "4.1",
        "the subsystem in tp:SUBSYSTEM:NAME can't be checked and its wildcards can't be used",
        "mount -t tracefs nodev /sys/kernel/tracing, or give --allow-system-changes",
    ),
    Feature(
        "filter_functions",
        "the list of functions that can be probed",
        probe.filter_functions,
        "4.1",
        "wildcards go by the kernel's types and symbols, so that attaching may refuse a few functions",
        "run as root on a kernel that isn't locked down",
    ),
    Feature(
        "kallsyms",
        "addresses of functions",
        probe.kallsyms,
        "",
        "stack traces show addresses instead of names",
        "run as root (CAP_SYSLOG), with sysctl kernel.kptr_restrict at most 1",
    ),
    # Linux kernel commit c504e5c2f964 ("net: skb: introduce kfree_skb_reason()") (in v5.17).
    Feature(
        "drop_reasons",
        "drop reasons",
        probe.drop_reasons,
        "5.17",
        "drops are shown without the reason",
        "use Linux 5.17 or newer",
    ),
)

_BY_NAME = {feature.name: feature for feature in FEATURES}


class Features:
    """The answers of the running kernel, each asked when it is first needed; unknown is asked again."""

    def __init__(self, read_btf: Callable[[], Btf] = Btf.vmlinux) -> None:
        self._probes = Probes(read_btf)
        self._answers: dict[str, Answer] = {}

    def __getitem__(self, name: str) -> Answer:
        """Ask for a feature by its name. KeyError when there is no such feature."""
        feature = _BY_NAME[name]
        answer = self._answers.get(name)
        if answer is None:
            try:
                answer = feature.ask(self._probes)
            except OSError as error:
                answer = self._probes.answer_for(error)
            except ValueError as error:
                answer = Answer("unknown", str(error))
            if answer.state != "unknown":
                self._answers[name] = answer
        return answer

    def has(self, name: str) -> bool:
        """Say whether the kernel surely has a feature."""
        return bool(self[name])

    def why_not(self, name: str) -> str:
        """Return a sentence that says what is missing and why, for an error message."""
        feature, answer = _BY_NAME[name], self[name]
        return f"{feature.title}: {answer.why or 'not here'}; {feature.lost}"

    def fix(self, name: str) -> str:
        """Return the one thing to do when a feature is missing."""
        return _BY_NAME[name].fix
