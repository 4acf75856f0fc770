"""Kernel symbols (/proc/kallsyms): addresses to names for stack traces, names to addresses for probes.

Only code is kept. Addresses stay hexadecimal text, as long as the kernel prints them (16 digits): text of one
length sorts as the numbers do, so reading 120,000 symbols needs no conversion.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

KALLSYMS = Path("/proc/kallsyms")
# nm's letters for code: text and weak, local and global.
_CODE = frozenset((b"t", b"T", b"w", b"W"))
_ADDRESS = itemgetter(slice(0, 16))
_ZERO = b"0" * 16
# Outside the kernel's own text (modules, BPF programs) the last symbol before a hole has no known end; no
# function there is longer than this.
_LONGEST = 0x10000
# Suffixes that compilers give to a function they have changed or moved; GCC's and LLVM's.
_SUFFIXES = (b"isra", b"constprop", b"part", b"llvm", b"lto_priv")


@dataclass(frozen=True, slots=True)
class Symbol:
    """Where an address lies: a function, its module (empty for the kernel's own) and the bytes into it."""

    name: str
    module: str
    offset: int

    def __str__(self) -> str:
        """Return `name+0xoffset`."""
        return f"{self.name}+{self.offset:#x}"


class Kallsyms:
    """The code symbols of a kernel at one moment. BPF programs loaded later are in a later reading only."""

    def __init__(self, data: bytes) -> None:
        # `$x` and the like are no functions: they mark instruction sets on arm64.
        lines = [line for line in data.split(b"\n") if line[17:18] in _CODE and line[19:20] != b"$"]
        lines.sort(key=_ADDRESS)
        # Addresses are sorted, so that the last one being zero means all are.
        self.hidden = not lines or lines[-1].startswith(_ZERO)
        self._lines = lines if self.hidden else _without_init(lines, data)

    def __len__(self) -> int:
        """Return how many functions are known: 0 without CONFIG_KALLSYMS or the right to read."""
        return len(self._lines)

    @classmethod
    def read(cls, path: Path = KALLSYMS) -> Kallsyms:
        """Read the running kernel's symbols. OSError when there are none (CONFIG_KALLSYMS unset)."""
        return cls(path.read_bytes())

    def lookup(self, address: int) -> Symbol | None:
        """Find the function an address is in; None when it is in no known code."""
        if self.hidden or not 0 <= address < 1 << 64:
            return None
        index = bisect_right(self._lines, b"%016x" % address, key=_ADDRESS) - 1
        if index < 0:
            return None
        start = self._lines[index][:16]
        # Of several names at one address the kernel itself prints the first.
        while index and self._lines[index - 1][:16] == start:
            index -= 1
        name, module = _name(self._lines[index])
        offset = address - int(start, 16)
        text = None if module else self._text
        known = text[0] <= address < text[1] if text else offset < _LONGEST
        return Symbol(name, module, offset) if known else None

    def symbol(self, address: int) -> str:
        """Return `name+0xoffset`, or the address in hexadecimal when it is in no known code."""
        found = self._named.get(address)
        if found is None:
            found = self._named[address] = str(self.lookup(address) or f"{address:#x}")
        return found

    def addresses(self, name: str) -> tuple[int, ...]:
        """Return the address of each function of a name: none, one, or several when the name is ambiguous.

        Addresses are 0 when the kernel hides them; their number is right then too.
        """
        return tuple(int(self._lines[index][:16], 16) for index in self._by_name.get(_key(name), ()))

    def is_function(self, name: str) -> bool:
        """Say whether exactly one function has this name, so that it can be probed by name."""
        return len(self._by_name.get(_key(name), ())) == 1

    def module(self, name: str) -> str | None:
        """Return a function's module, empty for the kernel's own; None when there is no such function."""
        indexes = self._by_name.get(_key(name))
        return _name(self._lines[indexes[0]])[1] if indexes else None

    def modules(self, name: str) -> list[str]:
        """Return where the functions of a name are, sorted: modules, and empty for the kernel's own."""
        return sorted({_name(self._lines[at])[1] for at in self._by_name.get(_key(name), ())})

    def variants(self, name: str) -> list[str]:
        """Return the names a compiler gave to what it kept of a function (`X.isra.0`, `X.part.0`)."""
        start = _key(name) + b"."
        found = [other for other in self._by_name if other.startswith(start)]
        return sorted(
            n.decode(errors="backslashreplace")
            for n in found
            if n[len(start) :].partition(b".")[0] in _SUFFIXES
        )

    @cached_property
    def _named(self) -> dict[int, str]:
        return {}

    @cached_property
    def _by_name(self) -> dict[bytes, tuple[int, ...]]:
        """Name -> its places in the list of lines."""
        index: dict[bytes, tuple[int, ...]] = {}
        for at, line in enumerate(self._lines):
            name = line[19:]
            if line.endswith(b"]"):
                name = name.partition(b"\t")[0]
            index[name] = (*index[name], at) if name in index else (at,)
        return index

    @cached_property
    def _text(self) -> tuple[int, int] | None:
        """The kernel's own code, from _stext to _etext; None when it doesn't say."""
        start, end = self.addresses("_stext"), self.addresses("_etext")
        return (start[0], end[0]) if start and end else None


def _without_init(lines: list[bytes], data: bytes) -> list[bytes]:
    """Leave out the code that was there only while booting."""
    first, last = _address_of(b"_sinittext", data), _address_of(b"_einittext", data)
    if first is None or last is None:
        return lines
    start = bisect_left(lines, first, key=_ADDRESS)
    return lines[:start] + lines[bisect_right(lines, last, key=_ADDRESS) :]


def _address_of(name: bytes, data: bytes) -> bytes | None:
    end = data.find(b" " + name + b"\n")
    start = data.rfind(b"\n", 0, end) + 1
    return None if end < 0 else data[start : start + 16]


def _name(line: bytes) -> tuple[str, str]:
    """Return (name, module) of a line `ADDRESS TYPE NAME[\\t[MODULE]]`."""
    name, _, module = line[19:].partition(b"\t")
    return name.decode(errors="backslashreplace"), module.strip(b"[] ").decode(errors="backslashreplace")


def _key(name: str) -> bytes:
    return name.encode(errors="replace")
