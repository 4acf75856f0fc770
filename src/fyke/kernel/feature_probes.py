"""How each feature is asked of the kernel: by trying it, never by the kernel's version.

What is made here is closed again. Attaching is tried on `bpf_fentry_test1`, a function that kernels have for
nothing but such tests, or by a name that can't exist, so that nothing real is ever traced.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from fyke.kernel import syscall_bpf as bpf
from fyke.kernel import tracepoints
from fyke.kernel.btf import Btf
from fyke.kernel.machine import possible_cpus
from fyke.kernel.pseudofs import read_file
from fyke.kernel.syscalls import number_of, syscall

State = Literal["yes", "no", "unknown"]

_TEST_FUNCTION = "bpf_fentry_test1"
_NOWHERE = "fyke_no_such_name"
_DEVICES = Path("/sys/bus/event_source/devices")
_GET_SMP_PROCESSOR_ID, _GET_ATTACH_COOKIE, _PROBE_READ_KERNEL = 8, 174, 113
_DENIED = (errno.EPERM, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel answered: yes, no or unknown, with the reason or a detail (no full stop)."""

    state: State
    why: str = ""

    def __bool__(self) -> bool:
        """True for yes."""
        return self.state == "yes"


YES = Answer("yes")


class Probes:
    """Asks the running kernel. What several probes need (privileges, BTF) is found out once."""

    def __init__(self, read_btf: Callable[[], Btf] = Btf.vmlinux) -> None:
        self._read_btf = read_btf

    @cached_property
    def vmlinux(self) -> Btf:
        """The kernel's BTF. OSError, ValueError."""
        return self._read_btf()

    @cached_property
    def may_load(self) -> Answer:
        """Whether this process may load tracing programs at all."""
        try:
            os.close(bpf.prog_load(bpf.PROG_TYPE_RAW_TRACEPOINT, bpf.RETURN_0))
        except OSError as error:
            if error.errno == errno.ENOSYS:
                return Answer("no", error.strerror or "this kernel has no bpf(2)")
            if error.errno in _DENIED and os.geteuid() != 0:
                return Answer("no", "this user may not load BPF programs")
            return Answer("no", f"even root may not load BPF programs here ({error.strerror})")
        return YES

    @cached_property
    def _locked(self) -> str:
        try:
            mode = lockdown_mode()
        except OSError:
            mode = "none"
        return "" if mode == "none" else f" (it is locked down, {mode})"

    def answer_for(self, error: OSError) -> Answer:
        """Judge a failure: no privilege tells nothing, a refusal in spite of it means no."""
        if error.errno in _DENIED:
            if not self.may_load:
                return Answer("unknown", "root is needed to tell")
            return Answer("no", f"the kernel refuses it{self._locked}")
        # 524 is ENOTSUPP, which the kernel should not show to users but does.
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.E2BIG, 524):
            return Answer("no", "this kernel doesn't have it")
        return Answer("unknown", str(error.strerror or error))


@contextmanager
def _loaded(
    prog_type: int, code: bytes = bpf.RETURN_0, attach_type: int = 0, btf_id: int = 0
) -> Iterator[int]:
    fd = bpf.prog_load(prog_type, code, attach_type=attach_type, attach_btf_id=btf_id)
    try:
        yield fd
    finally:
        os.close(fd)


def bpf_programs(probes: Probes) -> Answer:
    """Try to load the smallest tracing program."""
    return probes.may_load


def read_memory(probes: Probes) -> Answer:
    """Load a program that reads kernel memory; lockdown=confidentiality takes that helper away."""
    code = (
        bpf.instruction(0xBF, dst=3, src=1)
        + bpf.instruction(0xBF, dst=1, src=10)
        + bpf.instruction(0x07, dst=1, imm=-8)
        + bpf.instruction(0xB7, dst=2, imm=8)
        + bpf.call_helper(_PROBE_READ_KERNEL)
    )
    with _loaded(bpf.PROG_TYPE_RAW_TRACEPOINT, code):
        return YES


