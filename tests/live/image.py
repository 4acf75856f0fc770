"""Packets made up in kernel memory: an skb, its data and what it points to, any bytes, no network.

An element of a BPF array is memory that the kernel and this process both see. In it lie a `struct sk_buff`
and what it points to, each member where the running kernel's BTF has it; pointers are the kernel's addresses
of the same memory. What is done with them is in live.image_run.

    with Image(kernel()) as image, ImageRun(snaplen=64) as run:
        eth0 = image.struct("net_device", name=b"eth0", ifindex=7)
        skb = image.skb(frame, network=14, protocol=0x0800, dev=eth0)
        assert run(skb).row["dev"]["name"] == "eth0"
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from fyke.kernel import syscall_bpf as bpf
from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import ARRAY, STRUCT, UNION
from fyke.kernel.syscalls import number_of, syscall
from fyke.kernel.view import LiveKernel

__all__ = ["HEADROOM", "HEADROOM_BYTE", "TAILROOM_BYTE", "UNSET", "Image", "Place", "ProgramRun"]

HEADROOM = 64
"""Bytes between skb->head and a packet, unless it is said otherwise."""
HEADROOM_BYTE, TAILROOM_BYTE = 0xDD, 0xEE
"""What fills the room before and behind a packet, so that a read beyond its ends shows."""
UNSET = 0xFFFF
"""skb->mac_header when there is none (skb_mac_header_was_set(), include/linux/skbuff.h)."""

_PROG_TEST_RUN = 10  # enum bpf_cmd, include/uapi/linux/bpf.h
_MAP_TYPE_ARRAY, _MMAPABLE = 2, 1 << 10  # enum bpf_map_type, BPF_F_MMAPABLE
_MAX_ARGUMENTS = 12  # MAX_BPF_FUNC_ARGS, include/linux/bpf.h
_CACHE_LINE = 64
_TAILROOM = 32

Value = int | bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member is: bits from the start of the struct. bit_size is 0 unless it is a bit field."""

    bit_offset: int
    bit_size: int
    bytes: int

    @property
    def offset(self) -> int:
        """Offset in bytes (rounded down for a bit field)."""
        return self.bit_offset // 8


class ProgramRun:
    """Runs a raw tracepoint's program by hand (BPF_PROG_TEST_RUN)."""

    def __init__(self, prog_fd: int) -> None:
        self._number = number_of("bpf")
        self._arguments = (ctypes.c_uint64 * _MAX_ARGUMENTS)()
        # The `test` part of union bpf_attr: prog_fd; ctx_size_in and ctx_in.
        self._attr = ctypes.create_string_buffer(80)
        struct.pack_into("=I", self._attr, 0, prog_fd)
        size, address = ctypes.sizeof(self._arguments), ctypes.addressof(self._arguments)
        struct.pack_into("=IIQ", self._attr, 40, size, 0, address)

    def __call__(self, *arguments: int) -> int:
        """Run it once with these arguments of its tracepoint, the others 0; return what it returns."""
        self._arguments[:] = [*arguments, *[0] * (_MAX_ARGUMENTS - len(arguments))]
        syscall(self._number, _PROG_TEST_RUN, self._attr, len(self._attr))
        return int.from_bytes(self._attr.raw[4:8], "little")


