"""Which kind of file an output name asks for, and its writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fyke.errors import UsageError
from fyke.events.facts import Facts

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.retis.write import RetisWriter
    from fyke.events.store import EventWriter

RETIS_SUFFIXES = (".json", ".jsonl", ".data")


def output_format(path: str, asked: str | None = None) -> str:
    """Return `arrow` or `json` for an output: what was asked for, else what the name says."""
    if asked is not None:
        return asked
    if path.endswith(".parquet"):
        raise UsageError(f"{path}: Parquet can't be written event by event", "name it .arrow, or .json")
    return "json" if path.endswith(RETIS_SUFFIXES) else "arrow"


def open_writer(
    path: str,
    facts: Facts,
    asked: str | None = None,
    *,
    schema: pa.Schema | None = None,
    limit_bytes: int | None = None,
) -> EventWriter | RetisWriter:
    """Begin an event file. schema: of the batches, when they have more columns than ours.

    Raises UsageError for a path that can't be written to.
    """
    if output_format(path, asked) == "json":
        from fyke.events.retis.write import RetisWriter

        return RetisWriter(path, facts, limit_bytes=limit_bytes)
    from fyke.events.store import EventWriter

    return EventWriter(path, facts, limit_bytes=limit_bytes, schema=schema)
