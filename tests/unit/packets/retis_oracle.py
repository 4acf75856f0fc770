"""What Retis prints for packets, asked of its own event library (`retis` on PyPI)."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import retis

# Read at the first panic: a backtrace for each takes longer than all the rest.
os.environ["RUST_BACKTRACE"] = "0"

CRASHED = "(Retis crashed)"

_STARTUP = {
    "common": {"timestamp": 1},
    "startup": {
        "retis_version": "1.7.0",
        "cmdline": "retis collect",
        "clock_monotonic_offset": {"sec": 1, "nsec": 0},
        "machine": {"kernel_release": "6.12", "kernel_version": "#1", "hardware_name": "x86_64"},
    },
}
_BEFORE = "2 [k] symbol"


def texts(packets: Sequence[bytes]) -> list[str]:
    """The packet text of each, without the link layer; CRASHED where Retis panics."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.json"
        path.write_text("\n".join(json.dumps(line) for line in [_STARTUP, *map(_event, packets)]) + "\n")
        return [_text(event) for event in list(retis.EventReader(str(path)))[1:]]


def _event(packet: bytes) -> dict[str, object]:
    data = base64.b64encode(packet).decode()
    return {
        "common": {"timestamp": 2},
        "kernel": {"symbol": "symbol", "probe_type": "kprobe"},
        "packet": {"len": len(packet), "capture_len": len(packet), "data": data},
    }


def _text(event: object) -> str:
    try:
        whole = str(event)
    except BaseException as error:  # a Rust panic arrives as a BaseException
        if type(error).__name__ != "PanicException":
            raise
        return CRASHED
    assert whole.startswith(_BEFORE)
    return whole.removeprefix(_BEFORE).removeprefix("\n  ")
