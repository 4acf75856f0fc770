"""Per-CPU ring buffers -> arrays of records in time order, many at a time.

A ring (BPF_MAP_TYPE_RINGBUF, kernel/bpf/ringbuf.c) is a consumer page, a producer page and the data, mapped
twice in a row so that no record is ever in two pieces. Every record is an 8-byte header (length and the bits
BUSY and DISCARD) and its bytes. Ours all have one length, so what is ready is one strided array.
"""

from __future__ import annotations

import mmap
import platform
import select
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fyke.kernel.syscalls import syscall

_HEADER_BYTES = 8
_BUSY, _DISCARD = np.uint32(1 << 31), np.uint32(1 << 30)

# What is taken from one ring at a time: bounds memory when much has piled up.
MAX_RECORDS = 4_096
# How long the last look waits for a record that is still being written: its program runs for microseconds,
# unless its CPU is taken away (a virtual machine's).
LAST_WAIT_SECONDS = 0.05

Bytes2D = npt.NDArray[np.uint8]


def _make_barrier() -> Callable[[], None]:
    """Return what orders our loads and stores of the ring's positions, headers and data.

    The kernel publishes a record by a release store to its header and the producer position by another; we
    must not read a header before the position, or data before its header, and must not hand space back before
    it was copied. x86 keeps loads in order, and stores after loads. arm64 doesn't: there membarrier(2) runs a
    full barrier on this CPU, and on those of programs that asked for it. Its command for our process alone
    doesn't: a process of one thread has nobody to order with, it thinks (kernel/sched/membarrier.c).
    """
    if platform.machine() != "aarch64":
        return lambda: None
    membarrier, everywhere = 283, 2  # MEMBARRIER_CMD_GLOBAL_EXPEDITED

    def barrier() -> None:
        syscall(membarrier, everywhere, 0, 0)

    return barrier


_barrier = _make_barrier()


