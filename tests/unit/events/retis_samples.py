"""Retis' own files, and a way to compare JSON that leaves out what isn't meant to be equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "retis"
SAMPLES = ("basic-default", "basic-stack-kretprobe", "nat-ping")

STARTUP = {
    "common": {"timestamp": 1000},
    "startup": {
        "retis_version": "1.7.0",
        "cmdline": "retis collect",
        "clock_monotonic_offset": {"sec": 1742309146, "nsec": 691042000},
        "machine": {"kernel_release": "6.12", "kernel_version": "#1", "hardware_name": "x86_64"},
    },
}

EVENT: dict[str, Any] = {
    "common": {"timestamp": 2000, "smp_id": 3, "task": {"pid": 10, "tgid": 11, "comm": "ping"}},
    "kernel": {"symbol": "ip_rcv", "probe_type": "kretprobe", "stack_trace": ["ip_rcv+0x1", "x+0x2"]},
    "skb-tracking": {"orig_head": 2**64 - 1, "timestamp": 1500, "skb": 2**63},
    "skb-drop": {"subsys": "openvswitch", "drop_reason": "NO_SOCKET"},
    "packet": {"len": 1500, "capture_len": 3, "data": "AAH/"},
    "skb": {
        "vlan_accel": {"proto": 33024, "pcp": 7, "dei": True, "vid": 4095},
        "meta": {
            "len": 84,
            "data_len": 1,
            "hash": 2**32 - 1,
            "ip_summed": 3,
            "csum": 5,
            "csum_level": 1,
            "priority": 9,
        },
        "data_ref": {"nohdr": True, "cloned": False, "fclone": 2, "users": 255, "dataref": 1},
        "gso": {"flags": 1, "frags": 17, "size": 1448, "segs": 3, "type": 16},
    },
    "netns": {"cookie": 4100, "inum": 4026532294},
    "dev": {"name": "eth0", "ifindex": 2, "rx_ifindex": 1},
}


def write_lines(path: Path, *items: Any) -> str:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return str(path)


def events_in(path: Path | str) -> list[list[dict[str, Any]]]:
    """Return the events of a file, one list a line, without the startup event and what is ours alone."""
    lines = []
    for line in Path(path).read_text(encoding="utf-8").splitlines()[1:]:
        item = json.loads(line)
        events = item if isinstance(item, list) else [item]
        lines.append([{k: v for k, v in e.items() if k != "fyke"} for e in events])
    return lines
