"""Events as a trace for ui.perfetto.dev, in Chrome's Trace Event Format (JSON, streamed).

A sorted recording has a track for each journey: a slice from each event to the next one, named by the point
it begins at, and a mark at the last. Another has a track for each CPU, with a mark for each event. Losses are
marks across the whole trace. Times are the recording's own, microseconds with a fraction.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.collectors.formatting import Style
from fyke.collectors.skb.format import packet_text, packet_texts
from fyke.events.facts import Facts
from fyke.events.output import Output
from fyke.export.convert_file import WholeFile
from fyke.export.pcap_packets import slices
from fyke.export.pcapng import all_bytes
from fyke.render.distinct import TextCache
from fyke.render.text import EventText

_LINE = Style(multi_line=False)
_CPUS = 1  # the process whose threads are the CPUs
_JOURNEYS = 2  # the process of journey 0
_MARK = '"i","s":"t"'
_NO_JOURNEY = np.uint64((1 << 64) - 1)
_PID_BITS = 0x7FFF_FFFF
_UNNAMED = '"?"'
_END = b"\n]}\n"


class PerfettoWriter(WholeFile):
    """Writes a trace; whether journeys or CPUs are tracks, the facts' `order` says. Memory: of a batch."""

    def __init__(self, path: str, facts: Facts) -> None:
        self._journeys = facts.order == "journey"
        self._output = Output(path, lambda _number: _head(facts), trailer=_END)
        self._text = EventText(_LINE)
        self._names = TextCache(lambda symbol: _UNNAMED if symbol is None else json.dumps(symbol))
        self._packets = TextCache(
            lambda data, length: _escaped(packet_text(_LINE, data, length)),
            lambda data, length: _escaped(packet_texts(_LINE, data, length)),
        )
        self._cpus: set[int] = set()
        self._begun: int | None = None  # the journey that was named last
        self._last: pa.RecordBatch | None = None  # the event whose slice the next one ends

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch. Raises RunError when the disk is full or fails."""
        if batch.column("closing").null_count < len(batch):
            batch = batch.filter(batch.column("closing").is_null())
        gaps = batch.column("gap")
        if gaps.null_count < len(batch):
            self._gaps(batch.select(["timestamp_ns", "cpu", "gap"]).filter(gaps.is_valid()).to_pylist())
            batch = batch.filter(gaps.is_null())
        for rows in slices(batch):
            if self._journeys:
                self._hops(rows)
            else:
                self._marks(rows)

    def close(self) -> None:
        """Write the last event and the end."""
        try:
            if self._last is not None:
                last, self._last = self._last, None
                self._events(last, None)
        finally:
            self._output.close()

    def _hops(self, rows: pa.RecordBatch) -> None:
        """Write all rows but the last, which is kept: how long it lasts the next batch says."""
        if self._last is not None:
            rows = pa.Table.from_batches([self._last, rows]).combine_chunks().to_batches()[0]
        self._last = rows.slice(len(rows) - 1)
        if len(rows) > 1:
            self._events(rows.slice(0, len(rows) - 1), self._last)

    def _events(self, rows: pa.RecordBatch, after: pa.RecordBatch | None) -> None:
        """Write rows as slices up to the next event, or as marks. after: the row behind them."""
        ids, alone = _journeys(rows)
        times = rows.column("timestamp_ns").to_numpy()
        if after is None:
            following, goes_on = times[-1:], np.zeros(1, np.bool_)
        else:
            next_id, next_alone = _journeys(after)
            following = after.column("timestamp_ns").to_numpy()
            goes_on = (next_id == ids[-1:]) & ~next_alone
        ends = np.concatenate((times[1:], following))
        goes_on = np.concatenate(((ids[1:] == ids[:-1]) & ~alone[1:], goes_on)) & ~alone
        lasting = np.where(goes_on & (ends > times), ends - times, np.uint64(0))
        self._name_journeys(rows, ids, alone)
        lengths = pc.binary_join_element_wise('"X","dur":', _micros(lasting), "")
        kinds = pc.if_else(pa.array(goes_on), lengths, _MARK)
        pids = pa.array((ids + np.uint64(_JOURNEYS)) & np.uint64(_PID_BITS))
        self._lines(rows, kinds, pids, pa.repeat(0, len(rows)))

    def _marks(self, rows: pa.RecordBatch) -> None:
        cpus = pc.fill_null(rows.column("cpu"), 0)
        for cpu in set(pc.unique(cpus).to_pylist()) - self._cpus:
            self._cpus.add(cpu)
            self._append([_name("thread_name", f"CPU {cpu}", _CPUS, cpu)], 0)
        self._lines(rows, pa.repeat(_MARK, len(rows)), pa.repeat(_CPUS, len(rows)), cpus)

    def _lines(self, rows: pa.RecordBatch, kinds: pa.Array, pids: pa.Array, tids: pa.Array) -> None:
        names = self._names.texts([pc.struct_field(rows.column("kernel"), "symbol")])
        if names is None:
            names = _UNNAMED
        pieces = (
            *(
                ',\n{"name":',
                names,
                ',"ph":',
                kinds,
                ',"ts":',
                _micros(rows.column("timestamp_ns").to_numpy()),
            ),
            *(',"pid":', pids.cast(pa.string()), ',"tid":', tids.cast(pa.string())),
            *(',"args":{"event":"', _escaped(self._text.texts(rows)), '"}}'),
        )
        lines = pc.binary_join_element_wise(*pieces, "")
        self._output.append(bytes(all_bytes(lines)), len(lines))

    def _name_journeys(
        self, rows: pa.RecordBatch, ids: npt.NDArray[np.uint64], alone: npt.NDArray[np.bool_]
    ) -> None:
        begins = (
            np.concatenate(([self._begun is None or ids[0] != self._begun], ids[1:] != ids[:-1])) & ~alone
        )
        self._begun = int(ids[-1])
        if not begins.any():
            return
        packet = rows.column("packet").filter(pa.array(begins))
        columns = [pc.struct_field(packet, name) for name in ("data", "len")]
        texts = self._packets.texts(columns) or pa.nulls(len(packet), pa.string())
        named = []
        for number, text in zip(ids[begins].tolist(), texts.to_pylist(), strict=True):
            name = f"journey {number}" + (f": {text}" if text else "")
            pid = (number + _JOURNEYS) & _PID_BITS
            named.append(f'{{"name":"process_name","ph":"M","pid":{pid},"tid":0,"args":{{"name":"{name}"}}}}')
            named.append(
                f'{{"name":"process_sort_index","ph":"M","pid":{pid},"tid":0,"args":{{"sort_index":{pid}}}}}'
            )
        self._append(named, 0)

    def _gaps(self, gaps: list[dict[str, Any]]) -> None:
        marks = []
        for row in gaps:
            time, count, cause = row["timestamp_ns"], row["gap"]["count"] or 0, row["gap"]["cause"]
            name = json.dumps(f"{count} lost ({cause})")
            place = f'"pid":{_CPUS},"tid":{row["cpu"] or 0}'
            ts = f"{time // 1000}.{time % 1000:03d}"
            marks.append(f'{{"name":{name},"ph":"i","s":"g","ts":{ts},{place}}}')
        self._append(marks, 0)

    def _append(self, items: list[str], events: int) -> None:
        self._output.append("".join(f",\n{item}" for item in items).encode(), events)


def _journeys(rows: pa.RecordBatch) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return each row's journey, and whether it has none."""
    ids = pc.struct_field(rows.column("journey"), "id")
    none = ids.is_null().to_numpy(zero_copy_only=False)
    return np.where(none, _NO_JOURNEY, pc.fill_null(ids, 0).to_numpy()), none


def _micros(times_ns: npt.NDArray[np.uint64]) -> pa.Array:
    """Return times as microseconds with three decimals."""
    whole, rest = np.divmod(times_ns, np.uint64(1000))
    decimals = pc.utf8_slice_codeunits(pa.array(rest + np.uint64(1000)).cast(pa.string()), 1)
    return pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), decimals, ".")


def _escaped(text: Any) -> Any:
    """Return text without control characters as the inside of a JSON string: an array, or one (or None)."""
    if text is None:
        return None
    if isinstance(text, str):
        return text.replace("\\", "\\\\").replace('"', '\\"')
    return pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')


def _name(what: str, name: str, pid: int, tid: int) -> str:
    return json.dumps({"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}})


def _head(facts: Facts) -> bytes:
    about = json.dumps(dataclasses.asdict(facts))
    first = _name("process_name", "losses" if facts.order == "journey" else "CPUs", _CPUS, 0)
    return f'{{"displayTimeUnit":"ns","otherData":{about},"traceEvents":[\n{first}'.encode()
