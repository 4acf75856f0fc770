"""Processes and threads, by the numbers that /proc gives them."""

from __future__ import annotations

import os
from pathlib import Path

# Inode of the first PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC


def tgid_of(number: int) -> int | None:
    """Return the process of a thread (a process has the number of its first); None when there is none."""
    try:
        lines = Path(f"/proc/{number}/status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Tgid:")), None)


def start_time(number: int) -> int | None:
    """Return when a process was started, in clock ticks since the machine was; None when there is none.

    With its number it means one process of this PID namespace for ever.
    """
    try:
        # The second word is its name in parentheses, which may hold anything; this is the 22nd.
        return int(Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return None


def pid_namespace() -> int:
    """Return the inode of the PID namespace that numbers in /proc are of; 0 when it can't be told."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def in_initial_pid_namespace() -> bool:
    """Say whether numbers in /proc are those that the kernel itself uses; yes when it can't be told."""
    return pid_namespace() in (_INITIAL_PID_NAMESPACE, 0)
