"""What a collector may ask of the kernel while planning; passed in, so that planning needs no root."""

from __future__ import annotations

from typing import Protocol


class KernelView(Protocol):
    """The running kernel as its BTF and its symbols tell it."""

    def has_type(self, kind: str, name: str) -> bool:
        """Say whether BTF has `struct`, `enum` or `typedef` NAME."""

    def has_function(self, name: str) -> bool:
        """Say whether a function can be probed by this name."""

    def has_tracepoint(self, name: str) -> bool:
        """Say whether a tracepoint (bare name) exists."""

    def has_module(self, name: str) -> bool:
        """Say whether a module that has parameters is loaded, or built in."""

    def enum(self, name: str) -> dict[int, str]:
        """Return value -> enumerator of an enum, empty when there is none."""
