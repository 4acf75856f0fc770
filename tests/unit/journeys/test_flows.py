"""Flows that Open vSwitch's daemon told of are put beside the look-ups that met them, by sort."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fyke.events.schema import arrow_schema
from fyke.journeys.sort import sort

UFID = "f07b1272-c48e-424f-88d3-c607aa8a8eac"
RULES = ["cookie=0x1, table=0, priority=10 actions=output:2", "table=1 actions=drop"]


def lookup(time_ns: int, **flow: Any) -> dict[str, Any]:
    return {"timestamp_ns": time_ns, "ovs_lookup": {"n_mask_hit": 1, "n_cache_hit": 0, **flow}}


def told(time_ns: int, text: str = "in_port(1)", **flow: Any) -> dict[str, Any]:
    return {"timestamp_ns": time_ns, "ovs_detrace": {"dpflow": text, "ofpflows": RULES, **flow}}


def sorted_lookups(*batches: list[dict[str, Any]]) -> dict[int, tuple[str | None, list[str] | None]]:
    """Return, by time, what the look-ups say of their flows."""
    schema = arrow_schema()
    made = [
        pa.RecordBatch.from_arrays(
            [pa.array([row.get(f.name) for row in rows], f.type) for f in schema], schema=schema
        )
        for rows in batches
    ]
    found = [row for batch in sort(made, schema) for row in batch.to_pylist() if row["ovs_lookup"]]
    return {
        row["timestamp_ns"]: (row["ovs_lookup"]["dpflow"], row["ovs_lookup"]["ofpflows"]) for row in found
    }


ONE = {"ufid": UFID, "flow": 7, "sf_acts": 8}


def test_a_flow_is_told_of_wherever_it_was_met() -> None:
    """Before it was told and after, in other batches too; not another one of the same UFID, nor a miss."""
    found = sorted_lookups(
        [lookup(1, **ONE), lookup(2)],
        [told(3, **ONE), lookup(4, **ONE), lookup(5, **{**ONE, "sf_acts": 9})],
        [lookup(6, **ONE)],
    )
    whole, nothing = ("in_port(1)", RULES), (None, None)
    assert found == {1: whole, 2: nothing, 4: whole, 5: nothing, 6: whole}


def test_the_later_word_counts_and_what_is_there_stays() -> None:
    found = sorted_lookups(
        [told(1, "old", **ONE), lookup(2, **ONE), told(3, "new", **ONE)],
        [lookup(4, dpflow="from an earlier sort", **ONE)],
    )
    assert found == {2: ("new", RULES), 4: ("from an earlier sort", RULES)}


def test_where_nothing_was_told_nothing_changes() -> None:
    assert sorted_lookups([lookup(1, **ONE)]) == {1: (None, None)}
