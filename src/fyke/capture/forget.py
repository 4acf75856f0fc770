"""Entries of the tracking map whose packet's end was not seen: dropped when it wasn't seen for long."""

from __future__ import annotations

import logging
import struct

import numpy as np

from fyke.capture import libbpf

log = logging.getLogger(__name__)

INTERVAL_NS = 5_000_000_000
MAX_AGE_NS = 60_000_000_000


def forget_stale(tracking_fd: int, entries: int, dtype: np.dtype[np.void], now_ns: int) -> int:
    """Delete what was last seen over a minute ago; return how many. A packet that waits longer (in a socket's
    queue, say) gets a new id when it moves on."""
    keys, values, count = libbpf.elements(tracking_fd, 8, dtype.itemsize, entries)
    if not count:
        return 0
    seen = np.frombuffer(values, dtype, count)["last_seen_ns"]
    stale = np.frombuffer(keys, np.uint64, count)[seen + np.uint64(MAX_AGE_NS) < now_ns]
    removed = sum(libbpf.delete_element(tracking_fd, struct.pack("=Q", int(key))) for key in stale)
    if removed:
        log.debug("skb-tracking: forgot %d packets not seen for a minute", removed)
    return removed