class Ring:
    """One CPU's ring."""

    def __init__(self, fd: int, ring_bytes: int, record_bytes: int) -> None:
        page = mmap.PAGESIZE
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._mapping = mmap.mmap(fd, page + 2 * ring_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumed: npt.NDArray[np.uint64] = np.frombuffer(self._consumer, np.uint64, 1)
        self._produced: npt.NDArray[np.uint64] = np.frombuffer(self._mapping, np.uint64, 1)
        self._data: npt.NDArray[np.uint8] = np.frombuffer(
            self._mapping, np.uint8, 2 * ring_bytes, offset=page
        )
        self._mask = ring_bytes - 1
        self._stride = _HEADER_BYTES + record_bytes
        self._position = int(self._consumed[0])
        self.last_ns = 0  # of the youngest record taken
        self.more = False  # after a take: there is more to take at once

    def take(self) -> tuple[Bytes2D | None, bool]:
        """Copy what is ready, shape (records, record_bytes), and give its space back.

        The second value says whether more is there: it stopped at a record that is still being written, or at
        MAX_RECORDS.
        """
        ready = (int(self._produced[0]) - self._position) // self._stride
        self.more = stopped = ready > MAX_RECORDS
        if not ready:
            return None, False
        ready = min(ready, MAX_RECORDS)
        _barrier()
        start = self._position & self._mask
        rows = self._data[start : start + ready * self._stride].reshape(ready, self._stride)
        headers = np.ascontiguousarray(rows[:, :4]).view(np.uint32)[:, 0]
        busy = np.flatnonzero(headers & _BUSY)
        if busy.size:
            stopped, self.more = True, False
            ready = int(busy[0])
            rows, headers = rows[:ready], headers[:ready]
            if not ready:
                return None, True
        _barrier()
        discarded = headers & _DISCARD
        records = rows[:, _HEADER_BYTES:]
        # A copy in any case: a single record is contiguous as it is, and would stay the ring's memory.
        taken = records[discarded == 0] if discarded.any() else records.copy()
        _barrier()
        self._position += ready * self._stride
        self._consumed[0] = self._position
        return (taken if taken.shape[0] else None), stopped

    def close(self) -> None:
        """Unmap the ring."""
        del self._consumed, self._produced, self._data
        self._mapping.close()
        self._consumer.close()


class Rings:
    """All rings of a collection, merged into one stream in time order up to a watermark.

    A record is on its way for as long as its program runs, which an interrupt can prolong: what is younger
    than `slack_ns` at the time of looking waits for the next look.
    """

    def __init__(
        self, fds: list[int], sizes: Sequence[int], record_bytes: int, slack_ns: int = 5_000_000
    ) -> None:
        self._rings = [Ring(fd, size, record_bytes) for fd, size in zip(fds, sizes, strict=True)]
        self._slack_ns = slack_ns
        self._waiting: list[Bytes2D] = []
        self._poll = select.epoll()
        for fd in fds:
            self._poll.register(fd, select.EPOLLIN | select.EPOLLET)
        self.late = 0
        self.more = False  # after a take: there is more to take at once
        self._newest_given_ns = 0

    def watch(self, fd: int) -> None:
        """Let another descriptor end a wait too."""
        self._poll.register(fd, select.EPOLLIN)

    def wait(self, seconds: float) -> None:
        """Wait until a ring fills up, a watched descriptor is ready, or the time is over."""
        self._poll.poll(seconds)

    def take(self, now_ns: int | None) -> Bytes2D | None:
        """Return the records older than now_ns less the slack (all of them when None), in time order."""
        limit_ns = None if now_ns is None else now_ns - self._slack_ns
        self.more = False
        for ring in self._rings:
            taken, stopped = _take(ring, LAST_WAIT_SECONDS if now_ns is None else 0)
            # At the end, what is behind a record that is being written is looked for once more.
            self.more |= ring.more or (now_ns is None and taken is not None and stopped)
            if taken is not None:
                self._waiting.append(taken)
                ring.last_ns = int(_timestamps(taken)[-1])
            if stopped and ring.last_ns and (taken is not None or now_ns is not None):
                # What this ring still has is younger than what it gave last.
                limit_ns = ring.last_ns if limit_ns is None else min(limit_ns, ring.last_ns)
        if not self._waiting:
            return None
        records = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        records, stamps = _in_order(records)
        count = len(stamps)
        if limit_ns is not None:
            # Of the stamps' own type: else all of them are compared as float64, which is inexact above 2**53.
            count = int(np.searchsorted(stamps, np.uint64(max(limit_ns, 0))))
        self._waiting = [records[count:]] if count < len(stamps) else []
        if not count:
            return None
        self._note_late(stamps[:count])
        return records[:count]

    def _note_late(self, stamps: npt.NDArray[np.uint64]) -> None:
        if int(stamps[0]) < self._newest_given_ns:
            self.late += int(np.count_nonzero(stamps < self._newest_given_ns))
        self._newest_given_ns = max(self._newest_given_ns, int(stamps[-1]))

    def close(self) -> None:
        """Unmap all rings."""
        self._poll.close()
        for ring in self._rings:
            ring.close()


def _take(ring: Ring, wait_seconds: float) -> tuple[Bytes2D | None, bool]:
    """Take from a ring until there is something, nothing, or for so long a record that is being written."""
    until = time.monotonic() + wait_seconds
    while True:
        taken, stopped = ring.take()
        if taken is not None or not stopped:
            return taken, stopped
        if not ring.more:  # else all were discarded, and don't say how far the other rings may go
            if time.monotonic() >= until:
                return None, True
            time.sleep(0.001)


def _in_order(records: Bytes2D) -> tuple[Bytes2D, npt.NDArray[np.uint64]]:
    """Return records in order of time, and their times; nothing is copied when they are so already."""
    stamps = _timestamps(records)
    if (stamps[1:] >= stamps[:-1]).all():
        return records, stamps
    order = np.argsort(stamps, kind="stable")
    return records.take(order, axis=0), stamps[order]


def _timestamps(records: Bytes2D) -> npt.NDArray[np.uint64]:
    """Return the first member of each record, its time."""
    stamps: npt.NDArray[np.uint64] = np.ascontiguousarray(records[:, :8]).view(np.uint64)[:, 0]
    return stamps
