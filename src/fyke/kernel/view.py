"""The running kernel as planning a collection sees it: what exists, what can be probed, what it takes.

Everything is read on first use and needs no more than the right to read. Where a source is missing (tracefs,
symbols), the next best one answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from fyke.errors import Unsupported
from fyke.kernel import absent, tracepoints
from fyke.kernel.bpf_programs import BpfProgram, loaded_programs
from fyke.kernel.btf import Btf, Prototype
from fyke.kernel.features import Features
from fyke.kernel.kallsyms import Kallsyms
from fyke.kernel.machine import has_module
from fyke.kernel.patterns import matcher
from fyke.kernel.return_type import ReturnType, return_type

_T = TypeVar("_T")


@dataclass(frozen=True)
class Sources:
    """Where the facts come from: functions that read them, each raising OSError when it can't."""

    vmlinux: Callable[[], Btf] = Btf.vmlinux
    modules: Callable[[Btf], Mapping[str, Btf]] = Btf.modules
    kallsyms: Callable[[], Kallsyms] = Kallsyms.read
    events: Callable[[], frozenset[str]] = tracepoints.available_events
    functions: Callable[[], dict[str, str]] = tracepoints.available_filter_functions
    blacklist: Callable[[], frozenset[str]] = tracepoints.kprobe_blacklist
    has_module: Callable[[str], bool] = has_module
    bpf_programs: Callable[[], Sequence[BpfProgram]] = loaded_programs
    module_exporting: Callable[[str], str | None] = absent.module_exporting


