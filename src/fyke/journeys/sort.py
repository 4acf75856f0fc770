"""Events to journeys: one SQL query says which row belongs where, then rows are fetched in that order."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import FykeError, RunError
from fyke.events.facts import Facts
from fyke.events.schema import JOURNEY, section_type
from fyke.journeys.spool import Spool, spool_folder

CHUNK_ROWS = 16_384
# What the query may hold in memory before DuckDB goes to disk, in bytes; it takes some 500 an event.
MEMORY_LIMIT = min(512 << 20, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)
# Says for each row of a batch whether it is chosen.
Choice = Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]
_COLUMNS = ["timestamp_ns", "cpu", "skb_tracking", "gap", "closing"]  # what the query looks at


def query() -> str:
    """Return the text of the query: SQL over a table `events`, see its first lines."""
    return resources.files("fyke.journeys").joinpath("sort.sql").read_text(encoding="utf-8")


def sort(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, chosen: Choice | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield all rows of the batches as journeys, with the `journey` column filled.

    chosen: asked once of each batch, in order. Only journeys of which some event is chosen are yielded,
    whole, and the notes.

    A journey is the events of one tracking id, in order of time (those of one time as in the input), numbered
    from 0 by `index`. Events without id are journeys of their own. Journeys are in the order in which their
    packets were first seen, an untracked event before a packet of the same time. `clone` numbers the packet's
    skbs in order of first sight.

    `lost` is the number of events lost on the journey: the sum of the counts of all gap rows (of causes that
    lose events) whose CPU is one that the journey has an event on, and whose interval, since_ns to
    timestamp_ns, has a moment in common with the interval from the journey's first event to its last. So it
    is an upper bound of what the journey itself misses, and 0 only when it is whole between its ends. A gap
    without CPU counts for every journey of its time.

    Gap rows stand where an untracked event of their time would, the closing row last; their `journey` is
    null.

    Memory is bounded: what is too much goes to temporary files. What the input raises half way (a damaged
    file) is raised here after everything before it was sorted and yielded. Raises RunError on a full disk.
    """
    spool = Spool(schema)
    try:
        with tempfile.TemporaryDirectory(prefix="fyke-sort-", dir=spool_folder()) as folder:
            yield from _sorted(_Input(batches, spool, chosen), spool, folder)
    except (duckdb.Error, OSError) as error:
        text = str(error).partition("\n")[0]
        raise RunError(
            f"sorting failed: {text}", f"free some space in {spool_folder()}, or set TMPDIR"
        ) from error
    finally:
        spool.close()


def sorted_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of what `sort` yields for batches of a schema."""
    place = schema.get_field_index(JOURNEY.name)
    return schema.set(place, schema.field(place).with_type(section_type(JOURNEY)))


def sorted_facts(facts: Facts) -> Facts:
    """Return the facts of the sorted file of a collection: one file, whatever it was read from."""
    return dataclasses.replace(facts, order="journey", split_id=None, split_limit_bytes=None)


def _sorted(source: _Input, spool: Spool, folder: str) -> Iterator[pa.RecordBatch]:
    settings: dict[str, Any] = {"memory_limit": f"{MEMORY_LIMIT}B", "temp_directory": folder}
    with contextlib.closing(duckdb.connect(config=settings)) as connection:
        connection.register("events", source.reader())
        for placed in _arrow_reader(connection.sql(query())):
            yield _journeys(spool.fetch(placed.column("row").to_numpy()), placed)
    if source.error is not None:
        raise source.error


def _arrow_reader(result: duckdb.DuckDBPyRelation) -> Any:
    # DuckDB 2 renamed it, and warns about the old name.
    read = getattr(result, "to_arrow_reader", None) or result.fetch_arrow_reader
    return read(CHUNK_ROWS)


def _journeys(rows: pa.RecordBatch, placed: pa.RecordBatch) -> pa.RecordBatch:
    """Fill the journey column; rows that belong to no journey keep it null."""
    columns = [placed.column(c.name) for c in JOURNEY.columns]
    kind = section_type(JOURNEY)
    journey = pa.StructArray.from_arrays(
        [column.cast(kind.field(i).type) for i, column in enumerate(columns)],
        fields=[kind.field(i) for i in range(kind.num_fields)],
        mask=placed.column("id").is_null(),
    )
    place = rows.schema.get_field_index(JOURNEY.name)
    return rows.set_column(place, sorted_schema(rows.schema).field(place), journey)


class _Input:
    """Feeds the query while keeping whole rows in the spool. `error` is what ended the input early."""

    def __init__(self, batches: Iterable[pa.RecordBatch], spool: Spool, chosen: Choice | None) -> None:
        self._batches = batches
        self._spool = spool
        self._chosen = chosen
        self.error: FykeError | None = None

    def reader(self) -> pa.RecordBatchReader:
        """Return the columns the query looks at, row numbers, and which rows are chosen."""
        kept = [self._spool.schema.field(name) for name in _COLUMNS]
        schema = pa.schema([pa.field("row", pa.int64()), pa.field("chosen", pa.bool_()), *kept])
        return pa.RecordBatchReader.from_batches(schema, self._read(schema))

    def _read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                first = self._spool.rows
                self._spool.append(batch)
                numbers = pa.array(np.arange(first, first + len(batch)))
                chosen = np.ones(len(batch), np.bool_) if self._chosen is None else self._chosen(batch)
                columns = [numbers, pa.array(chosen), *(batch.column(name) for name in _COLUMNS)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        except FykeError as error:
            self.error = error
