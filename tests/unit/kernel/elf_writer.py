"""Small programs (ELF, 64 bit) with functions, variables and USDT probes, of no code at all."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

CODE, DATA, BASE = 0x401000, 0x405000, 0x402000  # addresses
CODE_AT, DATA_AT, SIZE = 0x1000, 0x2000, 0x100  # in the file
FUNCTION, OBJECT, IFUNC = 2, 1, 10


@dataclass
class Program:
    """What is in it. functions, variables: name -> (address, STT_*). imported: names from elsewhere."""

    functions: dict[str, tuple[int, int]] = field(default_factory=dict)
    imported: tuple[str, ...] = ()
    notes: bytes = b""
    base: int | None = BASE
    machine: int = 62
    kind: int = 3
    stripped: bool = False
    build_id: bytes = b""

    def image(self) -> bytes:
        """Return the file."""
        strings, symbols = b"\0", b"\0" * 24
        for name, (address, kind) in self.functions.items():
            symbols += struct.pack("<IBBHQQ", len(strings), 0x10 | kind, 0, 1, address, 4)
            strings += name.encode() + b"\0"
        for name in self.imported:
            symbols += struct.pack("<IBBHQQ", len(strings), 0x10 | FUNCTION, 0, 0, 0, 0)
            strings += name.encode() + b"\0"
        table = 11 if self.stripped else 2
        parts = [
            ("", 0, 0, b"", 0),
            (".text", 1, CODE, b"", 0),
            (".symtab", table, 0, symbols, 3),
            (".strtab", 3, 0, strings, 0),
            (".note.stapsdt", 7, 0, self.notes, 0),
        ]
        if self.build_id:
            content = struct.pack("<III", 4, len(self.build_id), 3) + b"GNU\0" + self.build_id
            parts.append((".note.gnu.build-id", 7, 0, content, 0))
        if self.base is not None:
            parts.append((".stapsdt.base", 1, self.base, b"\0", 0))
        names = b"\0".join([name.encode() for name, *_ in parts] + [b".shstrtab", b""])
        parts.append((".shstrtab", 3, 0, names, 0))
        body, headers, at = b"", b"", 0x3000
        for name, kind, address, content, link in parts:
            start = names.index(name.encode() + b"\0")
            headers += struct.pack(
                "<IIQQQQIIQQ", start, kind, 0, address, at + len(body), len(content), link, 0, 1, 0
            )
            body += content
        segments = struct.pack("<IIQQQQQQ", 1, 5, CODE_AT, CODE, CODE, SIZE, SIZE, 0x1000)
        segments += struct.pack("<IIQQQQQQ", 1, 6, DATA_AT, DATA, DATA, SIZE, SIZE, 0x1000)
        ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
        table_at = at + len(body)
        header = ident + struct.pack(
            *("<HHIQQQIHHHHHH", self.kind, self.machine, 1, CODE, 64, table_at, 0),
            *(64, 56, 2, 64, len(parts), len(parts) - 1),
        )
        return (header + segments).ljust(at, b"\0") + body + headers


def note(
    provider: str, name: str, address: int, arguments: str = "", semaphore: int = 0, base: int = BASE
) -> bytes:
    """Return the note of a USDT probe, as <sys/sdt.h> makes it."""
    text = b"".join(word.encode() + b"\0" for word in (provider, name, arguments))
    description = struct.pack("<QQQ", address, base, semaphore) + text
    return (
        struct.pack("<III", 8, len(description), 3)
        + b"stapsdt\0"
        + description
        + b"\0" * (-len(description) % 4)
    )
