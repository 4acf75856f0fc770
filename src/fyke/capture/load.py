"""A plan -> programs and maps in the kernel, nothing attached yet."""

from __future__ import annotations

import mmap
import os
import platform
import resource
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources

import numpy as np
import numpy.typing as npt

from fyke.capture import libbpf, marks, ovs_user
from fyke.capture.autoprobe import any_function
from fyke.capture.filters import FilterCode, compile_filters
from fyke.capture.kernel import Kernel
from fyke.capture.layout import RecordLayout, read_layout, struct_dtype
from fyke.capture.libbpf_log import Log
from fyke.capture.mechanisms import MECHANISMS
from fyke.capture.names import MOST_NAMES
from fyke.capture.plan import Plan
from fyke.capture.planned import PlannedProbe
from fyke.capture.settings import probe_config, set_rodata
from fyke.capture.slots import fill_slots
from fyke.capture.user_probes import place_config
from fyke.collectors.ct.events import CONNECTS
from fyke.collectors.skb_tracking import probes as tracking
from fyke.errors import RunError, Unsupported
from fyke.kernel import syscall_bpf
from fyke.kernel.bpf_programs import BpfProgram
from fyke.kernel.btf import Btf
from fyke.kernel.rights import needs_root

# what tracking looks at returns for: its enumerators in enum exit_id, and programs without `exit_`
EXITS = tuple(e.exit for e in (*tracking.EXITS, tracking.COPY_EXIT))
PROGRAMS = tuple(
    dict.fromkeys(
        (
            *(name for how in MECHANISMS.values() for name in how.programs),
            *(f"exit_{name}" for name in EXITS),
        )
    )
)
_NAMING = {"nft"}  # sections with numbers of names


def object_image() -> bytes:
    """Return the BPF object for this machine's architecture. Raises Unsupported when the package has none."""
    machine = platform.machine()
    path = resources.files("fyke.bpf") / "objects" / f"fyke.{machine}.bpf.o"
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Unsupported(
            f"this installation has no BPF object for {machine}",
            "build it with `make bpf`, or install the package",
        ) from None


def plan_layout(plan: Plan) -> RecordLayout:
    """Return the record layout of a plan; opens the object, loads nothing, needs no root."""
    opened = libbpf.Object(object_image())
    try:
        return read_layout(Btf.parse(opened.btf()), plan.sections, plan.snaplen)
    finally:
        opened.close()


def plan_filter_code(plan: Plan, kernel: Kernel) -> FilterCode:
    """Return the compiled filters of a plan. Raises UsageError for one that has no room in the object."""
    reads = bool(plan.filters) and kernel.features.has("variable_stack_reads")
    return compile_filters(plan.filters, object_image(), variable_stack_reads=reads)


@dataclass(frozen=True)
class _Maps:
    probes: int
    counters: int
    rings: int
    tracking: int
    stacks: int
    names: int


