"""What planning asks of the kernel; `fyke.kernel.view.LiveKernel` answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from fyke.collectors.kernel_view import KernelView
from fyke.kernel.bpf_programs import BpfProgram
from fyke.kernel.btf import Btf, Prototype
from fyke.kernel.return_type import ReturnType


class Answer(Protocol):
    """Why a feature is there or not."""

    @property
    def why(self) -> str:
        """The reason, a clause."""

    @property
    def state(self) -> str:
        """`yes`, `no`, or `unknown` where it couldn't be told."""


class Features(Protocol):
    """What the kernel can do (see `fyke.kernel.features`)."""

    def has(self, name: str) -> bool:
        """Say whether the kernel surely has a feature."""

    def __getitem__(self, name: str) -> Answer:
        """Return the answer to a feature."""


class Kernel(KernelView, Protocol):
    """A kernel."""

    @property
    def vmlinux(self) -> Btf:
        """The kernel's own types."""

    @property
    def modules(self) -> Mapping[str, Btf]:
        """The types of each loaded module."""

    def btfs(self) -> Iterator[Btf]:
        """Return the types of the kernel and of each loaded module, those that can be read."""

    @property
    def features(self) -> Features:
        """What it can do."""

    def function_params(self, name: str) -> list[str] | None:
        """Return the parameter types of a function, None when it has no BTF."""

    def function_prototype(self, name: str) -> Prototype | None:
        """Return what a function takes and returns, None when it has no BTF."""

    def function_return(self, name: str) -> ReturnType | None:
        """Return what a function returns, None when that is nothing (or more than a number), or not known."""

    def function_slots(self, name: str) -> tuple[int, ...]:
        """Return where each parameter begins among the 8-byte words they are passed in, and their number."""

    def function_type(self, name: str) -> tuple[str, int] | None:
        """Return (module, type id) of a function, None without BTF; the kernel itself is module ``."""

    def tracepoint_prototype(self, name: str) -> Prototype | None:
        """Return what a tracepoint (bare name) passes; its parameters have no names."""

    def functions_taking(self, types: Iterable[str]) -> frozenset[str]:
        """Return all functions with a parameter of one of these types."""

    def module_of(self, name: str) -> str:
        """Return the module that a function is in, empty for the kernel itself and where nobody knows."""

    def tracepoints(self) -> list[str]:
        """Return every tracepoint as `subsystem:name`, sorted; `unknown:name` where nobody knows."""

    def match_functions(self, pattern: str) -> list[str]:
        """Return the functions that can be probed, by name or `*` pattern."""

    def match_tracepoints(self, pattern: str) -> list[str]:
        """Return tracepoints as `subsystem:name`, by name or `*` pattern."""

    def why_no_function(self, name: str) -> str | None:
        """Say why a function can't be probed, None when it can."""

    def why_no_tracepoint(self, wanted: str) -> str | None:
        """Say why a tracepoint (`subsystem:name`) can't be probed, None when it can."""

    @property
    def bpf_programs(self) -> Sequence[BpfProgram]:
        """The XDP and TC programs that are loaded. OSError when they can't be listed."""

    def near(self, name: str) -> list[str]:
        """Return names like this one."""
