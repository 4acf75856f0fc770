"""Random expressions over the language of pcap-filter(7), and random cBPF programs of all instructions.

The values are few, and those of pcap_packets.py, so that matches happen.
"""

from __future__ import annotations

from random import Random

V4 = ("10.0.0.1", "10.0.0.2", "192.168.1.77", "224.0.0.5", "255.255.255.255")
V4_NETS = (
    "10.0.0.0/8",
    "192.168.0.0/16",
    "10.0.0",
    "192.168.1.64/26",
    "224.0.0.0/4",
    "10.0.0.0 mask 255.255.255.0",
)
V6 = ("fe80::1", "2001:db8::2", "ff02::fb", "::1")
V6_NETS = ("2001:db8::/32", "fe80::/10", "ff00::/8")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05")
PORTS = (53, 80, 443, 4789, 6081)
VLANS = (1, 100, 4095)
LABELS = (3, 1000)

_ETHER_PROTOS = ("\\ip", "\\ip6", "\\arp", "0x88cc", "0x8863", "1500", "\\stp", "\\lat")
_IP_PROTOS = ("\\tcp", "\\udp", "\\icmp", "1", "47", "132", "58", "\\ah", "\\esp")
_WORDS = (
    "ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "pim", "ah", "esp", "vrrp",
    "carp", "decnet", "lat", "moprc", "mopdl", "ether broadcast", "ether multicast", "broadcast", "multicast",
    "ip multicast", "ip6 multicast", "iso", "clnp", "stp", "ipx", "netbeui", "aarp", "llc", "isis",
)  # fmt: skip
_FLAGS = ("tcp-syn", "tcp-ack", "tcp-fin", "tcp-rst", "tcp-push", "tcp-urg")
_ICMP = ("icmp-echo", "icmp-echoreply", "icmp-unreach", "icmp-timxceed")
_COMPARISONS = ("=", "!=", "<", ">", "<=", ">=", "==")


def expression(random: Random, depth: int = 3) -> str:
    """Return an expression; a few aren't accepted, since they contradict themselves."""
    if depth and random.random() < 0.55:
        one, other = expression(random, depth - 1), expression(random, depth - 1)
        operator = random.choice((" and ", " or ", " && ", " || "))
        text = f"{one}{operator}{other}"
        return f"({text})" if random.random() < 0.5 else text
    if depth and random.random() < 0.15:
        return f"{random.choice(('not ', '! ', 'not not '))}{expression(random, depth - 1)}"
    return random.choice((_word, _host, _net, _port, _proto, _ether, _tunnel, _length, _relation, _relation))(
        random
    )


def _word(random: Random) -> str:
    return random.choice(_WORDS)


def _direction(random: Random) -> str:
    return random.choice(("", "", "src ", "dst ", "src or dst ", "src and dst "))


def _host(random: Random) -> str:
    if random.random() < 0.3:
        return f"{random.choice(('', 'ip6 '))}{_direction(random)}host {random.choice(V6)}"
    return f"{random.choice(('', '', 'ip ', 'arp '))}{_direction(random)}host {random.choice(V4)}"


def _net(random: Random) -> str:
    return f"{_direction(random)}net {random.choice(V6_NETS if random.random() < 0.3 else V4_NETS)}"


def _port(random: Random) -> str:
    proto = random.choice(("", "", "tcp ", "udp ", "sctp ", "ip proto 17 and "))
    port = random.choice(PORTS)
    if random.random() < 0.3:
        return f"{proto}{_direction(random)}portrange {port}-{port + random.choice((0, 1, 400))}"
    if random.random() < 0.2:
        return f"{proto}port {port} or {random.choice(PORTS)}"
    return f"{proto}{_direction(random)}port {port}"


def _proto(random: Random) -> str:
    if random.random() < 0.3:
        return f"ether proto {random.choice(_ETHER_PROTOS)}"
    return f"{random.choice(('ip', 'ip6', ''))} proto {random.choice(_IP_PROTOS)}".strip()


def _ether(random: Random) -> str:
    return f"ether {random.choice(('', 'src ', 'dst '))}{random.choice(('', 'host '))}{random.choice(MACS)}"


def _tunnel(random: Random) -> str:
    outer = random.choice(
        (
            "vlan", f"vlan {random.choice(VLANS)}", "vlan and vlan", f"vlan {VLANS[1]} and vlan {VLANS[0]}",
            "mpls", f"mpls {random.choice(LABELS)}", f"mpls {LABELS[1]} and mpls {LABELS[0]}", "pppoed",
            "pppoes", f"pppoes {random.choice((1, 7))}", "geneve", "geneve 11",
        )
    )  # fmt: skip
    return outer if random.random() < 0.4 else f"{outer} and {expression(random, 1)}"


