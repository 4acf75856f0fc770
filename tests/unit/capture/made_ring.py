"""Rings in ordinary memory, laid out as the kernel lays one out, written as the kernel writes one."""

from __future__ import annotations

import mmap
import os
import struct

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
