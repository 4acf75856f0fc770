"""Facts of the machine a collection runs on."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TIME_OFFSETS = Path("/proc/self/timens_offsets")
MODULES = Path("/sys/module")
POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")
ONLINE_CPUS = Path("/sys/devices/system/cpu/online")
CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h; Python has no name for it


@dataclass(frozen=True, slots=True)
class Machine:
    """The kernel, the hardware and the machine as uname(2) names them."""

    kernel_release: str
    kernel_version: str
    hardware_name: str
    host: str


def machine() -> Machine:
    """Return what uname(2) says."""
    name = os.uname()
    return Machine(name.release, name.version, name.machine, name.nodename)


def kernel_clock_ns() -> int:
    """Return the time on the kernel's own CLOCK_MONOTONIC, which bpf_ktime_get_ns() reads.

    In a time namespace (time_namespaces(7)) ours is another.
    """
    return time.monotonic_ns() - _namespace_offset_ns()


def has_module(name: str) -> bool:
    """Say whether a module is loaded; or built in, if it has parameters."""
    return (MODULES / name).exists()


def tick_ns() -> int:
    """Return how long a tick of the kernel takes (jiffies; CONFIG_HZ): the coarse clocks count in ticks."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1_000_000_000)


@cache
def _namespace_offset_ns(path: Path = TIME_OFFSETS) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # no time namespaces
        return 0
    offsets = {
        words[0]: int(words[1]) * 1_000_000_000 + int(words[2])
        for line in lines
        if len(words := line.split()) == 3
    }
    return offsets.get("monotonic", 0)


def clock_monotonic_offset_ns() -> int:
    """Return what to add to CLOCK_MONOTONIC (bpf_ktime_get_ns) to get nanoseconds since the Unix epoch.

    The two clocks can't be read at once: of several tries the one with the shortest gap is taken.
    """
    best = None
    for _ in range(8):
        before = kernel_clock_ns()
        wall = time.time_ns()
        after = kernel_clock_ns()
        gap = after - before
        if best is None or gap < best[0]:
            best = (gap, wall - (before + gap // 2))
    assert best is not None
    return best[1]


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Parse a list like `0-3,8` into CPU numbers. ValueError when it is none."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        cpus.extend(range(int(first), int(last if dash else first) + 1))
    return tuple(cpus)


def possible_cpus(path: Path = POSSIBLE_CPUS) -> tuple[int, ...]:
    """Return the numbers of all CPUs that can ever be online: a per-CPU map has this many values.

    Numbers may have holes; what is indexed by CPU number needs `max() + 1` places. OSError or ValueError when
    the kernel doesn't say.
    """
    return parse_cpu_list(path.read_text())


def online_cpus(path: Path = ONLINE_CPUS) -> tuple[int, ...]:
    """Return the numbers of the CPUs that run now. OSError or ValueError when the kernel doesn't say."""
    return parse_cpu_list(path.read_text())
