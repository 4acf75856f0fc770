"""Packets of other link layers than Ethernet, with a made-up Ethernet header as the kernel half makes one."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.events.pcapng.format import ETHERNET

# LINKTYPE_* of https://www.tcpdump.org/linktypes.html.
_NULL, _LOOP = 0, 108
_RAW = frozenset((12, 14, 101))
_IPV4, _IPV6 = 228, 229
_LINUX_SLL, _LINUX_SLL2 = 113, 276
_NO_ADDRESSES = bytes(12)
_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}  # by the version in an IP header


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame. longer: by how many bytes than the packet in the capture. own: no made-up header."""

    data: bytes
    longer: int
    own: bool


def frame(link_type: int, data: bytes) -> Frame | None:
    """Return a packet of a link type as an Ethernet frame; None for a link type that isn't known.

    What is too short for its link layer has no bytes.
    """
    if link_type == ETHERNET:
        return Frame(data, 0, True)
    if link_type in _RAW or link_type in (_IPV4, _IPV6):
        return _ip(data, 0)
    if link_type in (_NULL, _LOOP):
        return _ip(data, 4)
    if link_type == _LINUX_SLL:
        return _made(data, 16, data[14:16])
    if link_type == _LINUX_SLL2:
        return _made(data, 20, data[:2])
    return None


def _ip(data: bytes, header_bytes: int) -> Frame:
    version = data[header_bytes] >> 4 if len(data) > header_bytes else 0
    return _made(data, header_bytes, _ETHERTYPES.get(version, b"\0\0"))


def _made(data: bytes, header_bytes: int, ethertype: bytes) -> Frame:
    if len(data) < header_bytes:
        return Frame(b"", 0, False)
    made = _NO_ADDRESSES + ethertype
    return Frame(made + data[header_bytes:], len(made) - header_bytes, False)
