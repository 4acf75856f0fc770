"""Functions that send: each one thing, from one host to an address, done when they return."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack

from live.topology import Host

__all__ = [
    "PORT",
    "ethernet",
    "ipv4",
    "ping",
    "send_frame",
    "tcp_refused",
    "tcp_transfer",
    "udp",
    "udp_echo",
    "udp_send",
    "udp_to_nobody",
]

PORT = 4242
"""Where the receivers of this file listen."""
_SECONDS = 30
"""For a packet to arrive, at most: emulated machines are slow."""


def ping(host: Host, to: str, *, count: int = 1, size: int = 56) -> int:
    """Send echo requests (IPv4 or IPv6 by the address), and return how many were answered."""
    line = ["ping", "-n", "-q", "-c", str(count), "-i", "0.01", "-s", str(size), "-W", "5", to]
    done = host.ns.run(*line, check=False)
    for part in done.stdout.split(","):
        if part.endswith(" received"):
            return int(part.split()[0])
    raise RuntimeError(f"{' '.join(line)}: {done.stderr.strip()}")


def udp_send(host: Host, to: str, *payloads: bytes, port: int = PORT, source_port: int = 0) -> int:
    """Send datagrams without waiting for anything, and return the port they came from."""
    with host.ns.socket(_family(to), socket.SOCK_DGRAM) as sender:
        if source_port:
            sender.bind(("", source_port))
        for payload in payloads:
            sender.sendto(payload, (to, port))
        return int(sender.getsockname()[1])


def udp_echo(a: Host, b: Host, to: str, payload: bytes, *, port: int = PORT) -> bytes:
    """Send a datagram from a to an address of b, and return what came back: what b got, sent back by it."""
    with ExitStack() as stack:
        receiver = stack.enter_context(b.ns.socket(_family(to), socket.SOCK_DGRAM))
        receiver.settimeout(_SECONDS)
        receiver.bind((to, port))
        sender = stack.enter_context(a.ns.socket(_family(to), socket.SOCK_DGRAM))
        sender.settimeout(_SECONDS)
        sender.sendto(payload, (to, port))
        got, source = receiver.recvfrom(65536)
        receiver.sendto(got, source)
        return sender.recv(65536)


def udp_to_nobody(host: Host, to: str, payload: bytes = b"nobody", *, port: int = PORT) -> None:
    """Send a datagram to a port that has no socket, and wait until the other kernel has said so."""
    with host.ns.socket(_family(to), socket.SOCK_DGRAM) as sender:
        sender.settimeout(_SECONDS)
        sender.connect((to, port))
        sender.send(payload)
        try:
            sender.recv(1)
        except ConnectionRefusedError:
            return
        raise RuntimeError(f"something answers at {to} port {port}")


def tcp_transfer(a: Host, b: Host, to: str, size: int, *, port: int = PORT) -> int:
    """Send bytes over TCP from a to an address of b, and return how many arrived before the end."""
    received = 0

    def receive() -> None:
        nonlocal received
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_SECONDS)
            while chunk := connection.recv(1 << 16):
                received += len(chunk)

    with b.ns.socket(_family(to), socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.settimeout(_SECONDS)
        listener.bind((to, port))
        listener.listen()
        thread = threading.Thread(target=receive)
        thread.start()
        try:
            with a.ns.socket(_family(to), socket.SOCK_STREAM) as sender:
                sender.settimeout(_SECONDS)
                sender.connect((to, port))
                sender.sendall(b"x" * size)
        finally:
            thread.join()
    return received


def tcp_refused(host: Host, to: str, *, port: int = PORT) -> None:
    """Try to connect to a port where nobody listens: a SYN there, a RST back."""
    with host.ns.socket(_family(to), socket.SOCK_STREAM) as sender:
        sender.settimeout(_SECONDS)
        try:
            sender.connect((to, port))
        except ConnectionRefusedError:
            return
    raise RuntimeError(f"something listens at {to} port {port}")


# ---- frames made here, for what no kernel would send


def send_frame(host: Host, frame: bytes) -> None:
    """Send a frame from a host's device just as it is."""
    with host.ns.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((host.dev, 0))
        sender.send(frame)


def ethernet(source: Host, to: Host, ethertype: int, payload: bytes) -> bytes:
    """Return a frame from one host's device to the other's."""
    return _mac(to.mac) + _mac(source.mac) + struct.pack("!H", ethertype) + payload


def ipv4(
    source: str, to: str, protocol: int, payload: bytes, *, ttl: int = 64, bad_checksum: bool = False
) -> bytes:
    """Return an IPv4 packet (RFC 791) without options."""
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(payload), 1, 0, ttl, protocol, 0),
        socket.inet_aton(source),
        socket.inet_aton(to),
    )
    checksum = _checksum(header) ^ (0xFFFF if bad_checksum else 0)
    return header[:10] + struct.pack("!H", checksum) + header[12:] + payload


def udp(source: str, to: str, payload: bytes, *, port: int = PORT, bad_checksum: bool = False) -> bytes:
    """Return a UDP datagram (RFC 768) for IPv4 addresses, from port 1 to a port."""
    length = 8 + len(payload)
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!BBH", 0, 17, length)
    checksum = _checksum(pseudo + struct.pack("!HHHH", 1, port, length, 0) + payload)
    if bad_checksum:
        checksum = checksum ^ 0x5555 or 1  # 0 would mean that there is none
    return struct.pack("!HHHH", 1, port, length, checksum) + payload


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
