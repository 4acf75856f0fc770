"""The start of an event's text: CPU, task and probe, and the stack trace below it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.collectors.formatting import Part, Place, Style, shown
from fyke.render.distinct import TextCache

# Mechanism -> what the text calls it. Several are one thing to the reader: a function's entry, or its return.
PROBE_LETTERS = {
    "raw_tracepoint": "tp",
    "kprobe": "k",
    "kprobe_multi": "k",
    "fentry": "k",
    "kretprobe": "kr",
    "kretprobe_multi": "kr",
    "fexit": "kr",
    "uprobe": "u",
    "usdt": "u",
    "capture": "cap",  # no probe: the interface that another tool captured on
}


def head_text(
    style: Style,
    cpu: int | None,
    pid: int | None,
    tgid: int | None,
    comm: str | None,
    symbol: str | None,
    probe_type: str | None,
) -> str | None:
    """Return `(1) [ping] 544 [tp] net:netif_rx`: CPU, task, process id (and thread id if another), probe."""
    pieces = [] if cpu is None else [f"({cpu})"]
    if tgid is not None:
        # Retis calls the process `pid` and the thread `tgid`: process first.
        pieces.append(f"[{shown(comm)}] {tgid if tgid == pid else f'{tgid}/{pid}'}")
    if symbol is not None:
        pieces.append(probe_text(style, symbol, probe_type))
    return " ".join(pieces) or None


def probe_text(style: Style, symbol: str | None, probe_type: str | None) -> str:
    """Return a probe as the text shows it: `[tp] net:netif_rx`."""
    return f"[{PROBE_LETTERS.get(probe_type or '', 'invalid')}] {style.paint(shown(symbol), 'symbol')}"


HEAD = Part(
    Place.HEAD,
    ("cpu", "task.pid", "task.tgid", "task.comm", "kernel.symbol", "kernel.probe_type"),
    head_text,
)


def user_text(style: Style, symbol: str | None, path: str | None) -> str | None:
    """Return a probe in a user program: `[u] dpif_recv:recv_upcall (ovs-vswitchd)`."""
    if symbol is None:
        return None
    _, slash, name = (path or "").rpartition("/")
    return f"[u] {style.paint(shown(symbol), 'symbol')}" + (f" ({shown(name)})" if slash else "")


USER = Part(Place.HEAD, ("userspace.symbol", "userspace.path"), user_text)


def retval_text(style: Style, value: int | None, name: str | None, type_: str | None) -> str | None:
    """Return what the function returned: `returned -13 (EACCES)`, `returned 0xffff8881...`."""
    if value is None:
        return None
    if name in ("true", "false", "NULL"):
        return f"returned {name}"
    is_address = type_ is not None and type_.endswith("*") and name is None
    number = f"{value & 0xFFFFFFFFFFFFFFFF:#x}" if is_address else str(value)
    return f"returned {number}" + (f" ({shown(name)})" if name is not None else "")


RETVAL = Part(Place.FIRST_LINE, ("retval.value", "retval.name", "retval.type"), retval_text)


class ArgumentText:
    """Arguments of a user program, on the first line: `args (7, -1, 0x7ffd5e8f0010)`."""

    def __init__(self) -> None:
        self._values = TextCache(shown)

    def texts(self, values: pa.Array) -> pa.Array | None:
        """Return the text of each list of numbers, null for no list; None when there is none."""
        if values.null_count == len(values):
            return None
        texts = self._values.texts([values.flatten()])
        if texts is None:
            return None
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        offsets = pa.array(np.concatenate(([0], np.cumsum(lengths.to_numpy()))).astype(np.int32))
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ", ")
        there = pc.greater(lengths, 0)
        return pc.if_else(
            there, pc.binary_join_element_wise(" args (", joined, ")", ""), pa.scalar(None, pa.string())
        )


class StackText:
    """Stack traces: a line a frame, or `[a, b]` on the event's line."""

    def __init__(self, style: Style) -> None:
        self._multi_line = style.multi_line
        self._frames = TextCache(shown)

    def texts(self, stacks: pa.Array) -> pa.Array | None:
        """Return the text of each stack (list of strings), null for no stack; None when there is none."""
        if stacks.null_count == len(stacks):
            return None
        frames = self._frames.texts([stacks.values])
        if frames is None:
            return None
        lists = pa.ListArray.from_arrays(stacks.offsets, frames)
        if self._multi_line:
            joined = pc.binary_join_element_wise("\n    ", pc.binary_join(lists, "\n    "), "")
        else:
            joined = pc.binary_join_element_wise(" [", pc.binary_join(lists, ", "), "]", "")
        there = pc.fill_null(pc.greater(pc.list_value_length(stacks), 0), False)
        return pc.if_else(there, joined, pa.scalar(None, pa.string()))
