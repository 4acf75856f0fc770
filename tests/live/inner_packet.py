"""Which packet some bytes are, whatever network does with it: in VLANs, in tunnels, after NAT."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["InnerPacket", "inner_packet"]

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
_VXLAN = (4789).to_bytes(2)


class InnerPacket(NamedTuple):
    """protocol: its name. identity: bytes that no hop changes, and that differ between packets of a test."""

    protocol: str
    identity: bytes


def inner_packet(frame: bytes) -> InnerPacket:
    """Return the IPv4 packet in a frame. ValueError where there is none."""
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    ip = frame[at + 2 :]
    if frame[at : at + 2] != b"\x08\x00" or len(ip) < 28:
        raise ValueError(f"no IPv4: {frame[:40].hex()}")
    own = ip[4 * (ip[0] & 15) :]
    protocol = _PROTOCOLS.get(ip[9], str(ip[9]))
    if protocol == "udp" and own[2:4] == _VXLAN:
        return inner_packet(own[16:])
    if protocol == "udp":
        return InnerPacket(protocol, own[8:])
    if protocol == "tcp":  # ... and the packet's own number
        return InnerPacket(protocol, ip[4:6] + own[4:14])
    return InnerPacket(protocol, own[:2] + own[4:])
