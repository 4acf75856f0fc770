"""Loaded programs -> links, by the mechanism of each probe."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fyke.capture import perf
from fyke.capture.mechanisms import MECHANISMS
from fyke.collectors.skb_tracking.probes import FREE_HEAD
from fyke.errors import RunError
from fyke.kernel import syscall_bpf

if TYPE_CHECKING:
    from fyke.capture.load import Loaded

log = logging.getLogger(__name__)

# Errors that say nothing of the one probe: the next ones would meet them too.
_FOR_ALL = (errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

# A link is gone when no CPU can be running its program any more, which takes tens of milliseconds. Several
# wait for it at once: 60 kprobes took 48 ms each by eight threads, 107 by one (6.1, emulated on two CPUs).
_FEW, _CLOSERS = 32, 16

# ENOTSUPP, which has no text outside the kernel: trampolines of Linux before 6.6 refuse such functions.
_REASONS = {524: "it has more arguments than fit into registers"}


class Attached:
    """The links of a collection. `detach()` takes them away; closing descriptors is all it needs.

    missing: symbols a pattern matched, or that were added, which the kernel refused, with the reason.
    """

    def __init__(
        self, loaded: Loaded, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        self._loaded = loaded
        self._fds: list[int] = []
        self.missing: dict[str, str] = {}
        try:
            self.attach(range(len(loaded.plan.probes)), progress)
        except BaseException:
            self.detach()
            raise

    def attach(
        self, numbers: Sequence[int], progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        """Attach probes, by their numbers.

        Raises RunError for one that has to be there, and when none of the others could be attached either.
        """
        probes = {number: self._loaded.plan.probes[number] for number in numbers}
        done = 0
        for name in dict.fromkeys(p.program for p in probes.values() if MECHANISMS[p.mechanism].many):
            multi = [n for n, p in probes.items() if p.program == name]
            self._kprobe_multi(multi)
            done += len(multi)
        for number, probe in probes.items():
            how = MECHANISMS[probe.mechanism]
            if how.many:
                continue
            if probe.mechanism == "raw_tracepoint":
                self._raw_tracepoint(number)
            elif how.trampoline:
                self._trampoline(number)
            else:
                self._kprobe(number)
            done += 1
            progress(done, len(probes))

    def _raw_tracepoint(self, number: int) -> None:
        probe = self._loaded.plan.probes[number]
        name = probe.symbol.partition(":")[2]
        cookie = number if self._loaded.cookie["raw_tracepoint"] else 0
        try:
            self._fds.append(syscall_bpf.raw_tracepoint_open(self._loaded.program_fd(number), name, cookie))
        except OSError as e:
            self._failed(number, e)

    def _kprobe(self, number: int) -> None:
        probe, loaded = self._loaded.plan.probes[number], self._loaded
        try:
            # The return first: a call that is remembered must be seen to return.
            self._perf(number, loaded.program_fd(number), returns=probe.is_return)
            if probe.is_return:
                self._perf(number, loaded.entry_fd(number), returns=False)
        except OSError as e:
            self._failed(number, e)

    def _perf(self, number: int, program_fd: int, *, returns: bool) -> None:
        plan = self._loaded.plan
        probe, cpu = plan.probes[number], min(plan.online)
        if place := probe.user:
            # Open vSwitch's daemon works for whatever process --pid means.
            pid = plan.user_task.number if plan.user_task and not probe.ovs else None
            event = perf.open_uprobe(place.file, place.offset, place.semaphore, cpu, pid)
        else:
            event = perf.open_kprobe(probe.symbol, cpu, returns=returns)
        self._fds.append(event)
        cookie = number if self._loaded.cookie[probe.mechanism] else None
        link = perf.attach(event, program_fd, cookie)
        if link is not None:
            self._fds.append(link)

    def _kprobe_multi(self, numbers: list[int]) -> None:
        """Attach many at once. The kernel takes all or none: halve until the ones it refuses stand alone."""
        loaded, first = self._loaded, numbers[0]
        probes = loaded.plan.probes
        returns = probes[first].is_return
        symbols = [probes[n].symbol for n in numbers]
        try:
            fds = [
                syscall_bpf.link_create_kprobe_multi(
                    loaded.program_fd(first), symbols, numbers, returns=returns
                )
            ]
            if returns:
                self._fds += fds
                fds = [syscall_bpf.link_create_kprobe_multi(loaded.entry_fd(first), symbols, numbers)]
        except OSError as e:
            if len(numbers) == 1 or e.errno in _FOR_ALL:
                self._failed(numbers[0], e)
                return
            middle = len(numbers) // 2
            self._kprobe_multi(numbers[:middle])
            self._kprobe_multi(numbers[middle:])
        else:
            self._fds += fds

    def _trampoline(self, number: int) -> None:
        loaded = self._loaded
        try:
            self._fds.append(syscall_bpf.raw_tracepoint_open(loaded.program_fd(number), None))
            if loaded.plan.probes[number].is_return:
                self._fds.append(syscall_bpf.raw_tracepoint_open(loaded.entry_fd(number), None))
        except OSError as e:
            self._failed(number, e)

    def _failed(self, number: int, error: OSError) -> None:
        """Give up when what was refused was asked for by name, is needed, or would be refused to all."""
        probe = self._loaded.plan.probes[number]
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        named = probe.added_ns is None and any("*" not in text for text in probe.asked)
        if named or error.errno in _FOR_ALL or probe.symbol == FREE_HEAD.symbol:
            raise RunError(
                f"can't attach to {probe.symbol} ({probe.mechanism}): {reason}", "see `fyke doctor`"
            )
        if probe.internal:
            log.warning("skb-tracking: can't attach to %s (%s)", probe.symbol, reason)
        else:
            self.missing[probe.symbol] = reason

    def detach(self) -> None:
        """Take every link away, the newest first; many at a time, as the kernel waits a while for each."""
        fds, self._fds = self._fds[::-1], []
        if len(fds) < _FEW:
            for fd in fds:
                os.close(fd)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_CLOSERS) as closers:
            list(closers.map(os.close, fds))
