"""Tables of nftables that have packets traced while a collection runs (`--allow-system-changes`).

The kernel takes a table with the flag owner away when the socket that made it is closed, whatever ended the
process. Where it doesn't know the flag, a process that waits for our end does it; and should that be killed
too, the next collection: the name of a table tells whose it was, and when that process began.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fyke.capture.trace_chains import ALWAYS, commands, families, first_hooks
from fyke.errors import Unsupported
from fyke.kernel import helper, netns, tasks
from fyke.kernel.nfnetlink import Changed, NfNetlink, Table, nf_tables_is_there
from fyke.kernel.nftables import MISSING, Nftables, NftError, is_installed

if TYPE_CHECKING:
    from fyke.capture.plan import Options
    from fyke.capture.trace_chains import Hook
    from fyke.filters.pcap.compile import PacketFilter
    from fyke.filters.pcap.nft import Rule

log = logging.getLogger(__name__)

_NAME = re.compile(rb"fyke_trace_(?P<pid>\d{1,10})_(?P<started>\d{1,20})_(?P<namespace>\d{1,10})")
_HINT = "leave out --allow-system-changes, and add a rule `meta nftrace set 1` where it is wanted"


@dataclass(frozen=True, slots=True)
class _Made:
    """Tables in one namespace. nft: keeps them alive. guard: waits for our end, where they have no owner."""

    nft: Nftables
    families: tuple[str, ...]
    guard: subprocess.Popen[bytes] | None

    def close(self) -> None:
        for family in self.families:
            # It may be gone: `nft flush ruleset`.
            with contextlib.suppress(NftError):
                self.nft.run(_delete(family).encode())
        self.nft.close()
        if self.guard:
            self.guard.communicate()


UNTRACED = (
    "nftables traced no packet: it does so where a rule says `meta nftrace set 1`; --allow-system-changes "
    "adds one for the time of the collection"
)


class TraceTables:
    """The tables of one collection, in some network namespaces; a context manager that takes them away.

    note: what the user should know, or "". Making it raises Unsupported, and leaves nothing then.
    """

    def __init__(self, inodes: Iterable[int], packet_filter: PacketFilter | None) -> None:
        if not is_installed():
            raise Unsupported(f"packets can't be traced through nftables: {MISSING}", _HINT)
        rules, self.note = _rules(packet_filter)
        self._made: list[_Made] = []
        try:
            for inode in inodes:
                self._made.append(_inside(inode, rules))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the tables away."""
        while self._made:
            self._made.pop().close()

    def __enter__(self) -> Self:
        """Return them."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take them away."""
        self.close()


def trace_tables(options: Options) -> TraceTables | None:
    """Return the tables for a collection, in the namespace that it is about; None if it has no use for them.

    They come before its plan, since they may load the kernel's module. Raises Unsupported, if nft was asked
    for by name, and UsageError.
    """
    if not {"nft", "auto"} & set(options.collectors):
        return None
    from fyke.filters.fields.everyday import resolve_netns
    from fyke.filters.pcap.compile import compile_packet_filter

    filters = options.filters
    inode = netns.own_inode() if filters.netns is None else resolve_netns(filters.netns)
    packet_filter = None if filters.packet is None else compile_packet_filter(filters.packet)
    try:
        tables = TraceTables([inode], packet_filter)
    except Unsupported as error:
        if "nft" in options.collectors:
            raise
        log.warning(error.message)
        return None
    if filters.inner is not None and packet_filter is None:
        log.info("all packets are traced through nftables: --filter-inner can't be said there")
    elif tables.note:
        log.info(tables.note)
    return tables


def own_name() -> str:
    """Return the name of this process' tables."""
    return f"fyke_trace_{os.getpid()}_{tasks.start_time(os.getpid())}_{tasks.pid_namespace()}"


def is_own(table: str) -> bool:
    """Say whether a table has the name of one of ours, of this or another process."""
    return _NAME.fullmatch(table.encode("utf-8", "replace")) is not None


def leftovers() -> list[Table]:
    """Return tables that a collection left in the namespace this thread is in. Raises OSError.

    A process of another PID namespace can't be told to be dead.
    """
    for _ in range(5):
        with contextlib.suppress(Changed), NfNetlink() as netlink:
            return [table for table in netlink.tables() if not table.owned and _is_left(table.name)]
    return []


