"""Rings in ordinary memory, laid out as the kernel lays one out, written as the kernel writes one."""

from __future__ import annotations

import mmap
import os
import select
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest

from fyke.capture import rings as module
from fyke.capture.rings import Rings

SLACK_NS = 1000
RECORD_BYTES = 24
STRIDE = RECORD_BYTES + 8
BUSY, DISCARD = 1 << 31, 1 << 30


class MadeRing:
    """The kernel's side of a ring: a consumer page, a producer page, and the data twice.

    Records are a time, a number and filling. lost: how many found no room.
    """

    def __init__(self, size: int = mmap.PAGESIZE) -> None:
        self.size = size
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * size)
        self._memory = mmap.mmap(self.fd, 0)
        self.produced = 0
        self.lost = 0

    @property
    def consumed(self) -> int:
        """What the reader has given back."""
        position: int = struct.unpack_from("=Q", self._memory, 0)[0]
        return position

    def start_at(self, position: int) -> None:
        """Move both positions, before anybody reads."""
        struct.pack_into("=Q", self._memory, 0, position)
        self.produced = position
        self._publish()

    def reserve(self, time_ns: int, number: int) -> int | None:
        """Write a record that is still busy; return its position, None when there is no room."""
        if self.produced + STRIDE - self.consumed > self.size - 1:
            self.lost += 1
            return None
        at = self.produced
        body = struct.pack("=QQ", time_ns, number).ljust(RECORD_BYTES, b"\xee")
        self._write(at, struct.pack("=II", RECORD_BYTES | BUSY, 0) + body)
        self.produced += STRIDE
        self._publish()
        return at

    def commit(self, at: int, *, discard: bool = False) -> None:
        """Hand a reserved record over, or throw it away."""
        self._write(at, struct.pack("=I", RECORD_BYTES | (DISCARD if discard else 0)))

    def put(self, time_ns: int, number: int = 0, *, discard: bool = False) -> bool:
        """Reserve and commit; say whether there was room."""
        at = self.reserve(time_ns, number)
        if at is not None:
            self.commit(at, discard=discard)
        return at is not None

    def _publish(self) -> None:
        struct.pack_into("=Q", self._memory, mmap.PAGESIZE, self.produced)

    def _write(self, at: int, data: bytes) -> None:
        # What the kernel's double mapping does: a byte in one copy is in the other as well.
        for offset, byte in enumerate(data):
            place = 2 * mmap.PAGESIZE + (at + offset) % self.size
            self._memory[place] = self._memory[place + self.size] = byte

    def scribble(self) -> None:
        """Overwrite all data, as later records would."""
        self._memory[2 * mmap.PAGESIZE :] = b"\x99" * (2 * self.size)

    def close(self) -> None:
        """Free the memory."""
        self._memory.close()
        os.close(self.fd)


class Epoll:
    """epoll(7), but for memory files, which can't be waited on as rings can."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def register(self, fd: int, events: int) -> None:
        try:
            self._epoll.register(fd, events)
        except PermissionError:
            assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:ring")

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        return self._epoll.poll(seconds)

    def close(self) -> None:
        self._epoll.close()


class _Select:
    """The module `select` as rings.py uses it."""

    epoll, EPOLLIN, EPOLLET = Epoll, select.EPOLLIN, select.EPOLLET


@contextmanager
def rings_of(count: int) -> Iterator[tuple[Rings, list[MadeRing]]]:
    """Give as many rings, and the kernel's side of each."""
    made = [MadeRing() for _ in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "select", _Select)
        rings = Rings([r.fd for r in made], [r.size for r in made], RECORD_BYTES, SLACK_NS)
    try:
        yield rings, made
    finally:
        rings.close()
        for ring in made:
            ring.close()


def times(taken: npt.NDArray[np.uint8] | None) -> list[int]:
    """Return the times of records."""
    return [] if taken is None else [t for (t,) in struct.iter_unpack("=Q16x", taken.tobytes())]


def drain(rings: Rings) -> list[int]:
    """Take all there is, as the end of a collection does."""
    found: list[int] = []
    while True:
        found += times(rings.take(None))
        if not rings.more:
            return found
