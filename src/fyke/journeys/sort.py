"""Events to journeys: one SQL query says which row belongs where, then rows are fetched in that order.

What fits in memory is ordered there (order.py), with the same result in a tenth of the time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import InputError, RunError
from fyke.events.facts import Facts
from fyke.events.heap import given_back
from fyke.events.ovs import STEPS
from fyke.events.reader import EventSource
from fyke.events.recognise import ARROW
from fyke.events.schema import JOURNEY, section_type
from fyke.journeys import order
from fyke.journeys.flows import TOLD, Flows
from fyke.journeys.order import ROW_BYTES
from fyke.journeys.spool import Rereading, Spool, spool_folder
from fyke.journeys.stitch import Stitches, is_unstitched

# pyarrow makes a compressor for each buffer of a batch: in small batches that takes longer than its work.
CHUNK_ROWS = 32_768
# What the query may hold in memory before DuckDB goes to disk, in bytes; it takes some 500 an event.
MEMORY_LIMIT = min(512 << 20, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)
# Says for each row of a batch whether it is chosen.
Choice = Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]
COLUMNS = ("timestamp_ns", "cpu", "skb_tracking", "gap", "closing")  # what the query looks at
LOOKED_AT = (*COLUMNS, TOLD, *STEPS)  # and what is filled in
_TRACKING = COLUMNS.index("skb_tracking")
_OF_PACKET = ("orig_head", "timestamp_ns", "skb")  # and at these of skb_tracking


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
    with _failures(), contextlib.closing(Spool(schema)) as spool:
        keys = _Keys(batches, schema, chosen, spool)
        for placed in places(keys.read(), keys.schema):
            yield _journeys(spool.fetch(placed.column("row").to_numpy()), placed, keys)
        if keys.problem is not None:
            raise keys.problem


def sort_source(source: EventSource) -> Iterator[pa.RecordBatch]:
    """Yield all of a recording, not begun, as `sort` does. Its codes are kept if it keeps them.

    A file of ours is read twice, which costs less than keeping it: for what the order depends on, then whole.
    What is written to it between the two is left out.
    """
    if source.format == ARROW and _is_regular(source.path):
        with _failures():
            yield from _read_twice(source)
    else:
        yield from sort(source.batches(), source.schema)


def sorted_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of what `sort` yields for batches of a schema."""
    place = schema.get_field_index(JOURNEY.name)
    return schema.set(place, schema.field(place).with_type(section_type(JOURNEY)))


def sorted_facts(facts: Facts) -> Facts:
    """Return the facts of the sorted file of a collection: one file, whatever it was read from."""
    return dataclasses.replace(facts, order="journey", split_id=None, split_limit_bytes=None)


