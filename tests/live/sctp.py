"""SCTP packets made here: no kernel needs to have SCTP for conntrack to follow it."""

from __future__ import annotations

import socket
import struct

from live.topology import Host

_INIT, _INIT_BYTES = 1, 20
_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


def sctp_init(host: Host, to: str, source_port: int, port: int) -> None:
    """Send what an association begins with; its tag is the source port."""
    chunk = struct.pack("!BBHIIHHI", _INIT, 0, _INIT_BYTES, source_port, 1 << 16, 1, 1, 1)
    header = struct.pack("!HHI", source_port, port, 0)
    checksum = struct.pack("<I", _crc32c(header + bytes(4) + chunk))
    with host.ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP) as sender:
        sender.sendto(header + checksum + chunk, (to, 0))


def _crc32c(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (_POLYNOMIAL if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF
