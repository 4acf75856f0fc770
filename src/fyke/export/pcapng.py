"""Blocks of the pcapng format, little-endian; those of packets are put together many at a time.

Format: IETF draft-ietf-opsawg-pcapng. Where a text is too long for an option it is cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.pcapng import format as ng

_PADS = pa.array([b"", b"\0", b"\0\0", b"\0\0\0"], pa.binary())
_UNKNOWN_LENGTH = -1  # of a section: it goes on to the end of the file
_NANOSECONDS = b"\x09"  # if_tsresol: a power of ten
# Of an Enhanced Packet Block, up to the packet's bytes (4.3).
_PACKET_HEAD = np.dtype(
    [(name, "<u4") for name in ("type", "length", "interface", "high", "low", "captured", "original")]
)
_OPTION_HEAD = np.dtype([("code", "<u2"), ("length", "<u2")])


@dataclass(frozen=True)
class Texts:
    """An option of packets. values: utf8 or binary, null where a packet has none. lead: put before each."""

    code: int
    values: pa.Array
    lead: bytes = b""


def section_header(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the block that begins a file. options: (code, value)."""
    fields = struct.pack("<IHHq", ng.BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH)
    return _block(ng.SECTION_HEADER, fields + _options(options))


def interface(name: str, description: str, snaplen: int) -> bytes:
    """Return the description of an Ethernet interface whose packets have times in nanoseconds."""
    options = (
        (ng.IF_NAME, name.encode()),
        (ng.IF_DESCRIPTION, description.encode()),
        (ng.IF_TSRESOL, _NANOSECONDS),
    )
    return _block(ng.INTERFACE, struct.pack("<HHI", ng.ETHERNET, 0, snaplen) + _options(options))


def custom(number: int, data: bytes) -> bytes:
    """Return a block of the meaning that the holder of a Private Enterprise Number gave it."""
    return _block(ng.CUSTOM, struct.pack("<I", number) + _padded(data))


def packets(
    interfaces: npt.NDArray[np.int64],
    times_ns: npt.NDArray[np.uint64],
    data: pa.Array,
    wire_bytes: npt.NDArray[np.int64],
    options: Sequence[Texts],
) -> memoryview:
    """Return the blocks of packets, shape (n,) all, one after another.

    data: binary without nulls; it must be no longer than the interface's snaplen. wire_bytes: the lengths of
    the whole packets; raised where there are more bytes than that.
    """
    captured = pc.binary_length(data).to_numpy()
    parts = [data, _pads(captured), *(_option(texts) for texts in options)]
    body = pc.binary_join_element_wise(*parts, b"", null_handling="skip")
    lengths = _PACKET_HEAD.itemsize + pc.binary_length(body).to_numpy() + 8  # end of options, length again
    head = np.zeros(len(captured), _PACKET_HEAD)
    head["type"] = ng.PACKET
    head["length"] = lengths
    head["interface"] = interfaces
    head["high"] = times_ns >> np.uint64(32)
    head["low"] = times_ns & np.uint64(0xFFFFFFFF)
    head["captured"] = captured
    head["original"] = np.maximum(wire_bytes, captured)
    tail = np.zeros(len(captured), np.dtype([("end", "<u4"), ("length", "<u4")]))
    tail["length"] = lengths
    return all_bytes(pc.binary_join_element_wise(_records(head), body, _records(tail), b""))


def clipped(text: str, most: int = ng.MAX_OPTION) -> str:
    """Return a text, cut where its UTF-8 would be longer than `most` bytes."""
    if len(text) * 4 <= most:
        return text
    return text.encode()[:most].decode(errors="ignore")


def all_bytes(values: pa.Array) -> memoryview:
    """Return the bytes of all values (utf8 or binary), one after another: Arrow keeps them so."""
    _validity, offsets, data = values.buffers()
    if data is None:
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return memoryview(data)[ends[0] : ends[-1]]


def _option(texts: Texts) -> pa.Array:
    """Return an option of each packet as binary, null where there is none."""
    most = ng.MAX_OPTION - len(texts.lead)
    values = texts.values
    lengths = pc.fill_null(pc.binary_length(values), 0).to_numpy().astype(np.int64)
    if lengths.max(initial=0) > most:
        long = pa.array(lengths > most)
        cut = [clipped(text, most) for text in values.filter(long).to_pylist()]
        values = pc.replace_with_mask(values, long, pa.array(cut, values.type))
        lengths = np.minimum(pc.fill_null(pc.binary_length(values), 0).to_numpy(), most)
    head = np.zeros(len(lengths), _OPTION_HEAD)
    head["code"] = texts.code
    head["length"] = lengths + len(texts.lead)
    pads = _pads(lengths + len(texts.lead))
    return pc.binary_join_element_wise(_records(head), texts.lead, values.cast(pa.binary()), pads, b"")


def _pads(lengths: npt.NDArray[np.int64]) -> pa.Array:
    """Return for each length the zeros up to the next multiple of four."""
    return _PADS.take(pa.array(-lengths & 3))


def _records(array: npt.NDArray[np.void]) -> pa.Array:
    """Return the bytes of each element of a structured array."""
    offsets = np.arange(len(array) + 1, dtype=np.int32) * np.int32(array.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(array)]
    return pa.Array.from_buffers(pa.binary(), len(array), buffers)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    packed = [struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options]
    return b"".join((*packed, struct.pack("<HH", ng.END_OF_OPTIONS, 0)))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