class LiveKernel:
    """A kernel; implements what collectors may ask (KernelView) and what planning needs beside."""

    def __init__(self, sources: Sources | None = None) -> None:
        self._sources = sources or Sources()
        self.features = Features(lambda: self.vmlinux)

    # What collectors ask

    def has_type(self, kind: str, name: str) -> bool:
        """Say whether BTF has `struct`, `enum` or `typedef` NAME, in the kernel or a loaded module."""
        return any(btf.find(kind, name) is not None for btf in self.btfs())

    def has_function(self, name: str) -> bool:
        """Say whether a function can be probed by this name."""
        there = self.symbols.is_function(name) if self.symbols else self.function_type(name) is not None
        traceable = self.filter_functions is None or name in self.filter_functions
        return there and traceable and self._may_kprobe(name)

    def has_tracepoint(self, name: str) -> bool:
        """Say whether a tracepoint (bare name) exists."""
        return self._tracepoint_btf(name) is not None

    def has_module(self, name: str) -> bool:
        """Say whether a module that has parameters is loaded, or built in."""
        return self._sources.has_module(name)

    def enum(self, name: str) -> dict[int, str]:
        """Return value -> enumerator of an enum of the kernel or a loaded module; empty without it."""
        return next((values for btf in self.btfs() if (values := btf.enum(name))), {})

    # What functions and tracepoints take

    def function_params(self, name: str) -> list[str] | None:
        """Return the types of a function's parameters, spelled in C; None when BTF lacks the function."""
        prototype = self.function_prototype(name)
        return None if prototype is None else [param.type for param in prototype.params]

    def function_prototype(self, name: str) -> Prototype | None:
        """Return what a function of the kernel or a module takes and returns; None when unknown."""
        found = self.function_type(name)
        return None if found is None else self._btf(found[0]).prototype(name)

    def function_return(self, name: str) -> ReturnType | None:
        """Return what a function returns, None when that is nothing (or more than a number), or not known."""
        found = self.function_type(name)
        return None if found is None else return_type(self._btf(found[0]), name)

    def function_slots(self, name: str) -> tuple[int, ...]:
        """Return where each parameter begins among the 8-byte words they are passed in, and their number."""
        found = self.function_type(name)
        return (0,) if found is None else self._btf(found[0]).argument_slots(name)

    def function_type(self, name: str) -> tuple[str, int] | None:
        """Return (module, type id) of a function, for attaching fentry; the kernel itself is module ``."""
        type_id = self.vmlinux.find("func", name)
        if type_id is not None:
            return "", type_id
        # Symbols tell the module at once; without them all modules are searched.
        module = self.symbols.module(name)
        for candidate in [module] if module else self.modules:
            try:
                type_id = self.modules[candidate].find("func", name)
            except (KeyError, OSError, ValueError):
                continue
            if type_id is not None:
                return candidate, type_id
        return None

    def module_of(self, name: str) -> str:
        """Return the module that a function is in, empty for the kernel itself and where nobody knows."""
        return self.symbols.module(name) or ""

    def functions_taking(self, types: Iterable[str]) -> frozenset[str]:
        """Return all functions, modules' included, with a parameter of one of these types."""
        types = list(types)
        return frozenset(name for btf in self.btfs() for name in btf.functions_taking(*types))

    def tracepoint_params(self, name: str) -> list[str] | None:
        """Return the types of what a tracepoint (bare name) passes; None without the tracepoint."""
        prototype = self.tracepoint_prototype(name)
        return None if prototype is None else [param.type for param in prototype.params]

    def tracepoint_prototype(self, name: str) -> Prototype | None:
        """Return what a tracepoint (bare name) passes; None without the tracepoint."""
        btf = self._tracepoint_btf(name)
        return None if btf is None else btf.tracepoint_prototype(name)

    # What can be probed

    def match_functions(self, pattern: str) -> list[str]:
        """Return the functions that can be probed and match a pattern with `*` wildcards, sorted."""
        if "*" not in pattern:
            return [pattern] if self.has_function(pattern) else []
        matches = matcher(pattern)
        if self.filter_functions is not None:
            return sorted(name for name in self.filter_functions if matches(name) and self._may_kprobe(name))
        known = {name for btf in self.btfs() for name in btf.functions() if matches(name)}
        symbols = self.symbols
        return sorted(
            name for name in known if self._may_kprobe(name) and (not symbols or symbols.is_function(name))
        )

    def match_tracepoints(self, pattern: str) -> list[str]:
        """Return the tracepoints (`subsystem:name`) that match a pattern with `*` wildcards, sorted.

        A pattern without `:` is matched with the name alone. Without tracefs the subsystem is believed; a
        wildcard then raises Unsupported, since `net:*` would mean every tracepoint.
        """
        if "*" not in pattern:
            return self._exact_tracepoint(pattern)
        if self._events is None:
            raise Unsupported(
                f"tracepoints can't be matched with {pattern}: their list (tracefs) can't be read",
                self.features.fix("tracefs"),
            )
        matches = matcher(pattern if ":" in pattern else "*:" + pattern)
        # Events of system calls and of other tracers are in the list too; they can't be attached to.
        return sorted(
            event
            for event in self._events
            if matches(event) and self.has_tracepoint(event.rpartition(":")[2])
        )

    def _exact_tracepoint(self, wanted: str) -> list[str]:
        name = wanted.rpartition(":")[2]
        if not self.has_tracepoint(name):
            return []
        known = self.events_named(name)
        if wanted in known or not known:  # some tracepoints have no event, and so no known subsystem
            return [wanted]
        return known[:1] if ":" not in wanted else []

    def events_named(self, name: str) -> list[str]:
        """Return the events (`subsystem:name`) of a bare name, sorted; none where tracefs can't be read."""
        end = ":" + name
        return sorted(event for event in self._events or () if event.endswith(end))

    def tracepoints(self) -> list[str]:
        """Return every tracepoint as `subsystem:name`, sorted.

        Where tracefs can't be read, subsystems are as Linux has them, `unknown` for those not of networking.
        """
        names = self._tracepoints | self._module_tracepoints.keys()
        if self._events is not None:
            return sorted(event for event in self._events if event.rpartition(":")[2] in names)
        return sorted(f"{tracepoints.usual_subsystem(name)}:{name}" for name in names)

    # What can't be

    def why_no_tracepoint(self, wanted: str) -> str | None:
        """Return why a tracepoint (`subsystem:name`, no wildcards) can't be probed, None when it can."""
        return absent.why_no_tracepoint(self, wanted)

    def why_no_function(self, name: str) -> str | None:
        """Return why a function can't be probed by name (no full stop), None when it can."""
        return absent.why_no_function(self, name)

    def near(self, name: str, count: int = 3) -> list[str]:
        """Return names like this one, of tracepoints when it has a `:`, else of functions; best first."""
        return absent.near(self, name, count)

    def module_with(self, name: str) -> str | None:
        """Return the module, loaded or not, that offers a function to others; None when that isn't known."""
        return _or_none(lambda: self._sources.module_exporting(name))

    # Sources

    @cached_property
    def vmlinux(self) -> Btf:
        """The kernel's own types. Raises Unsupported when they can't be read."""
        try:
            return self._sources.vmlinux()
        except (OSError, ValueError) as error:
            hint = "use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' kernels are"
            raise Unsupported(f"the kernel's types (BTF) can't be read: {error}", hint) from None

    @property
    def bpf_programs(self) -> Sequence[BpfProgram]:
        """The XDP and TC programs that are loaded now. Raises OSError when they can't be listed."""
        return self._sources.bpf_programs()

    @cached_property
    def modules(self) -> Mapping[str, Btf]:
        """The types of each loaded module."""
        return self._sources.modules(self.vmlinux)

    @cached_property
    def symbols(self) -> Kallsyms:
        """The kernel's symbols; empty when there are none."""
        try:
            return self._sources.kallsyms()
        except OSError:
            return Kallsyms(b"")

    def read_symbols_again(self) -> Kallsyms:
        """Read the symbols anew, after programs were loaded or modules came."""
        self.__dict__.pop("symbols", None)
        return self.symbols

    def forget(self, *, symbols: bool) -> None:
        """Let go of what planning has looked up, tens of megabytes; what is asked for again is found again.

        symbols: these, too.
        """
        if "vmlinux" in self.__dict__:
            self.vmlinux.forget()
        for name in ("modules", "_tracepoints", "_module_tracepoints", "_events", "filter_functions"):
            self.__dict__.pop(name, None)
        if symbols:
            self.__dict__.pop("symbols", None)

    def _btf(self, module: str) -> Btf:
        return self.modules[module] if module else self.vmlinux

    def btfs(self) -> Iterator[Btf]:
        """Return the types of the kernel and of each loaded module, those that can be read."""
        yield self.vmlinux
        for name in self.modules:
            # A module may go away meanwhile; one that is corrupt must not spoil the others.
            try:
                yield self.modules[name]
            except (OSError, ValueError):
                continue

    def _tracepoint_btf(self, name: str) -> Btf | None:
        """Return the types that describe a tracepoint; modules are read for what isn't the kernel's only."""
        return self.vmlinux if name in self._tracepoints else self._module_tracepoints.get(name)

    @cached_property
    def _tracepoints(self) -> frozenset[str]:
        return frozenset(self.vmlinux.tracepoints())

    @cached_property
    def _module_tracepoints(self) -> dict[str, Btf]:
        return {name: btf for btf in self.btfs() if btf is not self.vmlinux for name in btf.tracepoints()}

    @cached_property
    def _events(self) -> frozenset[str] | None:
        return _or_none(self._sources.events)

    @cached_property
    def filter_functions(self) -> dict[str, str] | None:
        """Function that ftrace can trace -> its module; None when their list can't be read."""
        return _or_none(self._sources.functions)

    @cached_property
    def _blacklist(self) -> frozenset[str]:
        return _or_none(self._sources.blacklist) or frozenset()

    def _may_kprobe(self, name: str) -> bool:
        return name not in self._blacklist


def _or_none(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except OSError:
        return None
