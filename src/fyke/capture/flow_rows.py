"""Has flows told of that events of a collection met (--ovs-enrich-flows), and makes rows of what is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from fyke.capture.flow_texts import Flow, FlowText, FlowTexts
from fyke.events.schema import arrow_schema
from fyke.kernel.machine import kernel_clock_ns
from fyke.kernel.unixctl import vswitchd_sockets

log = logging.getLogger(__name__)

SECTION = "ovs_detrace"
LAST_SECONDS = 1.0  # how long the flows of the last events may take to be told, at the end


class FlowRows:
    """Close it at the end. rate: flows to ask for in a second."""

    def __init__(self, rate: int) -> None:
        if not vswitchd_sockets():
            log.warning(
                "--ovs-enrich-flows: no control socket of an ovs-vswitchd is found; is one running? flows "
                "are told when there is one"
            )
        self._texts = FlowTexts(rate)

    def look(self, batch: pa.RecordBatch) -> None:
        """Have the flows of a batch asked for."""
        column = batch.column("ovs_lookup")
        if column.null_count == len(column):
            return
        names = [pc.struct_field(column, name) for name in Flow._fields]
        met = pa.Table.from_arrays(names, list(Flow._fields)).group_by(list(Flow._fields)).aggregate([])
        self._texts.want(
            Flow(row["ufid"], row["flow"], row["sf_acts"])
            for row in met.to_pylist()
            if row["ufid"] and row["flow"]
        )

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Yield what was told since the last call."""
        if told := self._texts.take():
            yield _batch(told)

    def last(self) -> Iterator[pa.RecordBatch]:
        """Yield what is told within a moment, now that no more events come; say what wasn't."""
        end = time.monotonic() + LAST_SECONDS
        while self._texts.unasked and time.monotonic() < end:
            time.sleep(0.02)
        self._texts.close()
        yield from self.rows()
        if self._texts.failed:
            log.warning(
                "%d flows are not described: ovs-vswitchd doesn't know them (any more), or didn't answer",
                self._texts.failed,
            )
        if self._texts.unasked:
            log.warning(
                "%d flows were not asked for in time; --ovs-enrich-rate allows more", self._texts.unasked
            )

    def close(self) -> None:
        """End it without what is still to come."""
        self._texts.close()


def _text(told: str) -> str:
    """JSON may hold halves of characters, which a column can't."""
    return told.encode("utf-8", "replace").decode()


def _batch(told: list[FlowText]) -> pa.RecordBatch:
    now_ns = kernel_clock_ns()
    sections = [
        {
            **one.flow._asdict(),
            "dpflow": _text(one.datapath),
            "ofpflows": [_text(rule) for rule in one.rules],
        }
        for one in told
    ]
    schema = arrow_schema()
    columns = {"timestamp_ns": [now_ns] * len(told), SECTION: sections}
    return pa.RecordBatch.from_arrays(
        [pa.array(columns.get(field.name, [None] * len(told)), field.type) for field in schema], schema=schema
    )
