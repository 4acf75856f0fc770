"""What rows of sorted files have in Retis' JSON besides: their packet's first skb, and their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.retis.arrays import bools_of, indices_of, valid
from fyke.events.retis.lines import Places


@dataclass(frozen=True)
class Series:
    """What rows of sorted files need besides.

    tracking: the text of Retis' section of the packet's first skb, null where there is none. index: the text
    of the row's place in the series.
    """

    tracking: pa.StringArray
    index: pa.StringArray


def series_of(batch: pa.RecordBatch, begins: Places) -> Series:
    """Return it for the rows of a batch. begins: where journeys begin; the first row does."""
    rows = np.arange(batch.num_rows)
    journeys = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, batch.num_rows)))
    tracking = batch.column("skb_tracking")
    pieces = [
        pc.struct_field(tracking, name).cast(pa.string()) for name in ("orig_head", "timestamp_ns", "skb")
    ]
    names = ['{"orig_head":', ',"timestamp":', ',"skb":']
    parts = [part for name, piece in zip(names, pieces, strict=True) for part in (pa.scalar(name), piece)]
    own = pc.binary_join_element_wise(*parts, pa.scalar("}"), pa.scalar(""))  # null when one of them is
    there = valid(own)
    first = np.full(len(begins), -1)
    first[journeys[there][::-1]] = rows[there][::-1]
    chosen = first[journeys]
    skb = own.take(pc.if_else(bools_of(chosen >= 0), indices_of(chosen), pa.scalar(None, pa.int64())))
    index = pc.coalesce(
        pc.struct_field(batch.column("journey"), "index").cast(pa.int64()),
        indices_of(rows - begins[journeys]),
    )
    return Series(skb, index.cast(pa.string()))
