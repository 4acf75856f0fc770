"""What the views read: the rows of a recording, as often as needed, and of them only the columns needed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fyke.errors import InputError, RunError
from fyke.events.ovs import STEPS
from fyke.events.reader import EventSource, default_input, named, open_events
from fyke.events.rotation import FOLLOW
from fyke.events.schema import arrow_schema
from fyke.journeys.spool import spool_folder
from fyke.journeys.tuples import FLOW, flows

if TYPE_CHECKING:
    from fyke.journeys.views_places import Places

# Takes a source and yields the batches of it that are wanted.
Choose = Callable[[EventSource], Iterator[pa.RecordBatch]]
# What a packet filter and the choice of whole journeys look at.
CHOICE_COLUMNS = ("packet", "vlan_accel", "skb_tracking", "journey")
NUMBER, FLOW_NAME, FILE, HOST = "number", "flow", "file", "host"


def recorded_schema() -> pa.Schema:
    """Return the schema of the table `recorded` of views.sql."""
    number = pa.field(NUMBER, pa.uint64(), nullable=False)
    file = pa.field(FILE, pa.string(), nullable=False)
    return pa.schema([number, *arrow_schema(), pa.field(FLOW_NAME, FLOW), file, pa.field(HOST, pa.string())])


class Recorded(ABC):
    """The table `recorded` of views.sql, read anew each time; DuckDB takes it as an Arrow stream.

    problem: what ended the input early; everything before it is there. failure: what went wrong otherwise.
    """

    def __init__(self) -> None:
        self._columns: Collection[str] | None = None
        self.failure: BaseException | None = None
        self.problem: InputError | None = None
        self.schema = recorded_schema()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Begin a reading (Arrow PyCapsule Interface)."""
        reader = pa.RecordBatchReader.from_batches(self.schema, self._kept())
        return reader.__arrow_c_stream__(requested_schema)

    def prepare(self, columns: Collection[str] | None) -> None:
        """Say what the next readings need, None for all columns; others may be null."""
        self._columns = columns
        self.failure = None

    @property
    @abstractmethod
    def sources(self) -> tuple[EventSource, ...]:
        """The recordings: of the first reading, or of one that goes on; their files, facts and warnings."""

    @abstractmethod
    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows. Damage ends them quietly: see `problem`."""

    @abstractmethod
    def close(self) -> None:
        """Free what is on disk."""

    def _kept(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.batches(self._columns)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise


class Rows(Recorded):
    """The rows of one recording.

    path: as `open_events` takes it. What can't be read twice, a pipe, is copied to a temporary file first.
    choose: which rows there are; None for all. Whatever comes later, the rows are those of the first reading
    (files grow).
    places_file: see `Places`; one of its own without it.
    source: of the first reading, or of one that goes on: its files, facts and warnings.
    """

    def __init__(
        self, path: str | None, choose: Choose | None = None, places_file: IO[bytes] | None = None
    ) -> None:
        super().__init__()
        self._places_file = places_file
        self._path = default_input() if path is None else named(path)
        self._copy: IO[bytes] | None = None
        self._shown = self._path
        self._choose = choose
        self._places: Places | None = None
        self._count: int | None = None
        self._keep_stream()
        try:
            self.source = self._open(())
        except BaseException:
            self.close()
            raise
        self.source.close()
        self.is_sorted = self.source.facts.order == "journey"

    @property
    def sources(self) -> tuple[EventSource, ...]:
        """The recording."""
        return (self.source,)

    def prepare(self, columns: Collection[str] | None) -> None:
        """Say what the next readings need, None for all columns; others may be null."""
        super().prepare(columns)
        if self._needs_places(set(self.schema.names if columns is None else columns)):
            self.places()

    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows. Damage ends them quietly: see `problem`."""
        wanted = set(self.schema.names if columns is None else columns)
        with_flow = FLOW_NAME in wanted
        places = self.places() if self._needs_places(wanted) else None
        if with_flow:
            wanted |= {"packet", "vlan_accel"}
        for first, batch in self.numbered(wanted):
            if places is not None:
                batch = places.marked(first, batch)
            named = {name: batch.column(name) for name in batch.schema.names}
            numbers = np.arange(first, first + len(batch), dtype=np.uint64)
            named[NUMBER] = pa.array(numbers)
            named[FLOW_NAME] = flows(batch) if with_flow else pa.nulls(len(batch), FLOW)
            named[FILE] = pa.repeat(_text(self._shown) if FILE in wanted else "", len(batch))
            host = _text(self.source.facts.host) if HOST in wanted else ""
            named[HOST] = pa.repeat(host, len(batch)) if host else pa.nulls(len(batch), pa.string())
            if places is not None:
                named["journey"] = places.journeys(first, len(batch))
            columns_ = [named[field.name].cast(field.type) for field in self.schema]
            yield pa.RecordBatch.from_arrays(columns_, schema=self.schema)

    def places(self) -> Places:
        """Return where each row of an unsorted recording belongs; found once."""
        if self._places is None:
            from fyke.journeys.sort import COLUMNS  # not everything here needs it
            from fyke.journeys.stitch import is_unstitched
            from fyke.journeys.views_places import Places

            unstitched = is_unstitched(self.source)
            columns = (*COLUMNS, *STEPS) if unstitched else COLUMNS
            batches = (batch for _, batch in self.numbered(columns))
            self._places = Places(batches, self._places_file, unstitched=unstitched)
        return self._places

    def _needs_places(self, columns: set[str]) -> bool:
        """Say whether any of the columns is filled only when the rows have been put together."""
        from fyke.journeys.stitch import is_unstitched

        if self.is_sorted:
            return False
        return "journey" in columns or (is_unstitched(self.source) and not columns.isdisjoint(STEPS))

    def close(self) -> None:
        """Free what is on disk."""
        if self._places is not None:
            self._places.close()
        if self._copy is not None:
            self._copy.close()

    def numbered(
        self, columns: Collection[str], *, by_number: bool = False
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield batches as they are in the files, and the number of the first row of each.

        columns: others may be null. by_number: strings may be so. `source` is of this reading while it goes
        on. Damage ends it quietly.
        """
        row, before, source = 0, self.source, self._open(columns)
        self.source = source
        if by_number and self._choose is None:
            source.keep_codes()
        with source:
            try:
                for batch in source.batches() if self._choose is None else self._choose(source):
                    if self._count is not None:
                        batch = batch.slice(0, self._count - row)
                    if len(batch):
                        yield row, batch
                    row += len(batch)
            except InputError as error:
                self.problem = self._named(error)
        if self._count is None:
            self._count = row
        else:
            self.source = before

    def _open(self, columns: Collection[str]) -> EventSource:
        wanted = set(columns) if self._choose is None else {*columns, *CHOICE_COLUMNS}
        try:
            return open_events(self._path, wanted)
        except InputError as error:
            raise self._named(error) from error

    def _named(self, error: InputError) -> InputError:
        """Return an error with the name that the user gave."""
        if self._copy is None:
            return error
        return InputError(error.message.replace(self._path, self._shown), error.hint)

    def _keep_stream(self) -> None:
        """Copy what can be read once only to a file that has no name."""
        try:
            mode = os.stat(self._path.removesuffix(FOLLOW)).st_mode
        except (OSError, ValueError):
            return  # opening it says what is wrong
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return
        try:
            self._copy = tempfile.TemporaryFile(dir=spool_folder())  # noqa: SIM115  (see close)
            with open(self._path, "rb") as stream:
                shutil.copyfileobj(stream, self._copy, 1 << 20)
            self._copy.flush()
        except OSError as error:
            self.close()
            raise RunError(f"can't keep what comes from {self._path}: {error.strerror}") from error
        self._path = f"/proc/self/fd/{self._copy.fileno()}"


def _text(name: str) -> str:
    """Return a name as Arrow takes it: one of a file may be of any bytes."""
    return name.encode("utf-8", "replace").decode()
