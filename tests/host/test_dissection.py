"""The text of packets says what tshark's fields say, of thousands of packets: whole, cut, and damaged.

One run of tshark reads them all. Where the two show the same in different ways, line_fields.py (in
tests/unit/packets) translates; what only one of them shows is in the tables below.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from fyke.packets import text

sys.path.extend([str(Path(__file__).parents[1] / "unit" / part) for part in ("packets", "filters")])

from line_fields import Fields, Value, fields  # type: ignore[import-not-found]
from pcap_packets import packet  # type: ignore[import-not-found]
from wire_packets import frame  # type: ignore[import-not-found]

pytestmark = [
    pytest.mark.host_only,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark"),
]

WHOLE, CUT, ODD = 4000, 3000, 3000
"""Packets that are right in every field; how many of them are also cut; and those of another maker."""

SETTINGS = (
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "ipv6.tso_support:TRUE",
    "tcp.relative_sequence_numbers:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "sctp.relative_tsns:FALSE",
)
PROTOCOLS = frozenset(
    ("ah", "arp", "esp", "eth", "geneve", "gre", "icmp", "icmpv6", "ieee8021ad", "igmp", "ip", "ipv6")
)
PROTOCOLS |= {"macsec", "mpls", "sctp", "tcp", "udp", "vlan", "vxlan"}
DAMAGE = ("_ws.short", "_ws.malformed")
MEANT = frozenset(
    (
        # ARP's text has the addresses that its operation is about, and no unknown target.
        *(f"arp.{side}.{kind}" for side in ("src", "dst") for kind in ("hw_mac", "proto_ipv4")),
        "tcp.ack",
        "igmp.max_resp",
    )
)
"""Fields that tshark shows always, and the text only where another one says that they mean something."""
PORTS = frozenset(f"{name}.{side}port" for name in ("tcp", "udp", "sctp") for side in ("src", "dst"))
"""Shown with the addresses, where the transport header follows the IP header directly."""
SHOWN = {"tcp.flags": 0x1FF, "gre.flags_and_version": 0xF807}
"""Of fields with reserved bits, those that the text has."""
BYTES = frozenset(("ah.icv", "tcp.options.tfo.cookie"))
"""Hexadecimal, and no numbers even where they have decimal digits only."""
LAST = ("eth.type", "ip.dst", "ipv6.dst")
"""The last fields of headers: where tshark has them, the header is whole, and the text must have it too."""
CLAIMED = frozenset(
    ("ip.len", "ipv6.plen", "ip.opt.type", "tcp.len", "tcp.option_kind", "udp.length", "ah.icv")
)
CLAIMED |= {"geneve.option.length"}
"""Lengths and lists, of which dissectors may say different things where they contradict the packet."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet's text with the link layer, the fields in it, and tshark's, empty ones included."""

    line: str
    ours: Fields
    theirs: Fields

    @property
    def truncated(self) -> bool:
        return self.line.endswith("... (truncated or incomplete packet)")

    @property
    def fragment(self) -> bool:
        """Whether tshark takes what is inside for a part of a segment, and gives it no length."""
        return re.search(r" \[\+|,Ipv6Frag|\[Ipv6Frag", self.line) is not None

    def both(self) -> Iterator[tuple[str, list[Value], list[Value]]]:
        """Name, ours and theirs of the fields that both have to show, of a whole packet."""
        direct = not re.search(r" exts \[| icv 0x", self.line)
        for name, theirs in self.theirs.items():
            ours = self.ours.get(name, [])
            if name in DAMAGE or (name in PORTS and not direct) or (name in MEANT and not ours):
                continue
            if name == "tcp.len" and self.fragment and not theirs:
                continue
            yield name, ours, theirs


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Seen], list[Seen], list[Seen]]:
    """Whole packets, the first of them again but cut, and those of another maker: changed and cut."""
    random = Random(9)
    whole = [(data, len(data)) for data in (frame(random) for _ in range(WHOLE))]
    cut = [(data[: random.randrange(len(data))], length) for data, length in whole[:CUT]]
    odd = [(one.data, len(one.whole)) for one in (packet(random) for _ in range(ODD))]
    packets = whole + cut + odd
    lines = [text(data, length, link_layer=True) for data, length in packets]
    ours = [fields(line) for line in lines]
    names = sorted({name for found in ours for name in found})
    theirs = _tshark(tmp_path_factory.mktemp("pcap") / "packets.pcap", packets, [*names, *DAMAGE])
    all_ = [Seen(line, mine, yours) for line, mine, yours in zip(lines, ours, theirs, strict=True)]
    return all_[:WHOLE], all_[WHOLE : WHOLE + CUT], all_[WHOLE + CUT :]