def btf(probes: Probes) -> Answer:
    """Parse the kernel's own types."""
    try:
        return Answer("yes", f"{probes.vmlinux.end_id - 1} types")
    except FileNotFoundError:
        return Answer("no", "the kernel was built without it")
    except PermissionError:
        return Answer("unknown", "/sys/kernel/btf/vmlinux can't be read by this user")
    except ValueError as error:
        return Answer("no", str(error))


def module_btf(probes: Probes) -> Answer:
    """Look for types of modules."""
    count = len(probes.vmlinux.modules())
    if count:
        return Answer("yes", f"{count} modules")
    try:
        modules = Path("/proc/modules").read_text()
    except FileNotFoundError:
        return Answer("yes", "this kernel has no modules")
    if modules:
        return Answer("no", "modules are loaded, none of them with types")
    return Answer("unknown", "no module is loaded")


def ringbuf(probes: Probes) -> Answer:
    """Create a ring buffer."""
    os.close(bpf.map_create(bpf.MAP_TYPE_RINGBUF, 0, 0, os.sysconf("SC_PAGE_SIZE")))
    return YES


def raw_tracepoint(probes: Probes) -> Answer:
    """Attach to a tracepoint that doesn't exist: not found is as good as attached."""
    with _loaded(bpf.PROG_TYPE_RAW_TRACEPOINT) as prog:
        return _attached(lambda: bpf.raw_tracepoint_open(prog, _NOWHERE), errno.ENOENT)


def raw_tracepoint_cookie(probes: Probes) -> Answer:
    """Attach with a cookie to a tracepoint that doesn't exist."""
    with _loaded(bpf.PROG_TYPE_RAW_TRACEPOINT) as prog:
        return _attached(lambda: bpf.raw_tracepoint_open(prog, _NOWHERE, cookie=1), errno.ENOENT)


def kprobe(probes: Probes) -> Answer:
    """Open a perf event on a function that doesn't exist."""
    return _perf("kprobe", _NOWHERE)


def uprobe(probes: Probes) -> Answer:
    """Open a perf event in a file that doesn't exist."""
    return _perf("uprobe", f"/proc/self/{_NOWHERE}")


def _perf(kind: str, where: str) -> Answer:
    try:
        pmu = int((_DEVICES / kind / "type").read_text())
    except FileNotFoundError:
        return Answer("no", f"the kernel was built without CONFIG_{kind.upper()}_EVENTS")
    name = ctypes.create_string_buffer(where.encode())
    attr = ctypes.create_string_buffer(112)
    # struct perf_event_attr: type, size; config1 is the name of a function or file for these types.
    struct.pack_into("<II", attr, 0, pmu, len(attr))
    struct.pack_into("<Q", attr, 56, ctypes.addressof(name))
    # perf_event_open(attr, pid, cpu, group_fd, flags); a function that doesn't exist is looked up last.
    return _attached(lambda: syscall(number_of("perf_event_open"), attr, -1, 0, -1, 8), errno.ENOENT)


def kprobe_cookie(probes: Probes) -> Answer:
    """Load a kprobe program that asks for its cookie."""
    with _loaded(bpf.PROG_TYPE_KPROBE, bpf.call_helper(_GET_ATTACH_COOKIE)):
        return YES


def kprobe_multi(probes: Probes) -> Answer:
    """Attach to the test function, as loading tells nothing."""
    # The program loads on kernels that refuse to attach it (Debian 6.1, without CONFIG_FPROBE).
    with _loaded(bpf.PROG_TYPE_KPROBE, attach_type=bpf.TRACE_KPROBE_MULTI) as prog:
        return _attached(lambda: bpf.link_create_kprobe_multi(prog, [_TEST_FUNCTION], [1]), errno.ESRCH)


def fentry(probes: Probes) -> Answer:
    """Attach to the test function."""
    btf_id = probes.vmlinux.find("func", _TEST_FUNCTION)
    if btf_id is None:
        return Answer("unknown", f"the kernel has no {_TEST_FUNCTION} to try it on")
    with _loaded(bpf.PROG_TYPE_TRACING, attach_type=bpf.TRACE_FENTRY, btf_id=btf_id) as prog:
        return _attached(lambda: bpf.raw_tracepoint_open(prog, None))


