"""The table of the views over several recordings: their rows one after another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.reader import EventSource
from fyke.journeys.views_rows import NUMBER, Choose, Recorded, Rows


def recorded_rows(paths: Sequence[str], choose: Choose | None = None) -> Recorded:
    """Return the rows of the recordings at these paths; of the default one where there is none."""
    if len(paths) > 1:
        return ManyRows(paths, choose)
    return Rows(paths[0] if paths else None, choose)


class ManyRows(Recorded):
    """The rows of several recordings. No journey is of two; numbers go on from recording to recording.

    paths, choose: as `Rows` takes them. What is damaged doesn't end the others.
    """

    def __init__(self, paths: Sequence[str], choose: Choose | None = None) -> None:
        from fyke.journeys.views_places import places_file  # one recording may not need it

        super().__init__()
        self._parts: list[Rows] = []
        self._places = places_file()
        try:
            for path in paths:
                self._parts.append(Rows(path, choose, self._places))
        except BaseException:
            self.close()
            raise

    @property
    def sources(self) -> tuple[EventSource, ...]:
        """The recordings."""
        return tuple(part.source for part in self._parts)

    def prepare(self, columns: Collection[str] | None) -> None:
        """Say what the next readings need, None for all columns; others may be null."""
        super().prepare(columns)
        for part in self._parts:
            part.prepare(columns)
            self.problem = self.problem or part.problem

    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows. Damage ends those of a recording quietly: see `problem`."""
        number = journey = 0
        for part in self._parts:
            rows = journeys = 0
            for batch in part.batches(columns):
                highest = pc.max(pc.struct_field(batch.column("journey"), "id")).as_py()
                rows += len(batch)
                journeys = max(journeys, 0 if highest is None else highest + 1)
                yield _behind(batch, number, journey)
            self.problem = self.problem or part.problem
            number += rows
            journey += journeys

    def close(self) -> None:
        """Free what is on disk."""
        for part in self._parts:
            part.close()
        self._places.close()


def _behind(batch: pa.RecordBatch, number: int, journey: int) -> pa.RecordBatch:
    """Return a batch of the table with its numbers of rows and journeys put behind those that were."""
    numbers = pc.add(batch.column(NUMBER), np.uint64(number))
    place = batch.schema.get_field_index(NUMBER)
    batch = batch.set_column(place, batch.schema.field(place), numbers)
    placed = batch.column("journey")
    if not journey or placed.null_count == len(placed):
        return batch
    place = batch.schema.get_field_index("journey")
    field = batch.schema.field(place)
    children = [pc.struct_field(placed, child.name) for child in field.type]
    children[0] = pc.add(children[0], np.uint64(journey))
    moved = pa.StructArray.from_arrays(children, fields=list(field.type), mask=placed.is_null())
    return batch.set_column(place, field, moved)
