"""Raw kernel values -> names while a collection runs: enumerators, stacks, addresses. Each is asked once."""

from __future__ import annotations

import struct
from typing import Protocol

from fyke.capture import libbpf
from fyke.events.escape import name_from_bytes

# A program of ours, and what calls it at a tracepoint. It is younger than our list of symbols, and may seem
# to be part of what the kernel has put before it.
_MACHINERY = (
    "0x",
    "bpf_prog_",
    "bpf_dispatcher_",
    "bpf_trampoline_",
    "bpf_trace_run",
    "__bpf_trace_",
    "__traceiter_",
)
_READINGS = 5  # of all symbols, which take a second on a slow machine
_FRAMES = 127  # STACK_FRAMES in core/stack.bpf.h
MOST_NAMES = 16_384
_NAME_BYTES, _NUMBER_BYTES = 128, 8  # struct name in core/views.bpf.h, and its number


class Symbols(Protocol):
    """Addresses -> names."""

    def symbol(self, address: int) -> str:
        """Return `symbol+0xoffset`."""


class Kernel(Protocol):
    """What naming asks of the kernel."""

    def enum(self, name: str) -> dict[int, str]:
        """Return value -> enumerator."""

    @property
    def symbols(self) -> Symbols:
        """Its symbols."""

    def read_symbols_again(self) -> Symbols:
        """Its symbols by now."""


class Rules(Protocol):
    """Rules of nftables, by handles."""

    def rule(self, netns: int, table: int, handle: int) -> str | None:
        """Return a rule's text, None when it isn't known."""


class KernelNames:
    """Names of one collection (`fyke.events.column.Names`).

    stacks_fd, names_fd: maps of the programs. rules: None where no rule is asked for.
    """

    def __init__(self, kernel: Kernel, stacks_fd: int, names_fd: int, rules: Rules | None = None) -> None:
        self._kernel = kernel
        self._stacks_fd, self._names_fd = stacks_fd, names_fd
        self._rules = rules
        self._names: dict[int, str] = {}
        self._enums: dict[str, dict[int, str]] = {}
        self._symbols: dict[int, str] = {}
        self._readings = _READINGS
        self._stacks: dict[int, list[str] | None] = {}

    def enum(self, type_name: str) -> dict[int, str]:
        """Return value -> enumerator of a kernel enum; empty when there is no such enum."""
        if type_name not in self._enums:
            self._enums[type_name] = self._kernel.enum(type_name)
        return self._enums[type_name]

    def symbol(self, address: int) -> str:
        """Return `symbol+0xoffset` of a kernel text address, also of a module that came since the start."""
        found = self._symbol(address)
        if found.startswith("0x") and self._readings:
            self._readings -= 1
            found = self._symbols[address] = self._kernel.read_symbols_again().symbol(address)
        return found

    def _symbol(self, address: int) -> str:
        if address not in self._symbols:
            self._symbols[address] = self._kernel.symbols.symbol(address)
        return self._symbols[address]

    def stack(self, stack_id: int) -> list[str] | None:
        """Return a stack's frames, innermost first; None for no stack."""
        if stack_id < 0:
            return None
        if stack_id not in self._stacks:
            raw = libbpf.lookup_element(self._stacks_fd, struct.pack("=I", stack_id), _FRAMES * 8)
            frames = struct.unpack(f"={_FRAMES}Q", raw) if raw else ()
            symbols = [self._symbol(frame) for frame in frames if frame]
            self._stacks[stack_id] = _without_machinery(symbols) or None
        return self._stacks[stack_id]

    def name(self, number: int) -> str | None:
        """Return the name with this number, None for 0."""
        if number and number not in self._names:
            texts, numbers, count = libbpf.elements(self._names_fd, _NAME_BYTES, _NUMBER_BYTES, MOST_NAMES)
            for at, known in enumerate(struct.unpack(f"={count}Q", numbers)):
                self._names[known] = name_from_bytes(texts[at * _NAME_BYTES : (at + 1) * _NAME_BYTES])
        return self._names.get(number)

    def nft_rule(self, netns: int, table: int, rule: int) -> str | None:
        """Return a rule's text, None when it isn't known."""
        return self._rules.rule(netns, table, rule) if self._rules else None


def _without_machinery(frames: list[str]) -> list[str]:
    """Leave out the innermost frames that are there because we look: our program and its callers."""
    for index, frame in enumerate(frames):
        if not frame.startswith(_MACHINERY):
            return frames[index:]
    return frames
