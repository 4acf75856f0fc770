"""Traffic like that of a small service: HTTP exchanges over TCP, and DNS look-ups before them.

Seeded: the same sizes, names and headers each time. What it must not be is the same packet again and again,
since a file of that compresses to nothing.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.wire import B4, Wire, inside

HTTP_PORT, DNS_PORT = 80, 53
_SECONDS = 20  # how long one side waits for the other
_WORDS = (
    "account",
    "order",
    "item",
    "price",
    "stock",
    "user",
    "address",
    "page",
    "status",
    "active",
    "pending",
    "name",
    "total",
    "number",
    "date",
)
_AGENTS = (
    "curl/8.5.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "python-requests/2.31.0",
)
_LOOKUPS = 2  # per HTTP exchange


def mixed(net: Wire, exchanges: int, *, encrypted: bool = False, seed: int = 4) -> None:
    """Have a talk to b: two look-ups, then a request of some hundred bytes and a response of up to 8,000.

    encrypted: requests and responses are random bytes in TLS records, and look-ups random datagrams.
    """
    dice = random.Random(seed)
    responses = [_response(dice, encrypted) for _ in range(200)]

    def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(_SECONDS)
            asking.connect((B4, DNS_PORT))
            for _ in range(exchanges):
                for _ in range(_LOOKUPS):
                    asking.send(_opaque(dice) if encrypted else _query(dice))
                    asking.recv(2048)
                _fetch(_request(dice, encrypted))

    with _serving_http(net, responses), _serving_dns(net, random.Random(seed) if encrypted else None):
        inside(net.a, talk)


def _fetch(request: bytes) -> None:
    with socket.create_connection((B4, HTTP_PORT), _SECONDS) as connection:
        connection.sendall(request)
        while connection.recv(65536):
            pass


@contextmanager
def _serving_http(net: Wire, responses: list[bytes]) -> Iterator[None]:
    listener = inside(net.b, lambda: socket.create_server((B4, HTTP_PORT), backlog=128))
    ended = threading.Event()

    def serve() -> None:
        number = 0
        while True:
            connection, _ = listener.accept()
            with connection:
                if ended.is_set():
                    return
                connection.settimeout(_SECONDS)
                connection.recv(65536)
                connection.sendall(responses[number % len(responses)])
                number += 1

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        inside(net.a, lambda: socket.create_connection((B4, HTTP_PORT), _SECONDS)).close()
        thread.join(_SECONDS)
        listener.close()


@contextmanager
def _serving_dns(net: Wire, opaque: random.Random | None) -> Iterator[None]:
    """Answer look-ups; with random bytes where dice for them are given."""

    def bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((B4, DNS_PORT))
        return sock

    sock = inside(net.b, bound)

    def serve() -> None:
        while True:
            query, peer = sock.recvfrom(2048)
            if not query:
                return
            sock.sendto(_opaque(opaque) if opaque else _answer(query), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with inside(net.a, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as last:
            last.sendto(b"", (B4, DNS_PORT))
        thread.join(_SECONDS)
        sock.close()


def _query(dice: random.Random) -> bytes:
    """Return a query for an A record (RFC 1035, 4.1)."""
    labels = (f"{dice.choice(_WORDS)}{dice.randrange(40)}", dice.choice(_WORDS), "example", "net")
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
    return struct.pack("!HHHHHH", dice.getrandbits(16), 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)


def _opaque(dice: random.Random) -> bytes:
    """Return a datagram that nobody can compress."""
    return dice.randbytes(dice.randint(40, 1200))


def _answer(query: bytes) -> bytes:
    """Return the response with one to three addresses, which depend on the name."""
    address = sum(query[12:]) * 2654435761 & 0xFFFFFFFF
    count = 1 + address % 3
    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0)
    records = [struct.pack("!HHHIHI", 0xC00C, 1, 1, 300, 4, address + n & 0xFFFFFFFF) for n in range(count)]
    return head + query[12:] + b"".join(records)


def _request(dice: random.Random, encrypted: bool) -> bytes:
    path = "/".join(dice.choice(_WORDS) for _ in range(dice.randint(1, 4)))
    lines = (
        f"GET /api/v{dice.randint(1, 3)}/{path}?id={dice.randrange(10**6)} HTTP/1.1",
        f"Host: {dice.choice(_WORDS)}.example.net",
        f"User-Agent: {dice.choice(_AGENTS)}",
        "Accept: application/json",
        f"Cookie: session={dice.getrandbits(128):032x}",
    )
    return _sealed(dice, "\r\n".join((*lines, "", "")).encode(), encrypted)


def _response(dice: random.Random, encrypted: bool) -> bytes:
    members = [f'"{dice.choice(_WORDS)}": {dice.randrange(10**6)}' for _ in range(dice.randint(5, 350))]
    body = "{" + ", ".join(members) + "}"
    lines = (
        "HTTP/1.1 200 OK",
        f"Date: Tue, 03 Mar 2026 10:{dice.randrange(60):02}:{dice.randrange(60):02} GMT",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f'ETag: "{dice.getrandbits(64):016x}"',
        "Connection: close",
    )
    return _sealed(dice, "\r\n".join((*lines, "", body)).encode(), encrypted)


def _sealed(dice: random.Random, plain: bytes, encrypted: bool) -> bytes:
    """Return it as it is, or as one TLS record of that many random bytes (RFC 8446, 5.2)."""
    if not encrypted:
        return plain
    return struct.pack("!BHH", 23, 0x0303, len(plain)) + dice.randbytes(len(plain))