def places(events: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the result of the query in batches of at most CHUNK_ROWS; none before all events were taken.

    events: the table of the query, of schema `schema`, its rows numbered from 0. Memory is bounded. Raises
    duckdb.Error and OSError on a full disk.
    """
    held: deque[pa.RecordBatch] = deque()
    rows = 0
    for batch in events:
        held.append(batch)
        rows += len(batch)
        if rows * ROW_BYTES > MEMORY_LIMIT:
            yield from given_back(_by_query(given_back(itertools.chain(_emptied(held), events)), schema))
            return
    for part in order.placed(pa.Table.from_batches(list(_emptied(held)), schema)):
        for start in range(0, len(part), CHUNK_ROWS):
            yield part.slice(start, CHUNK_ROWS)


def _by_query(events: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="fyke-sort-", dir=spool_folder()) as folder:
        settings: dict[str, Any] = {"memory_limit": f"{MEMORY_LIMIT}B", "temp_directory": folder}
        try:
            with contextlib.closing(duckdb.connect(config=settings)) as connection:
                connection.execute("SET enable_progress_bar = false")  # see Views
                connection.register("events", pa.RecordBatchReader.from_batches(schema, events))
                result = connection.sql(query())
                # DuckDB 2 renamed it, and warns about the old name.
                read = getattr(result, "to_arrow_reader", None) or result.fetch_arrow_reader
                yield from read(CHUNK_ROWS)
        except duckdb.Error as error:
            raise OSError(str(error).partition("\n")[0]) from error


def _emptied(held: deque[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while held:
        yield held.popleft()


def _read_twice(source: EventSource) -> Iterator[pa.RecordBatch]:
    done = 0
    stitch = is_unstitched(source)
    columns = LOOKED_AT if stitch else (*COLUMNS, TOLD)
    with contextlib.closing(Rereading(source.schema, source.batches())) as rows:
        while True:
            with source.again(columns) as first:
                # Damage in other columns is met only later: then once more, with what is before it.
                limit = rows.rows if rows.problem else None
                keys = _Keys(first.batches(), source.schema, limit=limit, stitched=stitch)
                try:
                    for placed in _after(done, places(keys.read(), keys.schema)):
                        if not done:
                            rows.expect(keys.lengths)
                        journeys = _journeys(rows.fetch(placed.column("row").to_numpy()), placed, keys)
                        done += len(placed)
                        yield journeys
                    break
                except InputError:
                    if rows.problem is None:
                        raise
        if rows.problem is not None:
            raise rows.problem
        if rows.finish():  # it has grown
            source.close()
            source.endless.extend(first.endless)
            if keys.problem is not None:
                raise keys.problem


def _after(count: int, placed: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Leave out the first rows."""
    for batch in placed:
        if count < len(batch):
            yield batch.slice(count)
        count = max(0, count - len(batch))


def _journeys(rows: pa.RecordBatch, placed: pa.RecordBatch, keys: _Keys) -> pa.RecordBatch:
    """Fill the journey column; rows that belong to no journey keep it null. Flows get what was told.

    Rows whose journey can't be told from others are marked.
    """
    columns = [placed.column(c.name) for c in JOURNEY.columns]
    kind = section_type(JOURNEY)
    journey = pa.StructArray.from_arrays(
        [column.cast(kind.field(i).type) for i, column in enumerate(columns)],
        fields=[kind.field(i) for i in range(kind.num_fields)],
        mask=placed.column("id").is_null(),
    )
    rows = keys.stitches.marks.fill(keys.flows.fill(rows), placed.column("row").to_numpy())
    place = rows.schema.get_field_index(JOURNEY.name)
    return rows.set_column(place, sorted_schema(rows.schema).field(place), journey)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False  # gone since it was opened


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Tell of a full disk in a sentence."""
    try:
        yield
    except OSError as error:
        hint = f"free some space in {spool_folder()}, or set TMPDIR"
        raise RunError(f"sorting failed: {error}", hint) from error


def stitched(batch: pa.RecordBatch, stitches: Stitches) -> pa.RecordBatch:
    """Return a batch in which packets that come back from user space have the ids that they had."""
    place = batch.schema.get_field_index("skb_tracking")
    before = batch.column(place)
    after = stitches.tracking(batch)
    return batch if after is before else batch.set_column(place, batch.schema.field(place), after)


class _Keys:
    """The table of the query, of batches of events: what it looks at, row numbers, and which rows are chosen.

    spool: gets each batch whole. stitched: packets that come back from user space get the ids that they had.
    limit: of rows to read. lengths: rows of each batch so far. problem: what
    ended the input early. flows: what was told of Open vSwitch's.
    """

    def __init__(
        self,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        chosen: Choice | None = None,
        spool: Spool | None = None,
        limit: int | None = None,
        *,
        stitched: bool = True,
    ) -> None:
        self._batches = batches
        self._chosen = chosen
        self._spool = spool
        self._limit = limit
        kept = [schema.field(name) for name in COLUMNS]
        kept[_TRACKING] = kept[_TRACKING].with_type(
            pa.struct([kept[_TRACKING].type.field(n) for n in _OF_PACKET])
        )
        self.schema = pa.schema([pa.field("row", pa.int64()), pa.field("chosen", pa.bool_()), *kept])
        self._nulls = {name: pa.nulls(0, self.schema.field(name).type) for name in COLUMNS}
        self.lengths: list[int] = []
        self.problem: InputError | None = None
        self._stitched = stitched
        self.stitches = Stitches()
        self.flows = Flows()

    def read(self) -> Iterator[pa.RecordBatch]:
        """Yield the table. Damage ends it."""
        row = 0
        try:
            for batch in self._batches:
                if self._limit is not None and row >= self._limit:
                    return
                if self._spool is not None:
                    self._spool.append(batch)
                self.lengths.append(len(batch))
                self.flows.learn(batch)
                numbers = pa.array(np.arange(row, row + len(batch)))
                chosen = np.ones(len(batch), np.bool_) if self._chosen is None else self._chosen(batch)
                if self._stitched:
                    batch = stitched(batch, self.stitches)
                columns = [numbers, pa.array(chosen), *(self._column(batch, name) for name in COLUMNS)]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
                row += len(batch)
        except InputError as error:
            self.problem = error

    def _column(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        """Return a column with what the query looks at; all that are null share their memory."""
        column = batch.column(name)
        kind = self.schema.field(name).type
        if column.null_count == len(column):
            if len(self._nulls[name]) < len(column):
                self._nulls[name] = pa.nulls(len(column), kind)
            return self._nulls[name].slice(0, len(column))
        if column.type.equals(kind):
            return column
        children = [pc.struct_field(column, field.name) for field in kind]
        mask = column.is_null() if column.null_count else None
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)
