"""nftables as the kernel tells it over netlink: tables, chains, rules, and the generation of the ruleset.

Asked in the network namespace of the calling thread. Handles and comments are exact here; the text of a rule
is libnftables' business. See include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from fyke.kernel.kallsyms import KALLSYMS

FAMILIES = {0: "", 1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
_GETTABLE, _GETCHAIN, _GETRULE, _GETGEN = 1, 4, 7, 16
_REQUEST, _DUMP, _INTERRUPTED = 0x1, 0x300, 0x10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_ERRNO = struct.Struct("=i")  # of struct nlmsgerr
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
_GENERAL_BYTES = 4  # struct nfgenmsg: family, version, resource
_RECEIVE_BYTES = 1 << 16
_SECONDS = 5.0
_SO_NETNS_COOKIE = 71
_OWNED = 0x2  # NFT_TABLE_F_OWNER

Attributes = dict[int, bytes]


def nf_tables_is_there() -> bool:
    """Say whether the kernel has nftables without loading a module, as a question to it would."""
    try:
        return b" nf_tables_newtable" in KALLSYMS.read_bytes()
    except OSError:
        return False


class Changed(Exception):
    """The ruleset changed while it was listed."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table. owned: it goes when the socket that made it is closed."""

    family: str
    name: bytes
    handle: int
    owned: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain. hook: the number of the hook that calls it, None for others. devices: those it is for."""

    family: str
    table: bytes
    name: bytes
    handle: int
    hook: int | None
    devices: tuple[bytes, ...]
    comment: bytes


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, by where it is."""

    family: str
    table: bytes
    chain: bytes
    handle: int
    comment: bytes


class NfNetlink:
    """A netlink socket; a context manager. Methods raise OSError, and Changed for lists."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            self._socket.settimeout(_SECONDS)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def generation(self) -> int:
        """Return the number of the ruleset, which each change makes another one."""
        for _, attributes in self._ask(_GETGEN, 0):
            return int.from_bytes(attributes[1])
        raise OSError("the kernel has no generation of its ruleset")

    def cookie(self) -> int:
        """Return the number of the namespace, which none after it gets again; 0 on kernels without one."""
        try:
            # Linux kernel commit e8b9eab99232 ("net: retrieve netns cookie via getsocketopt") (in v5.14).
            return int.from_bytes(
                self._socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder
            )
        except OSError:
            return 0

    def tables(self) -> list[Table]:
        """Return all tables, of all families."""
        return [
            Table(family, _text(found[1]), _number(found[4]), bool(_number(found.get(2, b"")) & _OWNED))
            for family, found in self._ask(_GETTABLE, _DUMP)
        ]

    def chains(self) -> list[Chain]:
        """Return all chains."""
        return [
            Chain(
                family,
                _text(found[1]),
                _text(found[3]),
                _number(found[2]),
                *_hook(found.get(4)),
                _comment(found.get(12)),
            )
            for family, found in self._ask(_GETCHAIN, _DUMP)
        ]

    def rules(self) -> list[Rule]:
        """Return all rules, those of a chain in order."""
        return [
            Rule(family, _text(found[1]), _text(found[2]), _number(found[3]), _comment(found.get(7)))
            for family, found in self._ask(_GETRULE, _DUMP)
        ]

    def _ask(self, kind: int, flags: int) -> Iterator[tuple[str, Attributes]]:
        length = _HEADER.size + _GENERAL_BYTES
        self._socket.send(
            _HEADER.pack(length, _SUBSYSTEM | kind, _REQUEST | flags, 1, 0) + bytes(_GENERAL_BYTES)
        )
        changed = False
        while True:
            received = memoryview(self._socket.recv(_RECEIVE_BYTES))
            for message_type, message_flags, body in _messages(received):
                changed |= bool(message_flags & _INTERRUPTED)
                if message_type == _DONE:
                    if changed:
                        raise Changed
                    return
                if message_type == _ERROR:
                    error = -_ERRNO.unpack_from(body)[0]
                    raise OSError(error, os.strerror(error))
                yield FAMILIES.get(body[0], ""), _attributes(body[_GENERAL_BYTES:])
                if not flags & _DUMP:
                    return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _messages(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += length + -length % 4


def _attributes(data: memoryview) -> Attributes:
    return dict(_each(data))


def _each(data: memoryview) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, bytes(data[at + _ATTRIBUTE.size : at + length])
        at += length + -length % 4


def _hook(raw: bytes | None) -> tuple[int | None, tuple[bytes, ...]]:
    """Return the number of a hook, and its devices (NFTA_HOOK_DEV, NFTA_HOOK_DEVS)."""
    if raw is None:
        return None, ()
    found = _attributes(memoryview(raw))
    devices = [_text(name) for _, name in _each(memoryview(found.get(4, b"")))]
    if 3 in found:
        devices.append(_text(found[3]))
    return _number(found.get(1, b"")), tuple(dict.fromkeys(devices))


def _number(raw: bytes) -> int:
    return int.from_bytes(raw)


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


def _comment(raw: bytes | None) -> bytes:
    """Return the comment in what a rule or chain has for its users: type, length, value; 0 is a comment."""
    at = 0
    while raw is not None and at + 2 <= len(raw):
        kind, length = raw[at], raw[at + 1]
        if kind == 0:
            return _text(raw[at + 2 : at + 2 + length])
        at += 2 + length
    return b""
