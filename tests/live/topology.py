"""Topologies of namespaces, each a context manager that takes everything down again in reverse.

Hosts are reached at 192.0.2.x and 2001:db8::x (behind a router also 198.51.100.x and 2001:db8:1::x, on a VLAN
203.0.113.x and 2001:db8:2::x): the addresses that documentation may use. Nothing outside is touched.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from live.netns import Netns, ip, unique_names

__all__ = [
    "Host",
    "Routed",
    "TwoNs",
    "bridged",
    "cable",
    "mirrored",
    "namespaces",
    "nft",
    "offloads",
    "plugged",
    "routed",
    "slow_queue",
    "tunnel",
    "two_ns",
    "vlan",
]


TUNNELS = {
    "vxlan": "vxlan id 5 remote {remote} dstport 4789",
    "geneve": "geneve id 5 remote {remote}",
    "gre": "gre local {local} remote {remote} key 9",
    "ipip": "ipip local {local} remote {remote}",
}
"""What `ip link add type` says of each kind of tunnel."""


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with one device that has addresses."""

    ns: Netns
    dev: str
    mac: str
    v4: str
    v6: str

    @property
    def ifindex(self) -> int:
        """The device's index in its namespace."""
        return self.ns.ifindex(self.dev)


@dataclass(frozen=True, slots=True)
class TwoNs:
    """Two hosts that reach each other."""

    a: Host
    b: Host


@dataclass(frozen=True, slots=True)
class Routed:
    """Two hosts with a router between them; each has the router as its default route."""

    a: Host
    b: Host
    router: Netns
    to_a: Host
    """The router's device towards a."""
    to_b: Host


@contextmanager
def two_ns() -> Iterator[TwoNs]:
    """Two namespaces joined by a veth pair."""
    with namespaces("a", "b") as (ns_a, ns_b):
        a, b = _host(ns_a, 1), _host(ns_b, 2)
        _veth(a, b)
        yield TwoNs(a, b)


@contextmanager
def routed() -> Iterator[Routed]:
    """Three namespaces in a row; the one in the middle forwards. It has no default route."""
    with namespaces("a", "r", "b") as (ns_a, router, ns_b):
        a, to_a = _host(ns_a, 1), _host(router, 2, suffix="a")
        to_b, b = _host(router, 1, net=1, suffix="b"), _host(ns_b, 2, net=1)
        router.sysctl({"ipv4.ip_forward": 1, "ipv6.conf.all.forwarding": 1})
        _veth(a, to_a)
        _veth(to_b, b)
        a.ns.ip(f"route add default via {to_a.v4}", f"route add default via {to_a.v6}")
        b.ns.ip(f"route add default via {to_b.v4}", f"route add default via {to_b.v6}")
        yield Routed(a, b, router, to_a, to_b)


@contextmanager
def bridged() -> Iterator[tuple[TwoNs, Netns]]:
    """Two hosts joined by a bridge, which is in a namespace of its own (the second value)."""
    with namespaces("a", "b", "s") as (ns_a, ns_b, switch):
        a, b = _host(ns_a, 1), _host(ns_b, 2)
        switch.ip(f"link add {switch.name} up type bridge stp_state 0 forward_delay 0")
        for host in (a, b):
            port = f"{switch.name}{host.ns.name[-1]}"
            _pair(host.ns, host.dev, host.mac, switch, port)
            switch.ip(f"link set {port} master {switch.name} up")
            _address(host)
        _await_running(a, b)
        yield TwoNs(a, b), switch


