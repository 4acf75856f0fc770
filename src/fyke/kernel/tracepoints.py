"""What tracefs and debugfs tell: events by subsystem, functions that can be probed, the kprobe blacklist.

They are read where they are mounted, and otherwise through a mount that only our descriptor sees, so that
nothing on the system changes.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fyke.kernel.pseudofs import DEBUGFS, PLACES, TRACEFS, read_file
from fyke.kernel.syscalls import mount

# How names of networking's tracepoints begin -> the subsystem (TRACE_SYSTEM in Linux' include/trace/events).
# The longest beginning counts.
_SUBSYSTEMS = {
    **dict.fromkeys(("netif_", "net_dev_", "napi_gro_"), "net"),
    **dict.fromkeys(("napi_poll", "dql_"), "napi"),
    **dict.fromkeys(("kfree_skb", "consume_skb", "skb_copy_datagram_"), "skb"),
    **dict.fromkeys(("sock_", "inet_sock_", "inet_sk_", "sk_data_ready"), "sock"),
    **dict.fromkeys(("br_", "fdb_"), "bridge"),
    **dict.fromkeys(("xdp_", "mem_connect", "mem_disconnect", "mem_return_failed", "bpf_xdp_"), "xdp"),
    **dict.fromkeys(("mptcp_", "subflow_", "get_mapping_status", "ack_update_msk"), "mptcp"),
    "tcp_": "tcp",
    "udp_": "udp",
    "icmp_send": "icmp",
    "qdisc_": "qdisc",
    "neigh_": "neigh",
    "fib_table_lookup": "fib",
    "fib6_table_lookup": "fib6",
    "page_pool_": "page_pool",
    "ovs_": "openvswitch",
}


def usual_subsystem(name: str) -> str:
    """Return a tracepoint's subsystem where tracefs can't tell it; `unknown` for those not of networking."""
    known = [start for start in _SUBSYSTEMS if name.startswith(start)]
    return _SUBSYSTEMS[max(known, key=len)] if known else "unknown"


def parse_available_events(data: bytes) -> frozenset[str]:
    """Parse tracefs' available_events into `subsystem:name`."""
    return frozenset(line for line in data.decode(errors="backslashreplace").split("\n") if ":" in line)


def parse_available_filter_functions(data: bytes) -> dict[str, str]:
    """Parse tracefs' available_filter_functions into name -> module (empty for the kernel's own).

    Functions that share a name are left out: they can't be told apart by name.
    """
    found: dict[str, str] = {}
    ambiguous = set()
    for line in data.decode(errors="backslashreplace").split("\n"):
        name, _, module = line.partition(" ")
        if name in found:
            ambiguous.add(name)
        found[name] = module.strip("[] ")
    for name in ambiguous | {""}:
        found.pop(name, None)
    return found


def parse_kprobe_blacklist(data: bytes) -> frozenset[str]:
    """Parse debugfs' kprobes/blacklist (`0xSTART-0xEND<tab>NAME`) into names."""
    lines = data.decode(errors="backslashreplace").split("\n")
    return frozenset(line.partition("\t")[2].split(" ")[0] for line in lines if "\t" in line)


def available_events() -> frozenset[str]:
    """Return all events as `subsystem:name`. OSError when tracefs can't be read."""
    return parse_available_events(read_file("tracefs", "available_events"))


def available_filter_functions() -> dict[str, str]:
    """Return the functions that ftrace can trace, name -> module. OSError when not readable (lockdown)."""
    return parse_available_filter_functions(read_file("tracefs", "available_filter_functions"))


def kprobe_blacklist() -> frozenset[str]:
    """Return the functions that must not be probed. OSError when debugfs can't be read or has none."""
    return parse_kprobe_blacklist(read_file("debugfs", "kprobes/blacklist"))


def is_mounted() -> bool:
    """Say whether tracefs is mounted where everybody looks for it."""
    return any((path / "available_events").exists() for path in PLACES["tracefs"])


@contextlib.contextmanager
def mounted_tracefs(directory: Path = TRACEFS) -> Iterator[Path]:
    """Mount tracefs unless it is mounted already, and unmount it at the end, even after `kill -9`.

    Yields where it is mounted. Raises OSError when it can't be.
    """
    for path in PLACES["tracefs"]:
        if (path / "available_events").exists():
            yield path
            return
    # A kernel without this directory has tracefs in debugfs.
    target, filesystem = (directory, "tracefs") if directory.exists() else (DEBUGFS, "debugfs")
    # The shell outlives us: its input ends when we do. Started first, so that no moment is unguarded.
    guard = subprocess.Popen(
        ["/bin/sh", "-c", 'read -r answer; [ "$answer" = failed ] || exec umount -l "$0"', str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        mount("fyke", str(target), filesystem)
    except OSError:
        guard.communicate(b"failed\n")
        raise
    try:
        yield target if filesystem == "tracefs" else target / "tracing"
    finally:
        guard.communicate(b"done\n")
