"""Random field filters about the kernel's own structures, laid out in an image, and a second opinion on them.

What the fields are is declared here, as the kernel's headers have them; only their places are taken from BTF.
Fields that the running kernel doesn't have are left out.
"""

from __future__ import annotations

import pathlib
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from fyke.filters.fields.tree import Address, Path, Step
from live import image as live

UNIT = pathlib.Path(__file__).parents[1] / "unit"
sys.path[:0] = [str(UNIT / part) for part in ("kernel", "filters/fields")]

import oracle  # type: ignore[import-not-found] # noqa: E402
from field_samples import Samples  # type: ignore[import-not-found] # noqa: E402
from made_structs import (  # type: ignore[import-not-found] # noqa: E402
    BE16,
    BE32,
    CHAR,
    S32,
    STRUCTS,
    U8,
    U16,
    U32,
    U64,
    Arr,
    Bits,
    Int,
    Ptr,
    Ref,
    Struct,
)  # fmt: skip

__all__ = ["KernelSamples", "Memory", "declared", "holds"]

holds = oracle.holds

# struct -> member -> type.
FIELDS: dict[str, dict[str, Any]] = {
    "sk_buff": {
        "dev": Ptr(Ref("net_device")), "sk": Ptr(Ref("sock")), "next": Ptr(Ref("sk_buff")),
        "_nfct": U64, "mark": U32, "hash": U32, "priority": U32, "len": U32, "skb_iif": S32,
        "protocol": BE16, "vlan_proto": BE16, "vlan_tci": U16, "queue_mapping": U16,
        "pkt_type": Bits(U8, 3), "ip_summed": Bits(U8, 2), "cloned": Bits(U8, 1), "fclone": Bits(U8, 2),
        "csum_level": Bits(U8, 2), "nohdr": Bits(U8, 1), "cb": Arr(CHAR, 48), "data": Ptr(U8),
    },
    "net_device": {
        "name": Arr(CHAR, 16), "ifindex": S32, "group": S32, "mtu": U32, "flags": U32, "type": U16,
        "addr_len": U8, "dev_addr": Ptr(U8), "perm_addr": Arr(U8, 32), "nd_net": Ref("possible_net_t"),
        "rtnl_link_ops": Ptr(Ref("rtnl_link_ops")),
    },
    "possible_net_t": {"net": Ptr(Ref("net"))},
    "net": {"ns": Ref("ns_common"), "hash_mix": U32},
    "ns_common": {"inum": U32},
    "rtnl_link_ops": {"kind": Ptr(CHAR)},
    "sock": {
        "__sk_common": Ref("sock_common"), "sk_mark": U32, "sk_priority": U32, "sk_err": S32,
        "sk_rcvbuf": S32, "sk_user_data": Ptr(None),
    },
    "sock_common": {
        "skc_daddr": BE32, "skc_rcv_saddr": BE32, "skc_dport": BE16, "skc_num": U16, "skc_family": U16,
        "skc_state": U8, "skc_reuse": Bits(U8, 4), "skc_bound_dev_if": S32, "skc_prot": Ptr(Ref("proto")),
        "skc_net": Ref("possible_net_t"),
        "skc_v6_daddr": Ref("in6_addr"), "skc_v6_rcv_saddr": Ref("in6_addr"),
    },
    "in6_addr": {"in6_u": Ref("in6_addr_words")},
    "in6_addr_words": {"u6_addr8": Arr(U8, 16), "u6_addr32": Arr(BE32, 4)},
    "proto": {"name": Arr(CHAR, 32)},
    "nf_conn": {"mark": U32, "timeout": U32, "status": U64, "ct_net": Ref("possible_net_t")},
}  # fmt: skip
# What has no name in C, or another: a first member of these is at their start.
NAMELESS = {"possible_net_t": 8, "in6_addr_words": 16}
ALLOCATED = ("sk_buff", "net_device", "net", "rtnl_link_ops", "sock", "proto", "nf_conn")
STARTS = ("sk_buff", "net_device", "sock", "net", "nf_conn")
# Behind the image a page is certain to be unmapped: no field of what is said to be there is beyond it.
GUARD = 4096
MACS = (bytes(6), b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\xff" * 6)
V6 = (bytes(15) + b"\1", bytes.fromhex("20010db8") + bytes(11) + b"\2", b"\xfe\x80" + bytes(13) + b"\1")


def _layouts(image: live.Image) -> dict[str, Any]:
    """Return the declared structs with the places of their members in the running kernel."""
    found: dict[str, Any] = {}
    for name, members in FIELDS.items():
        if name in NAMELESS:
            found[name] = Struct(NAMELESS[name], {member: (0, kind) for member, kind in members.items()})
            continue
        try:
            places = {member: image.place(name, member) for member in members}
        except KeyError:  # nf_conn's module isn't loaded
            continue
        there = {m: (place.bit_offset, members[m]) for m, place in places.items() if place}
        size = max((place.offset + place.bytes for place in places.values() if place), default=0)
        assert size <= GUARD, name
        for member, (_, kind) in there.items():
            place = places[member]
            assert place
            assert place.bit_size == (kind.count if isinstance(kind, Bits) else 0), member
        found[name] = Struct(size, there)
    return found


@contextmanager
def declared(image: live.Image) -> Iterator[None]:
    """Let the samples and the second opinion be about the kernel's structures."""
    with patch.dict(STRUCTS, _layouts(image), clear=True):
        yield


@dataclass
class Memory(oracle.Image):  # type: ignore[misc]
    """The image, as the second opinion reads it. roots: the arguments of the probe, by struct."""

    image: live.Image | None = None

    def read(self, address: int, size: int) -> bytes:
        assert self.image
        try:
            return self.image.read(address, size)
        except IndexError:
            raise oracle.Unreadable(hex(address)) from None


class KernelSamples(Samples):  # type: ignore[misc]
    """Random memory, and random expressions about it; used within `declared`.

    arguments: the structs that the probe gets, in order; starts: those that expressions begin at.
    """

    def __init__(
        self, seed: int, image: live.Image, arguments: Sequence[str], starts: Sequence[str] = STARTS
    ) -> None:
        self.random = random.Random(seed)
        self.memory, self.nowhere = image, image.unmapped
        self.image = Memory(image=image)
        self.arguments = arguments
        self.starts = [start for start in starts if start in STRUCTS]
        self.fill()

    def fill(self) -> None:
        """Lay everything out anew, at the same addresses, with other contents."""
        image = self.memory
        image.clear()
        kinds = [kind for kind in ALLOCATED if kind in STRUCTS]
        self.objects = {kind: [image.struct(kind), image.struct(kind)] for kind in kinds}
        self.bytes_at = []
        for content in (b"veth\0", b"eth0\0", b"\0", b"a\0junk", b"veth1\0", *MACS):
            self.bytes_at.append(image.allocate(64))
            image.write_bytes(self.bytes_at[-1], content)
        for kind in kinds:
            for address in self.objects[kind]:
                made = bytearray(STRUCTS[kind].size + 8)
                self._struct(made, 0, kind)
                image.write_bytes(address, bytes(made[:-8]))
        self.image.roots = {name: self._address(self.objects[name]) for name in self.arguments}

    def _struct(self, content: bytearray, start: int, name: str) -> None:
        super()._struct(content, start, name)
        if "_nfct" in STRUCTS[name].members:
            at = STRUCTS[name].members["_nfct"][0] // 8
            tagged = self._pointer(Ref("nf_conn")) | self.random.randrange(8)
            content[at : at + 8] = tagged.to_bytes(8, "little")

    def _member(self, content: bytearray, at: int, shift: int, kind: Any) -> None:
        if kind == Ref("in6_addr"):
            content[at : at + 16] = self.random.choice(V6)
        elif kind == Arr(U8, 32):
            content[at : at + 6] = self.random.choice(MACS)
        else:
            super()._member(content, at, shift, kind)

    def _pointer(self, to: Any) -> int:
        kind = to.struct if isinstance(to, Ref) and to.struct in self.objects else "sk_buff"
        return int(self._address(self.bytes_at if isinstance(to, Int) else self.objects[kind]))

    def term(self) -> Any:
        r = self.random
        start = r.choice(self.starts)
        if r.random() < 0.05:
            return self._numbers(Path(start), oracle.root(start, self.image), Ptr(None), "")
        steps: list[Step] = []
        kind = Ref(start)
        while isinstance(kind, Ref):
            kind = self._step(kind, steps)
        return self._term(Path(start, tuple(steps)), kind)

    def _term(self, path: Path, kind: Any) -> Any:
        return self._bytes(path, self._mac) if kind == Arr(U8, 32) else super()._term(path, kind)

    def _mac(self) -> Address:
        return Address(self.random.choice(MACS), 48)

    def _v6(self) -> Any:
        return self._prefix(self.random.choice(V6))