@contextmanager
def cable(port: str, ns: Netns) -> Iterator[None]:
    """Join a namespace's eth0 with a device of the one we are in, on which nothing is but what we send."""
    ip([f"link add {port} type veth peer name eth0 netns {ns.name}"])
    try:
        Path(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6").write_text("1")
        ip([f"link set {port} up"])
        ns.ip("link set eth0 up")
        yield
    finally:
        ip([f"link del {port}"])


@contextmanager
def plugged() -> Iterator[tuple[TwoNs, tuple[str, str]]]:
    """Two hosts whose cables end in devices of the namespace we are in (the second value), for a switch."""
    with namespaces("a", "b") as spaces:
        a, b = (_host(ns, number) for number, ns in enumerate(spaces, 1))
        ports = (f"{a.dev}p", f"{b.dev}p")
        for host, port in zip((a, b), ports, strict=True):
            ip([f"link add {host.dev} netns {host.ns.name} address {host.mac} type veth peer name {port}"])
            ip([f"link set {port} up"])
            _address(host)
        _await_running(a, b)
        yield TwoNs(a, b), ports


@contextmanager
def vlan(vid: int, *, outer: int | None = None) -> Iterator[tuple[TwoNs, TwoNs]]:
    """Two namespaces as in two_ns, and on the pair a VLAN that has addresses of its own (the second value).

    outer: the id of a service VLAN (802.1ad) around it. Needs 8021q: mark the test @needs("vlan").
    """
    with two_ns() as plain:
        hosts = []
        for number, host in enumerate((plain.a, plain.b), 1):
            lower = host.dev
            if outer is not None:
                host.ns.ip(
                    f"link add link {lower} name {lower}o type vlan protocol 802.1ad id {outer}",
                    f"link set {lower}o up",
                )
                lower += "o"
            tagged = Host(host.ns, f"{host.dev}v", host.mac, f"203.0.113.{number}", f"2001:db8:2::{number}")
            host.ns.ip(f"link add link {lower} name {tagged.dev} type vlan id {vid}")
            _address(tagged)
            hosts.append(tagged)
        yield plain, TwoNs(*hosts)


@contextmanager
def tunnel(pair: TwoNs, kind: str) -> Iterator[TwoNs]:
    """A tunnel between two hosts, of a kind in TUNNELS; inside it they are 198.51.100.x.

    Mark the test @needs(kind).
    """
    inside = []
    for number, (host, other) in enumerate(((pair.a, pair.b), (pair.b, pair.a)), 1):
        dev = f"{host.dev}t"
        options = TUNNELS[kind].format(local=host.v4, remote=other.v4)
        host.ns.ip(
            f"link add {dev} type {options}",
            f"addr add 198.51.100.{number}/24 dev {dev}",
            f"link set {dev} up",
        )
        inside.append(Host(host.ns, dev, "", f"198.51.100.{number}", ""))
    yield TwoNs(*inside)


@contextmanager
def mirrored() -> Iterator[tuple[TwoNs, Host]]:
    """Two namespaces as in two_ns; what a sends is cloned by tc to a third one, the second value."""
    with two_ns() as pair, namespaces("m") as (ns,):
        mirror = _host(ns, 3)
        out = f"{pair.a.dev}m"
        _pair(pair.a.ns, out, "02:00:00:00:00:f0", ns, mirror.dev)
        pair.a.ns.ip(f"link set {out} up")
        ns.ip(f"link set {mirror.dev} up")
        _tc(pair.a, "qdisc add dev {} clsact")
        # u32 matches all as matchall does, and is there where that isn't.
        everything = "protocol all u32 match u32 0 0"
        _tc(pair.a, f"filter add dev {{}} egress {everything} action mirred egress mirror dev {out}")
        yield pair, mirror


@contextmanager
def nft(ns: Netns, ruleset: str) -> Iterator[None]:
    """nftables rules in a namespace, as `nft -f` reads them."""
    ns.run("nft", "-f", "-", stdin=ruleset)
    try:
        yield
    finally:
        ns.run("nft", "flush", "ruleset")


@contextmanager
def slow_queue(host: Host, *, limit_bytes: int) -> Iterator[None]:
    """A queue on a host's device that sends 8 kbit/s after a first packet, so that a burst overfills it."""
    _tc(host, f"qdisc add dev {{}} root tbf rate 8kbit burst 1600 limit {limit_bytes}")
    try:
        yield
    finally:
        _tc(host, "qdisc del dev {} root")


def offloads(host: Host, **features: bool) -> None:
    """Turn a device's offloads on or off, by ethtool's names: with `tso=False` the kernel segments GSO."""
    settings = [
        word for name, on in features.items() for word in (name.replace("_", "-"), "on" if on else "off")
    ]
    host.ns.run("ethtool", "-K", host.dev, *settings)


# ---- parts

_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40

_QUIET = {
    # Addresses are good at once (no duplicate detection), and nobody asks for routers.
    **{f"ipv6.conf.{which}.accept_dad": 0 for which in ("all", "default")},
    **{f"ipv6.conf.{which}.router_solicitations": 0 for which in ("all", "default")},
}
"""Sysctls of each namespace, so that its packets are those of the test as far as that can be."""


@contextmanager
def namespaces(*letters: str) -> Iterator[list[Netns]]:
    """Namespaces of names that nobody else has."""
    names = unique_names(*letters)
    with ExitStack() as stack:
        made = [Netns(name) for name in names]
        for ns in made:
            # Also when making them stops half-way: what isn't there is not an error then.
            stack.callback(_remove, ns)
        ip(f"netns add {name}" for name in names)
        for ns in made:
            ns.sysctl(_QUIET)
        yield made


def _remove(ns: Netns) -> None:
    if ns.path.exists():
        ip([f"netns del {ns.name}"])


def _host(ns: Netns, number: int, *, net: int = 0, suffix: str = "") -> Host:
    v4 = ("192.0.2", "198.51.100")[net]
    v6 = ("2001:db8:", "2001:db8:1:")[net]
    return Host(ns, f"{ns.name}{suffix}", f"02:00:00:00:0{net}:0{number}", f"{v4}.{number}", f"{v6}:{number}")


def _veth(one: Host, other: Host) -> None:
    _pair(one.ns, one.dev, one.mac, other.ns, other.dev, other.mac)
    _address(one)
    _address(other)
    _await_running(one, other)


def _pair(ns: Netns, dev: str, mac: str, peer_ns: Netns, peer: str, peer_mac: str = "") -> None:
    peer_address = f"address {peer_mac}" if peer_mac else ""
    ip(
        [
            f"link add {dev} netns {ns.name} address {mac} type veth"
            f" peer name {peer} netns {peer_ns.name} {peer_address}"
        ]
    )


def _address(host: Host) -> None:
    # Up first: an IPv6 address given to a device that is down is announced up to a second after it comes up.
    host.ns.ip(
        "link set lo up",
        f"link set {host.dev} up",
        f"addr add {host.v4}/24 dev {host.dev}",
        f"addr add {host.v6}/64 dev {host.dev} nodad",
    )
    # A neighbour once known isn't asked again, which would be after five seconds: amid a slow test.
    host.ns.sysctl({f"{v}.neigh.{host.dev}.delay_first_probe_time": 3600 for v in ("ipv4", "ipv6")})


def _await_running(*hosts: Host) -> None:
    """Wait until devices can send, 10 s at most.

    The first end of a pair that comes up has a carrier only with the other, and the kernel gives it a queue
    somewhat later (linkwatch); what is sent before is lost.
    """
    end = time.monotonic() + 10
    for host in hosts:
        with host.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            while not _flags(asking, host.dev) & _IFF_RUNNING and time.monotonic() < end:
                time.sleep(0.001)


def _flags(asking: socket.socket, dev: str) -> int:
    # struct ifreq, include/uapi/linux/if.h
    answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("=16sH22x", dev.encode(), 0))
    return int(struct.unpack_from("=16xH", answer)[0])


def _tc(host: Host, line: str) -> None:
    host.ns.run("tc", *line.format(host.dev).split())
