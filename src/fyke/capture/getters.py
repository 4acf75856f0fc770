"""What leads to a packet where no argument is one: arguments, and the members to follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.capture.kernel import Kernel
from fyke.kernel.btf import Btf


@dataclass(frozen=True, slots=True)
class Getter:
    """An argument's struct, and the members from it to the skb, each a pointer."""

    struct: str
    members: tuple[str, ...]

    @property
    def argument(self) -> str:
        """The argument's type, as BTF spells it."""
        return f"struct {self.struct} *"


# The first that a function has an argument for, and the kernel the members, is taken.
GETTERS = (
    Getter("nft_pktinfo", ("skb",)),
    # Linux kernel commit 698bb828a6ec ("netfilter: nf_tables: do not store pktinfo in traceinfo structure")
    # (in v6.4): before it nft_traceinfo was the only way.
    Getter("nft_traceinfo", ("pkt", "skb")),
)


def steps(kernel: Kernel, getter: Getter) -> tuple[int, ...] | None:
    """Return the byte offset of each member, to be followed; None where the kernel has no such member."""
    for btf in kernel.btfs():
        type_id = btf.find("struct", getter.struct)
        if type_id is not None:
            return _offsets(btf, type_id, getter.members)
    return None


def _offsets(btf: Btf, type_id: int, members: tuple[str, ...]) -> tuple[int, ...] | None:
    offsets = []
    for at, name in enumerate(members):
        member = btf.member(type_id, name)
        if member is None:
            return None
        offsets.append(member.offset)
        if at + 1 < len(members):
            type_id = btf.resolve(btf.target(btf.resolve(member.type_id)))
    return tuple(offsets)