def all_leftovers() -> list[tuple[str, Table]]:
    """Return leftovers in the namespaces that have names, and here: (name, or "" for here, the table)."""
    if not nf_tables_is_there():  # asking would load it
        return []
    found = [("", table) for table in _readable(leftovers)]
    for name in netns.names():
        with contextlib.suppress(OSError):
            inode = netns.inode_of(f"{netns.NAMES}/{name}")
            if inode is not None and inode != netns.own_inode():
                found += [(name, table) for table in _readable(partial(netns.inside, inode, leftovers))]
    return found


def _readable(ask: Callable[[], list[Table]]) -> list[Table]:
    try:
        return ask()
    except (OSError, LookupError):  # not root, or it is gone
        return []


def _is_left(name: bytes) -> bool:
    match = _NAME.fullmatch(name)
    if match is None or int(match["namespace"]) != tasks.pid_namespace():
        return False
    return tasks.start_time(int(match["pid"])) != int(match["started"])


def _rules(packet_filter: PacketFilter | None) -> tuple[Sequence[Rule], str]:
    """Return which packets are traced, and a note where these are more than a filter passes."""
    if packet_filter is None:
        return [()], ""
    from fyke.filters.pcap.nft import rules

    why = packet_filter.why_no_raw
    if packet_filter.raw is not None:
        found = rules(packet_filter.raw)
        if found is not None and () not in found:
            return found, ""
        why = "it would take too many rules" if found is None else "it looks at what nftables can't"
    return [()], f"all packets are traced through nftables, not only those of the filter: {why}"


def _inside(inode: int, rules: Sequence[Rule]) -> _Made:
    try:
        return netns.inside(inode, lambda: _make(rules))
    except LookupError:
        why = "it can't be found by its number: no process is in it, and no file is mounted for it"
    except OSError as error:
        why = error.strerror or str(error)
    except NftError as error:
        why = str(error)
    raise Unsupported(
        f"packets can't be traced through nftables in the network namespace {inode}: {why}", _HINT
    )


def _make(rules: Sequence[Rule]) -> _Made:
    """Make the tables in the namespace this thread is in. Raises OSError, NftError."""
    nft = Nftables()
    try:
        for table in leftovers():
            with contextlib.suppress(NftError):  # another collection begins too, and was faster
                nft.run(b"delete table %s %s" % (table.family.encode(), table.name))
                log.info(
                    "removed the nftables table %s, left by a collection that was killed", table.name.decode()
                )
        with NfNetlink() as netlink:
            hooks = first_hooks(chain for chain in netlink.chains() if not _NAME.fullmatch(chain.table))
        try:
            return _with_an_owner_or_guard(nft, hooks, rules)
        except NftError as error:
            if hooks == ALWAYS:
                raise
            # A device may be gone by now.
            log.info("chains of bridges, devices and ARP are not traced: %s", error)
            return _with_an_owner_or_guard(nft, ALWAYS, rules)
    except BaseException:
        nft.close()
        raise


def _with_an_owner_or_guard(nft: Nftables, hooks: Sequence[Hook], rules: Sequence[Rule]) -> _Made:
    """Make the tables. Raises NftError."""
    # Linux kernel commit 6001a930ce03 ("netfilter: nftables: introduce table ownership") (in v5.12); nft
    # knows the flag since 0.9.9.
    with contextlib.suppress(NftError):
        nft.run(commands(own_name(), hooks, rules, owner=True).encode())
        return _Made(nft, families(hooks), None)
    # One that isn't there can't be deleted, and then none would be: it is made first.
    end = "".join(f"add table {f} {own_name()}\n{_delete(f)}\n" for f in families(hooks))
    # It is in the namespace of this thread.
    guard = helper.start("fyke.kernel.nftables", "run_at_end", end, stdin=subprocess.PIPE)
    try:
        nft.run(commands(own_name(), hooks, rules, owner=False).encode())
        return _Made(nft, families(hooks), guard)
    except BaseException:
        guard.communicate()
        raise


def _delete(family: str) -> str:
    return f"delete table {family} {own_name()}"
