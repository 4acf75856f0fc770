"""What a variant of a profile asks of the kernel: its version, and which symbols can be probed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fyke.kernel.view import LiveKernel

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
# Versions are major.minor.patch-build, as Retis has them; digits enough for any, few enough to convert.
_COMPARISON = re.compile(
    r"(!=|>=|<=|=|>|<)\s*(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:-(\d{1,9}))?(?:\.?\*)?"
)


@dataclass(frozen=True, slots=True)
class KernelVersion:
    """What `uname -r` begins with. build: the first part after a dash that is a number alone."""

    release: str
    parts: tuple[int, int, int]
    build: int | None

    @classmethod
    def parse(cls, release: str) -> KernelVersion:
        """Return the version in a release; parts that aren't there are 0."""
        words = release.split(".")[:3]
        numbers = [int(match[0]) if (match := re.match(r"[0-9]{1,9}", word)) else 0 for word in words]
        major, minor, patch = (*numbers, 0, 0)[:3]
        after = words[-1].split("-")[1:]
        build = next((int(word) for word in after if re.fullmatch(r"[0-9]{1,9}", word)), None)
        return cls(release, (major, minor, patch), build)


class Machine(Protocol):
    """What conditions are asked about."""

    @property
    def version(self) -> KernelVersion:
        """The kernel's version."""

    def why_no_symbol(self, name: str) -> str | None:
        """Return why a function, or a tracepoint as subsystem:name, can't be probed; None when it can."""


class Condition(Protocol):
    """One condition."""

    def why_not(self, machine: Machine) -> str | None:
        """Return why it doesn't hold, a clause; None when it does."""


@dataclass(frozen=True, slots=True)
class VersionCondition:
    """The kernel's version compares as asked, e.g. `>= 5.14, < 6.2`. What isn't written isn't compared."""

    text: str
    comparisons: tuple[tuple[str, tuple[int | None, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> VersionCondition | None:
        """Return the condition, None when it is none: `>` 6.2, by comma or blank `<= 6.5`."""
        found, at = [], 0
        stripped = text.strip()
        while at < len(stripped):
            match = _COMPARISON.match(stripped, at)
            if match is None:
                return None
            sign, *numbers = match.groups()
            found.append((sign, tuple(None if n is None else int(n) for n in numbers)))
            gap = re.compile(r"\s*,\s*|\s+|$").match(stripped, match.end())
            if gap is None:
                return None
            at = gap.end()
        return cls(text, tuple(found)) if found and not stripped.endswith(",") else None

    def why_not(self, machine: Machine) -> str | None:
        """Return why it doesn't hold."""
        version = machine.version
        if all(_OPERATORS[sign](_order(version, wanted), 0) for sign, wanted in self.comparisons):
            return None
        return f"the kernel {version.release} is not {self.text}"


def _order(version: KernelVersion, wanted: tuple[int | None, ...]) -> int:
    """Compare up to the first part that isn't asked for: -1, 0 or 1. A kernel without a build is later."""
    *parts, build = wanted
    for ours, theirs in zip(version.parts, parts, strict=True):
        if theirs is None:
            return 0
        if ours != theirs:
            return 1 if ours > theirs else -1
    if build is None:
        return 0
    if version.build is None:
        return 1
    return (version.build > build) - (version.build < build)


@dataclass(frozen=True, slots=True)
class SymbolCondition:
    """A function or tracepoint can be probed, or can't."""

    name: str
    exists: bool = True

    def why_not(self, machine: Machine) -> str | None:
        """Return why it doesn't hold."""
        why = machine.why_no_symbol(self.name)
        if self.exists:
            return why
        return None if why else f"{self.name} can be probed"


class ThisMachine:
    """The running kernel; asked only when a condition needs it.

    kernel: what was read of it, None while nothing was; reading it is a good part of starting a collection.
    """

    def __init__(self) -> None:
        self.kernel: LiveKernel | None = None

    @property
    def version(self) -> KernelVersion:
        """The kernel's version."""
        from fyke.kernel.machine import machine

        return KernelVersion.parse(machine().kernel_release)

    def why_no_symbol(self, name: str) -> str | None:
        """Return why a symbol can't be probed here, None when it can. Raises Unsupported without BTF."""
        if self.kernel is None:
            from fyke.kernel.view import LiveKernel

            self.kernel = LiveKernel()
        kernel = self.kernel
        if ":" in name:
            return kernel.why_no_tracepoint(name)
        if why := kernel.why_no_function(name):
            return why
        if not kernel.features.has("kprobe"):
            return f"{name} can't be probed: no kprobes here, {kernel.features['kprobe'].why}"
        return None if kernel.function_type(name) else f"the kernel's BTF doesn't describe {name}"