class Image:
    """Kernel memory to lay structures out in; a context manager. It is zero where nothing was written.

    address: what the kernel calls its start. unmapped: a kernel address behind its end where nothing is, for
    a page (vmalloc's guard).
    """

    def __init__(self, of: LiveKernel, size_bytes: int = 1 << 16) -> None:
        self._kernel = of
        self._places: dict[tuple[str, str], Place] = {}
        self._types: dict[str, tuple[Btf, int]] = {}
        self._size = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        _allow_locked_memory()
        fd = bpf.map_create(_MAP_TYPE_ARRAY, 4, self._size, 1, flags=_MMAPABLE, name="fyke_image")
        try:
            self._memory = mmap.mmap(fd, self._size)
            _learn_address(fd)
        finally:
            os.close(fd)  # the mapping keeps the memory
        self.address = int.from_bytes(self._memory[:8], "little")
        self.unmapped = self.address + self._size
        self._used = 8
        self.clear()

    def clear(self) -> None:
        """Forget all that was allocated."""
        self._memory[: self._used] = bytes(self._used)
        self._used = 0

    def allocate(self, size: int) -> int:
        """Return the address of `size` zero bytes, aligned to a cache line. MemoryError when it is full."""
        at = -(-self._used // _CACHE_LINE) * _CACHE_LINE
        if at + size > self._size:
            raise MemoryError(f"the image of {self._size} bytes is full")
        self._used = at + size
        return self.address + at

    def place(self, kind: str, path: str) -> Place | None:
        """Find a member by its path from a struct, as C writes it (`__sk_common.skc_net.net`, `cb[3]`).

        Anonymous structs and unions are looked into, pointers aren't followed. None: this kernel's struct has
        no such member.
        """
        btf, type_id = self._type(kind)
        bits = bit_size = 0
        for part in path.split("."):
            name, _, index = part.rstrip("]").partition("[")
            is_struct = btf.kind(btf.resolve(type_id)) in (STRUCT, UNION)
            member = btf.member(type_id, name) if is_struct else None
            if member is None:
                return None
            bits, bit_size, type_id = bits + member.bit_offset, member.bit_size, member.type_id
            if index:
                array = btf.resolve(type_id)
                if btf.kind(array) != ARRAY or int(index) >= btf.array_length(array):
                    return None
                type_id = btf.target(array)
                bits += 8 * int(index) * btf.size(type_id)
        return Place(bits, bit_size, btf.size(type_id))

    def struct(self, kind: str, **members: Value) -> int:
        """Allocate a structure of the kernel, zero but for the members given; return its address."""
        btf, type_id = self._type(kind)
        address = self.allocate(btf.size(type_id))
        self.write(address, kind, **members)
        return address

    def write(self, address: int, kind: str, **members: Value) -> None:
        """Set members of a structure by their paths: numbers (bit fields too), or bytes, which may be fewer.

        KeyError when this kernel's struct has no such member, OverflowError when a value doesn't fit it,
        IndexError outside of the image.
        """
        for path, value in members.items():
            place = self._known_place(kind, path)
            at = self._at(address + place.offset, place.bytes)
            if isinstance(value, bytes):
                if len(value) > place.bytes:
                    raise OverflowError(f"{kind}.{path} has {place.bytes} bytes, not {len(value)}")
                self._memory[at : at + len(value)] = value
            elif place.bit_size:
                self._write_bits(at, place, value)
            else:
                self._memory[at : at + place.bytes] = value.to_bytes(place.bytes, "little", signed=value < 0)

    def write_bytes(self, address: int, data: bytes) -> None:
        """Write plain bytes."""
        at = self._at(address, len(data))
        self._memory[at : at + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of the image. IndexError when some are outside of it."""
        at = self._at(address, size)
        return self._memory[at : at + size]

    def skb(
        self,
        packet: bytes = b"",
        *,
        mac: int | None = 0,
        network: int | None = None,
        data_at: int = 0,
        linear: int | None = None,
        headroom: int = HEADROOM,
        protocol: int = 0,
        vlan: tuple[int, int] | None = None,
        shared: Mapping[str, Value] | None = None,
        **members: Value,
    ) -> int:
        """Lay out an skb with its data and `skb_shared_info`; return its address.

        mac, network, data_at: positions in `packet` of the headers and of skb->data (when received, behind
        the link-layer header); None: unset. linear: how many bytes are in the linear area; the others are
        said to be in a fragment, which isn't there. protocol: an Ethertype. vlan: (Ethertype, TCI) of an
        accelerated tag. shared: members of `struct skb_shared_info`. members: any others of `struct sk_buff`,
        raw; they win.
        """
        linear = len(packet) if linear is None else linear
        assert 0 <= linear <= len(packet), "the linear area is part of the packet"
        tail = headroom + linear
        end = -(-(tail + _TAILROOM) // _CACHE_LINE) * _CACHE_LINE
        head = self.allocate(end)
        room = bytes([HEADROOM_BYTE]) * headroom, bytes([TAILROOM_BYTE]) * (end - tail)
        at = self._at(head, end)
        self._memory[at : at + end] = room[0] + packet[:linear] + room[1]
        info = self.struct("skb_shared_info")
        assert info == head + end, "the kernel looks for it there"
        in_fragments = len(packet) - linear
        counts: dict[str, Value] = {"dataref.counter": 1, "nr_frags": int(in_fragments > 0)}
        self.write(info, "skb_shared_info", **counts | dict(shared or {}))
        usual: dict[str, Value] = {
            "head": head,
            "data": head + headroom + data_at,
            "tail": tail,
            "end": end,
            "len": len(packet) - data_at,
            "data_len": in_fragments,
            "mac_header": UNSET if mac is None else headroom + mac,
            "network_header": 0 if network is None else headroom + network,
            "protocol": protocol.to_bytes(2, "big"),
            "users.refs.counter": 1,
        }
        return self.struct("sk_buff", **usual | self._tag(vlan) | members)

    def _tag(self, vlan: tuple[int, int] | None) -> dict[str, Value]:
        if vlan is None:
            return {}
        tag: dict[str, Value] = {"vlan_proto": vlan[0].to_bytes(2, "big"), "vlan_tci": vlan[1]}
        # Linux kernel commit 354259fa73e2 ("net: remove skb->vlan_present") (in v6.2).
        return tag | ({"vlan_present": 1} if self.place("sk_buff", "vlan_present") else {})

    def _write_bits(self, at: int, place: Place, value: int) -> None:
        if value >> place.bit_size:
            raise OverflowError(f"{value} doesn't fit a bit field of {place.bit_size}")
        shift = place.bit_offset % 8
        count = (shift + place.bit_size + 7) // 8
        old = int.from_bytes(self._memory[at : at + count], "little")
        mask = (1 << place.bit_size) - 1 << shift
        self._memory[at : at + count] = (old & ~mask | value << shift).to_bytes(count, "little")

    def _at(self, address: int, size: int) -> int:
        at = address - self.address
        if at < 0 or at + size > self._size:
            raise IndexError(f"{size} bytes at {address:#x} are not all in the image")
        return at

    def _known_place(self, kind: str, path: str) -> Place:
        place = self._places.get((kind, path))
        if place is None:
            place = self.place(kind, path)
            if place is None:
                raise KeyError(f"struct {kind} has no {path} in this kernel")
            self._places[kind, path] = place
        return place

    def _type(self, kind: str) -> tuple[Btf, int]:
        """Find a struct in the kernel's types, else in those of its modules."""
        if kind not in self._types:
            for btf in (self._kernel.vmlinux, *self._kernel.modules.values()):
                type_id = btf.find("struct", kind)
                if type_id is not None:
                    self._types[kind] = btf, type_id
                    break
            else:
                raise KeyError(f"this kernel has no struct {kind}")
        return self._types[kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.close()


def _learn_address(map_fd: int) -> None:
    """Let the kernel write its address of a map's first element into that element."""
    load, store, pseudo_map_value = 0x18, 0x7B, 2
    r1 = 1
    first_half = bpf.instruction(load, r1, pseudo_map_value, imm=map_fd)
    code = first_half + bpf.instruction(0) + bpf.instruction(store, r1, r1) + bpf.RETURN_0
    fd = bpf.prog_load(bpf.PROG_TYPE_RAW_TRACEPOINT, code, log=True)
    try:
        ProgramRun(fd)()
    finally:
        os.close(fd)


def _allow_locked_memory() -> None:
    """Maps count as locked memory before Linux 5.11; libbpf raises the limit too, before the first."""
    with suppress(ValueError):  # not even root may everywhere
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
