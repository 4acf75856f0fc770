"""How long each leg of the way through ovs-vswitchd took: from message to receipt, request and return.

A message's number tells which events are of one way, in a sorted recording within the journey. Where an event
was lost, the leg begins at the one before it, and says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.collectors.formatting import Style
from fyke.events.ovs import ENQUEUE, STEPS
from fyke.render.report import duration

_SENT, _RECEIVED, _REQUESTED = "upcall_enqueue", "upcall_recv", "flow_exec"  # as their text calls them
_MOST_WAYS = 1 << 16  # that are remembered: of most nothing comes back


class Legs:
    """Makes the text of legs, batch after batch.

    series: batches are sorted (their `journey` column is filled).
    """

    def __init__(self, style: Style, *, series: bool) -> None:
        self._lead = style.separator
        self._series = series
        self._journey: int | None = None
        # Number of the message -> the last step that was seen, and its time.
        self._last: dict[int, tuple[str, int]] = {}

    def texts(self, rows: pa.RecordBatch) -> pa.Array | None:
        """Return the text of each row, null where no leg ends; None when none does."""
        numbers = _of_messages(rows)
        if not len(numbers):
            return None
        texts: list[str | None] = [None] * len(rows)
        columns = ["timestamp_ns", "journey", *STEPS]
        taken = rows.select(columns).take(pa.array(numbers)).to_pylist()
        for place, row in zip(numbers.tolist(), taken, strict=True):
            texts[place] = self._leg(row)
        return pa.array(texts, pa.string())

    def _leg(self, row: dict[str, Any]) -> str | None:
        step, number = _step(row)
        if number is None:
            return None
        journey = (row["journey"] or {}).get("id")
        if self._series and journey != self._journey:
            self._journey = journey
            self._last.clear()
        now_ns = row["timestamp_ns"]
        before, since_ns = self._last.pop(number, (None, now_ns))
        if step == _SENT and before in (_RECEIVED, _REQUESTED):
            # The event is the sending function's return: another CPU may have received the message by then.
            self._last[number] = before, since_ns
            return None
        # What has come back is seen at many points: the leg ends at the first.
        if step is not None:
            self._last[number] = step, now_ns
            if len(self._last) > _MOST_WAYS:
                del self._last[next(iter(self._last))]
        if step == _SENT or before is None or now_ns < since_ns:
            return None
        return f"{self._lead}{duration(now_ns - since_ns)} since {before}"


def _of_messages(rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return which rows may be steps."""
    there = np.zeros(len(rows), np.bool_)
    for name in STEPS:
        column = rows.column(name)
        if column.null_count < len(column):
            there |= pc.struct_field(column, "queue_id").is_valid().to_numpy(zero_copy_only=False)
    return np.flatnonzero(there)


def _step(row: dict[str, Any]) -> tuple[str | None, int | None]:
    """Return the step that a row is, None: the way's end; and the message's number, None: it is no step."""
    upcall, recv, operation = row["ovs_upcall"], row["ovs_recv"], row["ovs_operation"]
    if upcall:
        return _SENT, upcall["queue_id"] if upcall["event"] == ENQUEUE else None
    if recv:
        return _RECEIVED, recv["queue_id"]
    if operation:
        return _REQUESTED, operation["queue_id"] if operation["op_type"] == "exec" else None
    return None, row["ovs_action"]["queue_id"]