def _tshark(path: Path, packets: list[tuple[bytes, int]], names: list[str]) -> list[Fields]:
    """All occurrences of these fields in each packet, which is its captured bytes and its whole length."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, 1)
    records = (struct.pack("<IIII", 0, 0, len(data), length) + data for data, length in packets)
    path.write_bytes(head + b"".join(records))
    command = ["tshark", "-n", "-r", str(path), "-d", "udp.port==8472,vxlan"]
    command += ["-T", "fields", "-E", "occurrence=a", "-E", "separator=/t", "-E", "aggregator=,"]
    for setting in SETTINGS:
        command += ["-o", setting]
    for name in names:
        command += ["-e", name]
    # Nobody's settings: they decide what is dissected, and how.
    env = os.environ | {"HOME": str(path.parent), "XDG_CONFIG_HOME": str(path.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.removesuffix("\n").split("\n")
    return [
        {name: _values(name, cell) for name, cell in zip(names, row.split("\t"), strict=True)} for row in rows
    ]


def _values(name: str, cell: str) -> list[Value]:
    return [_value(name, one) for one in cell.split(",")] if cell else []


def _value(name: str, one: str) -> Value:
    # Later versions of tshark write flags as words.
    if one in ("True", "False"):
        return int(one == "True")
    if name not in BYTES and re.fullmatch(r"0x[0-9a-f]+|0|[1-9]\d*", one):
        return int(one, 0) & SHOWN.get(name, -1)
    return str(ip_address(one)) if name in ("ipv6.src", "ipv6.dst") else one


def test_whole_packets(seen: tuple[list[Seen], list[Seen], list[Seen]]) -> None:
    """Every field, every time it occurs, in order from the outermost header to the innermost."""
    whole, _, _ = seen
    for one in whole:
        assert not one.theirs["_ws.malformed"], one.line
        assert not one.truncated, one.line
        for name, ours, theirs in one.both():
            assert ours == theirs, f"{name}: {one.line}"


def test_every_field_is_compared_often(seen: tuple[list[Seen], list[Seen], list[Seen]]) -> None:
    whole, _, _ = seen
    count = Counter(name for one in whole for name in one.ours)
    assert {name.partition(".")[0] for name in count} == PROTOCOLS
    assert len(count) > 120
    assert min(count.values()) >= 10


def test_cut_packets(seen: tuple[list[Seen], list[Seen], list[Seen]]) -> None:
    """What is said of a part is true of the whole, whole headers are shown, cuts are where they are."""
    whole, cut, _ = seen
    for part, one in zip(cut, whole, strict=False):
        for name, ours in part.ours.items():
            theirs = one.theirs[name]
            if name in PORTS or name == "geneve.option.length" or (name == "tcp.len" and one.fragment):
                continue  # there may be more before; the length of those that are there; none
            if name == "ah.icv":
                assert str(theirs[len(ours) - 1]).startswith(str(ours[-1])), f"{name}: {part.line}"
            else:
                assert ours == theirs[: len(ours)], f"{name}: {part.line}"
        for name in LAST:
            theirs = part.theirs[name]
            assert part.ours.get(name, [])[: len(theirs)] == theirs, f"{name}: {part.line}"
        # tshark leaves a MACsec frame alone whose integrity check value was cut off.
        if part.truncated and " MACsec " not in part.line:
            assert any(part.theirs[name] for name in DAMAGE), part.line
    assert sum(part.truncated for part in cut) > CUT // 2


def test_odd_packets(seen: tuple[list[Seen], list[Seen], list[Seen]]) -> None:
    """Of headers that contradict each other, each is still read where it stands."""
    _, _, odd = seen
    compared = 0
    for one in odd:
        if " icv 0x proto " in one.line:
            continue  # a length that AH can't have
        for name, ours, theirs in one.both():
            # The text takes ARP's addresses to be those of IPv4 and Ethernet, whatever sizes are claimed.
            if name in CLAIMED or name.startswith("arp.") or not ours or not theirs:
                continue
            assert ours[0] == theirs[0], f"{name}: {one.line}"
            compared += 1
    assert compared > 10 * ODD
