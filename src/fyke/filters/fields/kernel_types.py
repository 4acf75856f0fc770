"""The structs of a running kernel and its loaded modules, for field filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from fyke.filters.fields.types import near_names
from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import STRUCT


class _Kernel(Protocol):
    @property
    def vmlinux(self) -> Btf: ...

    @property
    def modules(self) -> Mapping[str, Btf]: ...


class KernelTypes:
    """Implements Types. Modules are read only for what the kernel itself doesn't have."""

    def __init__(self, kernel: _Kernel) -> None:
        self._kernel = kernel

    def struct(self, name: str) -> tuple[Btf, int] | None:
        """Return a struct's types and its id in them; None when there is none of that name."""
        for btf in self._btfs():
            type_id = btf.find("struct", name)
            if type_id is not None:
                return btf, type_id
        return None

    def near_structs(self, name: str) -> list[str]:
        """Return names of structs like this one, best first."""
        # Comparing with 10,000 names takes a second: only those that begin, end or contain alike.
        start, end = name[:3], name[-4:]
        alike = {
            other
            for btf in self._btfs()
            for other in btf.own_named(STRUCT)
            if other.startswith(start) or other.endswith(end) or (len(name) > 2 and name in other)
        }
        return near_names(name, alike - {""})

    def _btfs(self) -> Iterator[Btf]:
        yield self._kernel.vmlinux
        for module in self._kernel.modules:
            # A module may go away meanwhile; one that is corrupt must not spoil the others.
            try:
                yield self._kernel.modules[module]
            except (OSError, ValueError):
                continue
