"""Times as text: nanoseconds of the monotonic clock, or the date in UTC to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.collectors.formatting import Style

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000  # in ns


def time_text(timestamp_ns: int, style: Style) -> str:
    """Return one time (ns, monotonic clock) as the style wants it."""
    if style.utc_offset_ns is None:
        return str(timestamp_ns)
    seconds, ns = divmod(timestamp_ns + style.utc_offset_ns, _SECOND)
    return f"{_date(seconds)}.{ns // 1000:06d}"


def time_texts(timestamps: pa.Array, style: Style) -> pa.Array:
    """Return a column of times (uint64 ns, monotonic clock) as text; the date is made once a second."""
    if style.utc_offset_ns is None:
        return pc.cast(timestamps, pa.string())
    # The offset is added to seconds and nanoseconds apart: the sum may not fit 64 bits.
    offset_seconds, offset_ns = divmod(style.utc_offset_ns, _SECOND)
    whole, rest = np.divmod(timestamps.to_numpy(), np.uint64(_SECOND))
    ns = rest.astype(np.int64) + offset_ns
    seconds = pa.array(whole.astype(np.int64) + offset_seconds + ns // _SECOND).dictionary_encode()
    dates = pa.array([_date(s) for s in seconds.dictionary.to_pylist()], pa.string()).take(seconds.indices)
    micros = pa.array(ns % _SECOND // 1000)
    padded = pc.utf8_slice_codeunits(pc.cast(pc.add(micros, 1_000_000), pa.string()), 1)
    return pc.binary_join_element_wise(dates, padded, ".")


def _date(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