class Loaded:
    """Programs and maps of one collection; `close()` takes them all away.

    layout: the record's. ring_fds: one per CPU. maps: descriptors of the object's maps.
    counters: live view of `struct counters`, shape (`plan.probe_room`, cpus).
    programs: descriptor of each program in use -> mechanism, and the symbol when it is at one probe only.
    looks: whether probes take stacks for `capture/adding.py` to look at.
    """

    def __init__(self, plan: Plan, kernel: Kernel) -> None:
        self.plan = plan
        self.cookie = {
            name: how.cookie is not None and (not how.cookie or kernel.features.has(how.cookie))
            for name, how in MECHANISMS.items()
        }
        self._kernel = kernel
        self.looks = bool(plan.adds)
        self._machine = platform.machine()
        self._owned_fds: list[int] = []
        self._module_fds: dict[str, int] = {}
        self._at_program_fds: dict[int, int] = {}
        self.programs: dict[int, tuple[str, str | None]] = {}
        _raise_limits()
        with libbpf.collected_log() as log:
            try:
                self._filters = plan_filter_code(plan, kernel)
                image = marks.empty(object_image(), _templates(plan, self.cookie))
                self._own_bytes = marks.own_bytes(image)
                self._object = libbpf.Object(fill_slots(image, self._filters.slots))
            except OSError as e:
                raise _load_error(e, log) from e
            try:
                self._prepare(kernel)
                self._object.load()
                self._fill()
            except OSError as e:
                self.close()
                raise _load_error(e, log) from e
            except BaseException:
                self.close()
                raise

    def _prepare(self, kernel: Kernel) -> None:
        plan, opened = self.plan, self._object
        self._btf = Btf.parse(opened.btf())
        self.layout = read_layout(self._btf, plan.sections, plan.snaplen)
        rodata = opened.data(".rodata")
        set_rodata(rodata, self._btf, plan, self.layout, kernel, self._filters, self.cookie)
        first: dict[str, PlannedProbe] = {}
        for probe in plan.probes:
            first.setdefault(probe.program, probe)
            if probe.is_return:
                first.setdefault(probe.entry_program, probe)
        if plan.adds:
            first.setdefault(MECHANISMS[plan.adds].program, any_function(plan.adds))
        if plan.ovs_track:
            first.setdefault(ovs_user.ANY_DAEMON.program, ovs_user.ANY_DAEMON)
            if not ovs_user.no_functions(kernel):
                first.setdefault(ovs_user.ANY_BATCH.program, ovs_user.ANY_BATCH)
        for name in PROGRAMS:
            opened.program(name).set_autoload(name in first)
        for name, probe in first.items():
            if MECHANISMS[probe.mechanism].trampoline and not probe.exit:
                self._set_attach_target(opened.program(name), probe)
        opened.set_max_entries("probes", plan.probe_room)
        opened.set_max_entries("counters", plan.probe_room * plan.cpus)
        opened.set_max_entries("rings", plan.cpus)
        opened.set_max_entries("tracking", plan.tracking_entries if plan.tracking else 1)
        opened.set_max_entries("connections", plan.connections.noted_entries)
        opened.set_max_entries("names", MOST_NAMES if _NAMING & set(plan.sections) else 1)
        opened.set_max_entries("calls", plan.call_entries if plan.any_return else 1)
        opened.set_max_entries("user_places", plan.probe_room if plan.any_user else 1)
        for name, entries in ovs_user.ENTRIES.items():
            opened.set_max_entries(name, entries if plan.ovs_track else 1)
        opened.set_max_entries("stacks", plan.stack_entries if plan.any_stack else 1)
        self.ring_fds = [
            self._own(libbpf.create_ring(f"fyke_ring_{cpu}", size))
            for cpu, size in enumerate(plan.ring_sizes)
        ]
        opened.set_inner_map("rings", self.ring_fds[0])

    def _set_attach_target(self, program: libbpf.Program, probe: PlannedProbe) -> None:
        if probe.at_program:
            program.set_attach_target(probe.at_program.name, self._at_program_fd(probe.at_program))
        else:
            program.set_attach_target(probe.symbol)

    def _at_program_fd(self, program: BpfProgram) -> int:
        """Return a descriptor of a program that is probed. FileNotFoundError when it is gone."""
        if program.id not in self._at_program_fds:
            self._at_program_fds[program.id] = self._own(syscall_bpf.program_fd(program.id))
        return self._at_program_fds[program.id]

    def _fill(self) -> None:
        opened = self._object
        self.maps = _Maps(*(opened.map_fd(field.name) for field in fields(_Maps)))
        for cpu, fd in enumerate(self.ring_fds):
            libbpf.update_element(self.maps.rings, struct.pack("=I", cpu), struct.pack("=I", fd))
        for number in range(len(self.plan.probes)):
            self.configure(number)
        dtype = struct_dtype(self._btf, "counters")
        count = self.plan.probe_room * self.plan.cpus
        mapping = mmap.mmap(self.maps.counters, count * dtype.itemsize, mmap.MAP_SHARED, mmap.PROT_READ)
        flat: npt.NDArray[np.void] = np.frombuffer(mapping, dtype, count)
        self.counters = flat.reshape(self.plan.probe_room, self.plan.cpus)
        self.tracked_dtype = struct_dtype(self._btf, "tracked")

    def configure(self, number: int) -> None:
        """Tell the programs what is to be done at a probe."""
        probe = self.plan.probes[number]
        if self.looks and not (probe.connection or probe.user):
            probe = replace(probe, flags=probe.flags | {"LOOK"})
        config = probe_config(probe, self._btf, self.layout, self.plan.filters.roots, self._machine)
        if probe.user:
            place = place_config(probe.user, self._btf)
            libbpf.update_element(self._object.map_fd("user_places"), struct.pack("=I", number), place)
        libbpf.update_element(self.maps.probes, struct.pack("=I", number), config)

    def _own(self, fd: int) -> int:
        self._owned_fds.append(fd)
        return fd

    def program_fd(self, number: int) -> int:
        """Return the program to attach at a probe: a shared one, or a copy that knows the probe's number."""
        probe = self.plan.probes[number]
        if probe.exit:
            fd = self._object.program(probe.program).fd
            self.programs[fd] = (probe.mechanism, probe.symbol)
            return fd
        # What a return's program misses is counted as a return that was missed.
        return self._program_fd(number, probe.program, count=not probe.is_return)

    def entry_fd(self, number: int) -> int:
        """Return the program to attach at the entry of a function whose return is probed."""
        return self._program_fd(number, self.plan.probes[number].entry_program, count=True)

    def _program_fd(self, number: int, name: str, *, count: bool) -> int:
        """Return a program for a probe. count: the kernel's counters of it are to be looked at."""
        probe, program = self.plan.probes[number], self._object.program(name)
        fd, symbol = program.fd, None
        if not self.cookie[probe.mechanism]:
            collects = bool(probe.sections) or CONNECTS.flag in probe.flags
            sections = sum(1 << self.layout.bits[section] for section in probe.sections)
            code = marks.replaced(
                program.instructions(), self._own_bytes[name], number, collects=collects, sections=sections
            )
            fd, symbol = self._own(program.load_copy(code, *self._target(number))), probe.symbol
        if count:
            self.programs.setdefault(fd, (probe.mechanism, symbol))
        return fd

    def calls(self) -> dict[int, int]:
        """Return number of a probe -> calls of its function whose return wasn't seen yet."""
        if not self.plan.any_return:
            return {}
        key, value = struct_dtype(self._btf, "call_key"), struct_dtype(self._btf, "call")
        keys, _, count = libbpf.elements(
            self._object.map_fd("calls"), key.itemsize, value.itemsize, self.plan.call_entries
        )
        numbers, counts = np.unique(np.frombuffer(keys, key, count)["probe"], return_counts=True)
        return {int(number): int(n) for number, n in zip(numbers, counts, strict=True)}

    def _target(self, number: int) -> tuple[int, int]:
        """Return the function of a trampoline: type id, and a descriptor of its module's types (or 0).

        Of a function of a BPF program: type id and the program's descriptor, which the kernel takes in that
        place.
        """
        probe = self.plan.probes[number]
        if probe.at_program:
            return probe.at_program.type_id, self._at_program_fd(probe.at_program)
        if not MECHANISMS[probe.mechanism].trampoline or probe.exit:
            return 0, 0
        target = self._kernel.function_type(probe.symbol)
        assert target is not None, "planned, so its arguments are known"
        module, type_id = target
        if module and module not in self._module_fds:
            self._module_fds[module] = self._own(syscall_bpf.btf_fd(module))
        return type_id, self._module_fds.get(module, 0)

    def enable(self, on: bool) -> None:
        """Let events flow, or stop them, at all probes at once."""
        variable = self._btf.variables(".bss")["enabled"]
        data = bytearray(self._object.data(".bss"))
        data[variable.offset] = on
        libbpf.update_element(self._object.map_fd(".bss"), struct.pack("=I", 0), bytes(data))

    def close(self) -> None:
        """Free everything; what was attached must be detached before. The counters stay readable until
        the last view of them goes."""
        for fd in self._owned_fds:
            os.close(fd)
        self._owned_fds.clear()
        self._object.close()


def _templates(plan: Plan, cookie: Mapping[str, bool]) -> set[str]:
    """Return the programs of which each probe has a copy. cookie: mechanism -> whether probes share one."""
    copied = [probe for probe in plan.probes if not probe.exit and not cookie[probe.mechanism]]
    added = {MECHANISMS[plan.adds].program} if plan.adds and not cookie[plan.adds] else set()
    return {name for probe in copied for name in (probe.program, probe.entry_program) if name} | added


def _raise_limits() -> None:
    """Allow as many descriptors as we may: kprobes one by one take two each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _load_error(error: OSError, log: Log) -> RunError | Unsupported:
    if error.errno in (1, 13):  # EPERM, EACCES
        if os.geteuid() != 0:
            return needs_root()
        if not log.summary():
            return Unsupported("the kernel doesn't permit loading BPF programs here", "see `fyke doctor`")
    said = f": {log.summary()}" if log.summary() else ""
    return RunError(
        f"the kernel refused the BPF programs ({error.strerror or error}){said}",
        "see `fyke doctor`, and report this",
    )
