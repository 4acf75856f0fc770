"""One place in the kernel that a collection probes, and what happens there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fyke.capture.mechanisms import MECHANISMS
from fyke.collectors.ct.events import CREATED, DESTROYED
from fyke.kernel.binaries.operands import Operand
from fyke.kernel.bpf_programs import XDP, BpfProgram
from fyke.kernel.return_type import ReturnType


@dataclass(frozen=True)
class UserPlace:
    """A place in a user program.

    path: of the program or library, as its processes have it. file: where we can open it. offset: of the
    instruction in the file. semaphore: offset of the counter of those who listen; 0: none.
    arguments: where they are there; None: out of reach.
    """

    path: str
    file: str
    offset: int
    semaphore: int = 0
    arguments: tuple[Operand | None, ...] = ()


@dataclass(frozen=True)
class PlannedProbe:
    """One place in the kernel and what happens there.

    arguments: kind (`skb`, `dev`, `net`, `reason`, `other`, `result`) -> index among the arguments; a return
    value stands behind them.
    flags: names of `enum probe_flags`, without the prefix.
    roots: struct that the field filter starts from -> index of the argument that points to one.
    steps: kind (`skb`, `dev`, `net`) -> byte offsets of the pointers to follow from that argument to what is
    sought; none: it is one.
    returns: what the function returns, at a probe of its return; None: nothing, or not known.
    exit: what tracking looks at the function's return for (enum exit_id); empty: it doesn't.
    at_program: the BPF program it is at, in place of a function of the kernel.
    added_ns: when it was added while the collection ran; None: it was there from the start.
    user: where it is, if that is in a user program.
    """

    symbol: str
    mechanism: str
    sections: frozenset[str]
    arguments: dict[str, int]
    flags: frozenset[str] = frozenset()
    asked: tuple[str, ...] = ()
    roots: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    returns: ReturnType | None = None
    exit: str = ""
    at_program: BpfProgram | None = None
    added_ns: int | None = None
    user: UserPlace | None = None

    @property
    def takes_frames(self) -> bool:
        """Whether packets come there as XDP has them, without an skb."""
        return self.at_program is not None and self.at_program.kind == XDP

    @property
    def connection(self) -> bool:
        """Whether its events are of a connection, not of a packet."""
        return bool(self.flags & {CREATED.flag, DESTROYED.flag})

    @property
    def finds_skb(self) -> bool:
        """Whether the packet is no argument, but found by the program."""
        return "skb" in self.steps or "OVS_LOOKUP" in self.flags

    @property
    def ovs(self) -> bool:
        """Whether it is one of Open vSwitch's, which have programs of their own."""
        return any(flag.startswith("OVS_") for flag in self.flags)

    @property
    def program(self) -> str:
        """The program of the BPF object that runs there."""
        if self.exit:
            return f"exit_{self.exit}"
        how = MECHANISMS[self.mechanism]
        if "OVS_RECEIVED" in self.flags:
            return how.received
        if self.flags >= {"OVS_PUT", "OVS_EXEC"}:
            return how.ovs_many
        if self.ovs:
            return how.ovs
        if self.takes_frames:
            return how.frames[0]
        return how.connections if self.connection else how.program

    @property
    def entry_program(self) -> str:
        """Of a return, the program that runs at the function's entry."""
        how = MECHANISMS[self.mechanism]
        if self.ovs:
            return how.ovs_entry
        return how.frames[1] if self.takes_frames else how.entry

    @property
    def internal(self) -> bool:
        """Whether only tracking needs it."""
        return not self.asked

    @property
    def is_return(self) -> bool:
        """Whether it is at the function's return, and another program at its entry."""
        return not self.exit and bool(self.entry_program)
