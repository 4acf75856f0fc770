"""What rows of sorted files have in Retis' JSON besides: the packet's first skb, their place, brackets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.retis.arrays import indices_of, valid
from fyke.events.retis.lines import Places
from fyke.events.retis.values import TRACKING_INDEX, TRACKING_SKB, Coded, Values

BEFORE, AFTER = ("around", "before"), ("around", "after")  # keys of what stands around an event


def add_series(values: Values, batch: pa.RecordBatch, begins: Places) -> None:
    """Add these columns. begins: where journeys begin; the first row does."""
    rows = np.arange(batch.num_rows)
    journeys = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, batch.num_rows)))
    columns = [
        pc.struct_field(batch.column("skb_tracking"), name) for name in ("orig_head", "timestamp_ns", "skb")
    ]
    there = np.logical_and.reduce([valid(column) for column in columns])
    first = np.full(len(begins), -1)
    first[journeys[there][::-1]] = rows[there][::-1]
    known = first >= 0  # journeys with a packet
    pieces: list[pa.Scalar | pa.Array] = []
    for name, column in zip(('{"orig_head":', ',"timestamp":', ',"skb":'), columns, strict=True):
        pieces += [pa.scalar(name), column.take(indices_of(first[known])).cast(pa.string())]
    skbs = pc.binary_join_element_wise(*pieces, pa.scalar("}"), pa.scalar(""))
    codes = np.where(known, np.cumsum(known), 0)[journeys]
    values.there[TRACKING_SKB] = codes > 0
    values.set(TRACKING_SKB, Coded(codes, skbs))
    index = pc.struct_field(batch.column("journey"), "index").cast(pa.int64())
    values.set(TRACKING_INDEX, Coded.of(pc.coalesce(index, indices_of(rows - begins[journeys]))))
    before, after = np.full(batch.num_rows, 2), np.full(batch.num_rows, 1)
    before[begins] = 1
    after[np.append(begins[1:], batch.num_rows) - 1] = 2
    values.set(BEFORE, Coded(before, pa.array(["[", ","])))
    values.set(AFTER, Coded(after, pa.array(["", "]\n"])))
