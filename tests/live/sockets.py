"""Sockets that stand in a namespace for the time of a `with` block, and hosts that know each other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from live.topology import Host
from live.traffic import PORT


def know_each_other(one: Host, other: Host) -> None:
    """Give two hosts on a wire each other's link-layer address, so that no ARP comes between."""
    one.ns.ip(f"neigh replace {other.v4} lladdr {other.mac} dev {one.dev} nud permanent")
    other.ns.ip(f"neigh replace {one.v4} lladdr {one.mac} dev {other.dev} nud permanent")


@contextmanager
def udp_socket(host: Host, port: int = PORT, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """Have a UDP socket bound in a host's namespace."""
    with host.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind(("0.0.0.0", port))
        sock.settimeout(30)
        yield sock


@contextmanager
def packet_socket(host: Host) -> Iterator[socket.socket]:
    """Have a packet socket on a host's device: the kernel gives it a clone of every packet."""
    with host.ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind((host.dev, 3))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.settimeout(30)
        yield sock


def in_background(function: Callable[[], object]) -> threading.Thread:
    """Run something in a thread; join it."""
    thread = threading.Thread(target=function)
    thread.start()
    return thread