def rdonly_cast(probes: Probes) -> Answer:
    """Look for the kfunc."""
    return _in_btf(probes.vmlinux.find("func", "bpf_rdonly_cast"))


def variable_stack_reads(probes: Probes) -> Answer:
    """Load a program that loads from its stack at an offset that is known only when it runs."""
    code = (
        bpf.instruction(0x7A, dst=10, offset=-16)  # *(u64 *)(r10 - 16) = 0
        + bpf.instruction(0x7A, dst=10, offset=-8)
        + bpf.instruction(0x85, imm=_GET_SMP_PROCESSOR_ID)
        + bpf.instruction(0x57, dst=0, imm=7)  # r0 &= 7
        + bpf.instruction(0xBF, dst=1, src=10)
        + bpf.instruction(0x0F, dst=1, src=0)  # r1 += r0
        + bpf.instruction(0x71, dst=0, src=1, offset=-16)  # r0 = *(u8 *)(r1 - 16)
    )
    with _loaded(bpf.PROG_TYPE_RAW_TRACEPOINT, code + bpf.RETURN_0):
        return YES


def recursion_misses(probes: Probes) -> Answer:
    """Ask how long the kernel's bpf_prog_info is."""
    with _loaded(bpf.PROG_TYPE_RAW_TRACEPOINT) as prog:
        counted = bpf.prog_info(prog).recursion_misses is not None
    return YES if counted else Answer("no", "this kernel doesn't count them")


def lockdown(probes: Probes) -> Answer:
    """Read the lockdown mode."""
    mode = lockdown_mode()
    return YES if mode == "none" else Answer("no", f"this one is locked down ({mode})")


def lockdown_mode() -> str:
    """Return `none`, `integrity` or `confidentiality`. OSError when it can't be told."""
    try:
        text = read_file("securityfs", "lockdown").decode(errors="replace")
    except FileNotFoundError:
        return "none"
    return text.partition("[")[2].partition("]")[0]


def tracefs(probes: Probes) -> Answer:
    """Read the list of events."""
    tracepoints.available_events()
    return Answer("yes", "mounted" if tracepoints.is_mounted() else "not mounted, but readable without")


def filter_functions(probes: Probes) -> Answer:
    """Read the list of functions that ftrace can trace."""
    try:
        return Answer("yes", f"{len(tracepoints.available_filter_functions())} functions")
    except FileNotFoundError:
        return Answer("no", "the kernel was built without CONFIG_DYNAMIC_FTRACE")


def kallsyms(probes: Probes) -> Answer:
    """See whether addresses are hidden: all of them are, or none, so that the first lines tell."""
    try:
        with open("/proc/kallsyms", "rb") as file:
            lines = file.readlines(4096)
    except FileNotFoundError:
        return Answer("no", "the kernel was built without CONFIG_KALLSYMS")
    if any(line[:16].strip(b"0") for line in lines):
        return YES
    return Answer("no", "addresses are hidden (kernel.kptr_restrict)")


def libbpf(probes: Probes) -> Answer:
    """Open the library."""
    try:
        library = ctypes.CDLL("libbpf.so.1")
        library.libbpf_version_string.restype = ctypes.c_char_p
        return Answer("yes", str(library.libbpf_version_string().decode()))
    except (OSError, AttributeError):
        return Answer("no", "libbpf.so.1 isn't installed")


def drop_reasons(probes: Probes) -> Answer:
    """Look for the reasons' enum."""
    return _in_btf(probes.vmlinux.find("enum", "skb_drop_reason"))


def cpus(probes: Probes) -> Answer:
    """Read the list of possible CPUs."""
    return Answer("yes", f"{len(possible_cpus())} possible CPUs")


def _attached(attach: Callable[[], int], passed: int = 0) -> Answer:
    """Attach and detach; the errno `passed` means that only the target was missing, so all else works."""
    try:
        os.close(attach())
    except OSError as error:
        if error.errno != passed:
            raise
    return YES


def _in_btf(type_id: int | None) -> Answer:
    return Answer("no", "this kernel doesn't have it") if type_id is None else YES
