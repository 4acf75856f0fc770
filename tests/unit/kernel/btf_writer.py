"""Writes small BTF blobs, one type a call, so that tests know every byte they parse."""

from __future__ import annotations

import struct

from fyke.kernel.btf_raw import KINDS


class BtfWriter:
    def __init__(self, first_id: int = 1, first_string: int = 0) -> None:
        self.types = b""
        self.strings = b"\0" if not first_string else b""
        self.next_id = first_id
        self.first_string = first_string

    def string(self, text: str) -> int:
        if not text:
            return 0
        offset = self.first_string + len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def add(
        self,
        kind: str | int,
        name: str = "",
        ref: int = 0,
        *,
        words: tuple[int, ...] = (),
        vlen: int = 0,
        flag: bool = False,
    ) -> int:
        """Add a type; `ref` is its size or the type it refers to, `words` what follows. Returns its id."""
        number = KINDS[kind] if isinstance(kind, str) else kind
        info = int(flag) << 31 | number << 24 | vlen
        self.types += struct.pack(f"<{3 + len(words)}I", self.string(name), info, ref, *words)
        self.next_id += 1
        return self.next_id - 1

    def int(self, name: str, size: int = 4, signed: bool = False) -> int:
        return self.add("int", name, size, words=(int(signed) << 24 | size * 8,))

    def pointer(self, target: int) -> int:
        return self.add("ptr", ref=target)

    def struct(self, name: str, size: int, *members: tuple[str, int, int], kind: str = "struct") -> int:
        """Members are (name, type, bit offset)."""
        return self._elements(kind, name, size, members)

    def bitfields(self, name: str, size: int, *members: tuple[str, int, int, int]) -> int:
        """Members are (name, type, bit offset, bit size)."""
        flagged = [(m, t, bits << 24 | offset) for m, t, offset, bits in members]
        return self._elements("struct", name, size, flagged, flag=True)

    def enum(self, name: str, *values: tuple[str, int], signed: bool = False) -> int:
        words = [w for n, v in values for w in (self.string(n), v & 0xFFFFFFFF)]
        return self.add("enum", name, 4, words=tuple(words), vlen=len(values), flag=signed)

    def enum64(self, name: str, *values: tuple[str, int], signed: bool = False) -> int:
        words = [w for n, v in values for w in (self.string(n), v & 0xFFFFFFFF, v >> 32 & 0xFFFFFFFF)]
        return self.add("enum64", name, 8, words=tuple(words), vlen=len(values), flag=signed)

    def proto(self, returns: int, *params: tuple[str, int]) -> int:
        words = [w for n, t in params for w in (self.string(n), t)]
        return self.add("func_proto", ref=returns, words=tuple(words), vlen=len(params))

    def func(self, name: str, proto: int) -> int:
        return self.add("func", name, proto)

    def _elements(self, kind, name, size, members, flag=False):  # type: ignore[no-untyped-def]
        words = [w for n, *rest in members for w in (self.string(n), *rest)]
        return self.add(kind, name, size, words=tuple(words), vlen=len(members), flag=flag)

    def blob(self, layout: bytes = b"") -> bytes:
        types, strings = self.types, self.strings
        extra = struct.pack("<II", len(types) + len(strings), len(layout)) if layout else b""
        sizes = (0, len(types), len(types), len(strings))
        return (
            struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24 + len(extra), *sizes) + extra + types + strings + layout
        )
