"""A small kernel of structures, declared as plain layouts: for BTF, and for the oracle to walk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from btf_writer import BtfWriter

from fyke.kernel.btf import Btf


@dataclass(frozen=True)
class Int:
    name: str
    size: int
    signed: bool = False
    typedef: str = ""

    @property
    def big_endian(self) -> bool:
        return self.typedef.startswith("__be")


@dataclass(frozen=True)
class Bits:
    of: Int
    count: int


@dataclass(frozen=True)
class Enum:
    name: str
    values: tuple[tuple[str, int], ...]
    signed: bool = False


@dataclass(frozen=True)
class Ref:
    struct: str


@dataclass(frozen=True)
class Ptr:
    to: Type | None  # None: void


@dataclass(frozen=True)
class Arr:
    of: Type
    length: int


Type: TypeAlias = "Int | Bits | Enum | Ref | Ptr | Arr"


@dataclass(frozen=True)
class Struct:
    """Members by name: (offset in bits, type). `together`: those that BTF has in an anonymous union."""

    size: int
    members: dict[str, tuple[int, Type]]
    together: tuple[str, ...] = field(default=())


CHAR, U8, BOOL = Int("char", 1, signed=True), Int("unsigned char", 1), Int("_Bool", 1)
U16, U32, U64 = Int("unsigned short", 2), Int("unsigned int", 4), Int("unsigned long", 8)
S8, S16, S32, S64 = (
    Int("signed char", 1, True),
    Int("short", 2, True),
    Int("int", 4, True),
    Int("long", 8, True),
)
BE16, BE32, BE64 = (
    Int("unsigned short", 2, False, "__be16"),
    Int("unsigned int", 4, False, "__be32"),
    Int("unsigned long", 8, False, "__be64"),
)
STATE = Enum("state", (("DOWN", 0), ("UP", 1), ("BROKEN", 7)))
ERROR = Enum("error", (("FINE", 0), ("BAD", -2), ("WORSE", -100)), signed=True)
SKB, DEV, SOCK, CONN, NET, TASK = "sk_buff", "net_device", "sock", "nf_conn", "net", "task_struct"

STRUCTS = {
    SKB: Struct(
        112,
        {
            "next": (0, Ptr(Ref(SKB))),
            "tstamp": (0, S64),
            "dev": (64, Ptr(Ref(DEV))),
            "sk": (128, Ptr(Ref(SOCK))),
            "_nfct": (192, U64),
            "mark": (256, U32),
            "pkt_type": (288, Bits(U8, 3)),
            "ip_summed": (291, Bits(U8, 2)),
            "cloned": (293, Bits(U8, 1)),
            "level": (296, Bits(S16, 5)),
            "wide": (301, Bits(U32, 19)),
            "protocol": (320, BE16),
            "hash": (336, U16),
            "state": (352, STATE),
            "cb": (384, Arr(U8, 16)),
            "private": (512, Ptr(None)),
            "signed_level": (576, Bits(S32, 9)),
            "errors": (608, Arr(S16, 4)),
            "flag": (672, BOOL),
            "data": (704, Ptr(U8)),
            "label": (768, Ptr(CHAR)),
            "tail": (832, Arr(S8, 8)),
        },
        together=("next", "tstamp"),
    ),
    DEV: Struct(
        120,
        {
            "name": (0, Arr(CHAR, 16)),
            "ifindex": (128, S32),
            "error": (160, ERROR),
            "perm_addr": (192, Arr(U8, 8)),
            "dev_addr": (256, Ptr(U8)),
            "nd_net": (320, Ref("possible_net_t")),
            "queues": (384, Ptr(Ref("queue"))),
            "queue": (448, Arr(Ref("queue"), 3)),
            "alias": (832, Ptr(CHAR)),
            "code": (896, Arr(CHAR, 4)),
        },
    ),
    SOCK: Struct(
        96,
        {
            "__sk_common": (0, Ref("sock_common")),
            "sk_mark": (512, U32),
            "sk_err": (544, S32),
            "sk_cookie": (576, BE64),
            "sk_owner": (640, Ptr(Ptr(Ref(TASK)))),
        },
    ),
    "sock_common": Struct(
        64,
        {
            "skc_daddr": (0, BE32),
            "skc_in": (0, Ref("in_addr")),
            "skc_dport": (32, BE16),
            "skc_num": (48, U16),
            "skc_net": (64, Ref("possible_net_t")),
            "skc_v6_daddr": (128, Ref("in6_addr")),
            "skc_v6": (256, Arr(BE32, 4)),
            "skc_v4": (384, Arr(U8, 4)),
        },
    ),
    "in_addr": Struct(4, {"s_addr": (0, BE32)}),
    "in6_addr": Struct(16, {"bytes": (0, Arr(U8, 16))}),
    "queue": Struct(16, {"state": (0, U64), "len": (64, S16), "up": (80, Bits(U8, 1))}),
    CONN: Struct(24, {"mark": (0, U32), "timeout": (32, S32), "net": (64, Ref("possible_net_t"))}),
    "possible_net_t": Struct(8, {"net": (0, Ptr(Ref(NET)))}),
    NET: Struct(32, {"count": (0, S64), "inum": (64, U32), "cookie": (128, U64)}),
    TASK: Struct(
        48, {"pid": (0, S32), "tgid": (32, S32), "comm": (64, Arr(CHAR, 16)), "net": (192, Ptr(Ref(NET)))}
    ),
}


class MadeTypes:
    """Implements fyke.filters.fields.types.Types from STRUCTS (or others)."""

    def __init__(self, structs: dict[str, Struct] | None = None) -> None:
        self.structs = STRUCTS if structs is None else structs
        self.writer = BtfWriter()
        self.ids: dict[object, int] = {}
        # A struct has to be known before it is written, since they refer to each other: ids are told apart by
        # writing twice, the second time with the ids of the first.
        self._write()
        self.struct_ids = {name: self.ids[Ref(name)] for name in self.structs}
        self.writer, self.ids = BtfWriter(), {}
        self._write()
        self.btf = Btf.parse(self.writer.blob())

    struct_ids: dict[str, int] = {}  # noqa: RUF012

    def struct(self, name: str) -> tuple[Btf, int] | None:
        found = self.btf.find("struct", name)
        return None if found is None else (self.btf, found)

    def near_structs(self, name: str) -> list[str]:
        return sorted(other for other in self.structs if other[:2] == name[:2])

    def _write(self) -> None:
        for name, struct in self.structs.items():
            members = [(m, self._id(t), at, t.count if isinstance(t, Bits) else 0)
                       for m, (at, t) in struct.members.items() if m not in struct.together]  # fmt: skip
            if struct.together:
                inside = [
                    (m, self._id(t), at) for m, (at, t) in struct.members.items() if m in struct.together
                ]
                start = min(at for _, _, at in inside)
                union = self.writer.struct("", 8, *((m, t, at - start) for m, t, at in inside), kind="union")
                members.append(("", union, start, 0))
            self.ids[Ref(name)] = self.writer.bitfields(name, struct.size, *members)

    def _id(self, wanted: Type) -> int:
        if isinstance(wanted, Ref):
            return self.struct_ids.get(wanted.struct, 0)
        if isinstance(wanted, Bits):
            wanted = wanted.of
        if wanted not in self.ids:
            self.ids[wanted] = self._new(wanted)
        return self.ids[wanted]

    def _new(self, wanted: Type) -> int:
        w = self.writer
        match wanted:
            case Int(name, size, signed, typedef):
                plain = w.int(name, size, signed)
                return w.add("typedef", typedef, plain) if typedef else plain
            case Enum(name, values, signed):
                return w.enum(name, *values, signed=signed)
            case Ptr(None):
                return w.pointer(0)
            case Ptr(to):
                return w.pointer(self._id(to))
            case Arr(of, length):
                element = self._id(of)
                return w.add("array", words=(element, element, length))
        raise AssertionError(wanted)