def _length(random: Random) -> str:
    return f"{random.choice(('less', 'greater'))} {random.choice((14, 34, 60, 64, 100, 1500))}"


def _relation(random: Random) -> str:
    if random.random() < 0.2:
        flags = "|".join(random.sample(_FLAGS, random.randint(1, 3)))
        return f"tcp[tcpflags] & ({flags}) {random.choice(('!=', '=='))} {random.choice(('0', _FLAGS[0]))}"
    if random.random() < 0.1:
        return f"icmp[icmptype] {random.choice(_COMPARISONS)} {random.choice(_ICMP)}"
    return f"{_arithmetic(random, 2)} {random.choice(_COMPARISONS)} {_arithmetic(random, 1)}"


def _arithmetic(random: Random, depth: int) -> str:
    if depth and random.random() < 0.4:
        operator = random.choice("+-*/%&|^") if random.random() < 0.8 else random.choice(("<<", ">>"))
        return f"({_arithmetic(random, depth - 1)} {operator} {_arithmetic(random, depth - 1)})"
    if depth and random.random() < 0.1:
        return f"- {_arithmetic(random, depth - 1)}"
    if random.random() < 0.4:
        return random.choice(
            ("0", "1", "4", "0x45", "6", "17", "255", "0x800", "40", "31", "80", "0x7fffffff", "0xffffffff")
        )
    if random.random() < 0.1:
        return "len"
    return _accessor(random, depth)


def _accessor(random: Random, depth: int) -> str:
    proto = random.choice(
        ("ether", "link", "ip", "ip6", "tcp", "udp", "icmp", "icmp6", "arp", "sctp", "igmp")
    )
    if depth and random.random() < 0.3:
        index = _arithmetic(random, depth - 1)
    else:
        index = str(
            random.choice((0, 0, 1, 2, 3, 6, 8, 9, 12, 13, 16, 20, 33, 47, 60, 90, 158, 159, 160, 200, 4000))
        )
    return f"{proto}[{index}{random.choice(('', '', ':1', ':2', ':4'))}]"


Classic = list[tuple[int, int, int, int]]

_ALU = (0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0)
_CONSTANTS = (
    0,
    1,
    2,
    3,
    7,
    14,
    31,
    32,
    33,
    63,
    0x7F,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)


def classic(random: Random) -> Classic:
    """Return a valid cBPF program: forward jumps, any instruction, and a return at the end."""
    words = random.sample(range(16), 3)
    length = random.randint(1, 30)
    body = [_classic_insn(random, length - at, words) for at in range(length)]
    return [*body, random.choice(((0x16, 0, 0, 0), (0x06, 0, 0, 1), (0x06, 0, 0, 0)))]


def _classic_insn(random: Random, left: int, words: list[int]) -> tuple[int, int, int, int]:
    """Return an instruction after which `left` more follow, the last a return."""
    offset = random.choice((*range(70), 80, 150, 157, 158, 159, 160, 161, 200, *_CONSTANTS[7:]))
    if offset in range(0xFFFFF000, 0xFFFFF040):
        offset = 0
    constant = random.choice((*_CONSTANTS, random.getrandbits(32)))
    kind = random.random()
    if kind < 0.3:
        return (random.choice((0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xB1)), 0, 0, offset)
    if kind < 0.45:
        code = random.choice((0x00, 0x01, 0x80, 0x81, 0x60, 0x61, 0x02, 0x03, 0x07, 0x87))
        return (code, 0, 0, random.choice(words) if code in (0x60, 0x61, 0x02, 0x03) else constant)
    if kind < 0.7:
        operation, x = random.choice(_ALU), random.choice((0, 8))
        if operation in (0x60, 0x70):
            constant %= 32
        if operation in (0x30, 0x90):
            constant = constant or 1
        return random.choice(((0x04 | operation | x, 0, 0, constant), (0x84, 0, 0, 0)))
    if kind < 0.95:
        if random.random() < 0.1:
            return (0x05, 0, 0, random.randrange(left))
        code = 0x05 | random.choice((0x10, 0x20, 0x30, 0x40)) | random.choice((0, 8))
        return (code, random.randrange(left), random.randrange(left), constant)
    return random.choice(((0x06, 0, 0, 0), (0x06, 0, 0, 0x40000), (0x16, 0, 0, 0)))
