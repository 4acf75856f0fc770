"""What the readers of captures hand out, and what they raise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

MAX_BLOCK = 64 << 20  # bytes; Wireshark takes packets of up to 256 KiB, of some link types 128 MiB
NS = 1_000_000_000


class Damaged(Exception):
    """The file goes wrong, or ends, inside a block; str() says how."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of a capture.

    interface: the name of the interface it was taken on. link_type: what its bytes begin with (LINKTYPE_*,
    https://www.tcpdump.org/linktypes.html). time_ns: since the Unix epoch. wire: the length of the whole
    packet in bytes.
    """

    interface: str
    link_type: int
    time_ns: int
    data: bytes
    wire: int


class Reader(Protocol):
    """Reads one capture. offset: of the block or record that is read, in bytes."""

    offset: int
    texts: dict[str, str]  # what the file says of its making: `hardware`, `os`, `application`

    def packets(self) -> Iterator[Packet]:
        """Yield the packets. Raises Damaged."""


def read_exactly(file: BinaryIO, length: int) -> bytes:
    """Return so many bytes. Raises Damaged when they aren't there."""
    data = file.read(length)
    if len(data) < length:
        raise Damaged("it ends inside a block")
    return data


def checked_time(time_ns: int) -> int:
    """Return a time that fits the column of times. Raises Damaged."""
    if not 0 <= time_ns < 1 << 64:
        raise Damaged("a time is before 1970, or in the far future")
    return time_ns
