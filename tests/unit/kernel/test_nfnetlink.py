"""What the kernel's answers about nftables mean; live ones are compared with nft in tests/host."""

from __future__ import annotations

import errno
import struct

import pytest

from fyke.kernel.nfnetlink import Chain, Changed, NfNetlink, Rule, Table


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", len(body) + 16, kind, flags, 1, 0) + body + bytes(-len(body) % 4)


DONE = message(3, bytes(4))
INET = b"\x01\0\0\0"


class Answers:
    def __init__(self, *received: bytes) -> None:
        self._received = list(received)

    def send(self, _data: bytes) -> None:
        pass

    def recv(self, _length: int) -> bytes:
        return self._received.pop(0)


def netlink(*received: bytes) -> NfNetlink:
    made = NfNetlink.__new__(NfNetlink)
    made._socket = Answers(*received)  # type: ignore[assignment]
    return made


def test_a_table_with_an_owner() -> None:
    body = INET + attribute(1, b"t\0") + attribute(2, b"\0\0\0\2") + attribute(4, (9).to_bytes(8))
    assert (
        netlink(message(2560, body) + message(2560, body), DONE).tables()
        == [Table("inet", b"t", 9, True)] * 2
    )


def test_the_comment_of_a_rule_among_other_data() -> None:
    place = INET + attribute(1, b"t\0") + attribute(2, b"c\0") + attribute(3, (4).to_bytes(8))
    data = b"\x01\x02ab" + b"\x00\x04hey\0"
    cut = b"\x00\xff"
    rules = [place + attribute(0x8000 | 7, data), place + attribute(7, cut), place]
    found = netlink(b"".join(message(2566, rule) for rule in rules) + DONE).rules()
    assert found == [Rule("inet", b"t", b"c", 4, comment) for comment in (b"hey", b"", b"")]


def test_chains_and_their_devices() -> None:
    place = INET + attribute(1, b"t\0") + attribute(2, (4).to_bytes(8)) + attribute(3, b"c\0")
    devices = attribute(4, attribute(1, b"eth0\0") + attribute(1, b"lo\0"))
    of_devices = attribute(1, b"\0\0\0\1") + devices + attribute(3, b"lo\0")
    hooks = (b"", attribute(0x8004, attribute(1, bytes(4))), attribute(0x8004, of_devices))
    found = netlink(b"".join(message(2563, place + hook) for hook in hooks) + DONE).chains()
    assert found == [
        Chain("inet", b"t", b"c", 4, None, (), b""),
        Chain("inet", b"t", b"c", 4, 0, (), b""),
        Chain("inet", b"t", b"c", 4, 1, (b"eth0", b"lo"), b""),
    ]


def test_errors_and_changes_while_it_is_listed() -> None:
    denied = struct.pack("=i", -errno.EPERM) + bytes(16)
    with pytest.raises(PermissionError):
        netlink(message(2, denied)).tables()
    with pytest.raises(Changed):
        netlink(message(3, bytes(4), flags=0x12)).tables()
    assert netlink(message(2575, INET + attribute(1, b"\0\0\1\2"))).generation() == 258
