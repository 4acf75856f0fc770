"""A recording of any number of events with all that engines may see differently: nulls anywhere, numbers
beyond signed 64 bits and beyond what a double holds, text of any kind, and losses."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pyarrow as pa

from fyke.events.facts import Facts
from fyke.events.schema import arrow_schema
from fyke.events.store import EventWriter

Row = dict[str, Any]
_START_NS = 2**63 - 5_000_000  # passes the largest signed number on its way
_SYMBOLS = (
    "ip_rcv",
    "ip_local_deliver",
    "nf_hook_slow",
    "net:netif_rx",
    "tcp_v4_rcv",
    "é > '\\n' %",
    "",
    None,
)
_DEVICES = ("eth0", "veth-é", "ETH0", "a > b", "back\\slash", "", None)
_REASONS = ("NO_SOCKET", "NETFILTER_DROP", "A'B", None)
_ADDRESSES = ("10.0.0.1", "10.0.0.2", "9.255.0.1", "192.168.1.1", "fd00::1", "fd00::a", "fe80::1:2")
_CAUSES = ("ring_full", "recursion", "tracking_full", "stack_full", None)


def record(path: Path, events: int, seed: int) -> Path:
    """Write a recording of so many events, and some losses, in the order of time."""
    with EventWriter(str(path), Facts()) as writer:
        rows = list(_rows(random.Random(seed), events))
        for first in range(0, len(rows), 1000):
            writer.write(pa.RecordBatch.from_pylist(rows[first : first + 1000], schema=arrow_schema()))
    return path


def _rows(dice: random.Random, events: int) -> Iterator[Row]:
    now, living = _START_NS, list[Row]()
    for _ in range(events):
        now += dice.choice((0, 1, 7, 999, 12_345))
        if dice.random() < 0.01:
            since = None if dice.random() < 0.3 else now - dice.randrange(5000)
            note = {"since_ns": since, "cause": dice.choice(_CAUSES), "count": dice.randrange(1, 2**33)}
            yield {"timestamp_ns": now, "cpu": dice.choice((0, 1, None)), "gap": note}
        if not living or dice.random() < 0.2:
            living.append(_packet(dice, now))
        packet = dice.choice(living)
        yield _event(dice, now, packet)
        if dice.random() < 0.15:
            living.remove(packet)
    yield {
        "timestamp_ns": now,
        "closing": {"events": events, "lost": 0, "reason": "signal", "probes": "[]"},
    }


def _packet(dice: random.Random, now: int) -> Row:
    """Return what the events of a packet have in common; some aren't tracked, some have a parent."""
    tracking = None
    if dice.random() < 0.9:
        head = dice.choice((0xFFFF_8880_0000_0000, 2**63, 0, 0x1000)) + dice.randrange(2**20)
        tracking = {"orig_head": head, "timestamp_ns": now}
        if dice.random() < 0.2:
            tracking |= {"parent_orig_head": head ^ 0xABC0, "parent_timestamp_ns": now - 5}
    return {"tracking": tracking, "data": _data(dice)}


def _event(dice: random.Random, now: int, packet: Row) -> Row:
    row: Row = {"timestamp_ns": now, "cpu": dice.choice((0, 1, 2, 2**32 - 1, None))}
    row["task"] = {"pid": dice.randrange(9), "tgid": 2**31 - 1, "comm": "ksoftirqd/0"}
    if dice.random() < 0.97:
        row["kernel"] = {
            "symbol": dice.choice(_SYMBOLS),
            "probe_type": "kprobe",
            "stack": dice.choice((None, [], ["a+0x1"])),
        }
    if packet["tracking"] is not None:
        row["skb_tracking"] = packet["tracking"] | {"skb": 2**64 - 1 - dice.randrange(3)}
    if dice.random() < 0.1:
        row["skb_drop"] = {"subsys": dice.choice((None, "openvswitch")), "drop_reason": dice.choice(_REASONS)}
    if packet["data"] is not None and dice.random() < 0.8:
        data = packet["data"] if dice.random() < 0.9 else _data(dice)  # rewritten on its way
        if data is not None:
            row["packet"] = {"len": len(data), "capture_len": len(data), "data": data, "link_layer": True}
    if dice.random() < 0.1:
        row["vlan_accel"] = {"proto": 0x8100, "pcp": 0, "dei": False, "vid": dice.randrange(4096)}
    if dice.random() < 0.7:
        row["netns"] = {"cookie": 2**64 - 1, "inum": dice.choice((4026531840, 2**32 - 1, None))}
    if dice.random() < 0.8:
        row["dev"] = {"name": dice.choice(_DEVICES), "ifindex": dice.randrange(9)}
    return row


def _data(dice: random.Random) -> bytes | None:
    """Return an Ethernet frame of IPv4 or IPv6, with ports or without; or of ARP, or damaged; or None."""
    if dice.random() < 0.1:
        return dice.choice((None, bytes(12) + b"\x08\x06" + bytes(28), b"\xff" * 9))
    source = ip_address(dice.choice(_ADDRESSES))
    target = dice.choice([a for a in map(ip_address, _ADDRESSES) if a.version == source.version])
    protocol = dice.choice((6, 17, 17, 1 if source.version == 4 else 58, 2, 253))
    ports = dice.choice((5, 53, 65535)), dice.choice((5, 53, 40000))
    payload = (
        struct.pack("!HHIIHHHH", *ports, 1, 2, 5 << 12, 9, 0, 0)
        if protocol == 6
        else struct.pack("!HHHH", *ports, 8 + 8, 0) + bytes(8)
    )
    if source.version == 4:
        fragment = dice.choice((0, 0, 0, 0x2007))
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0)
        return bytes(12) + b"\x08\x00" + head + source.packed + target.packed + payload
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return bytes(12) + b"\x86\xdd" + head + source.packed + target.packed + payload
