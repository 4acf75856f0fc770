"""Reads one Retis file: JSON lines, one event a line, or one series of events a line when it is sorted.

Nearly all lines are read as arrays (`fast.py`); those that are unusual, rare or wrong, one by one
(`exact.py`, `rest.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import BinaryIO, NoReturn

import numpy as np
import pyarrow as pa

from fyke.errors import InputError
from fyke.events.escape import printable
from fyke.events.recognise import RETIS_JSON
from fyke.events.retis import lines
from fyke.events.retis.arrays import bools_of, indices_of
from fyke.events.retis.bad_event import BadEvent
from fyke.events.retis.exact import Converter, parse
from fyke.events.retis.fast import LEAST_EVENTS, FastReader, Found
from fyke.events.retis.lines import PAD, Block, Places
from fyke.events.retis.mapping import STARTUP
from fyke.events.retis.rest import Rest, merged
from fyke.events.retis.startup import RETIS_VERSION, facts_of
from fyke.events.retis.texts import COLUMN, PLACES, Texts
from fyke.events.retis.versions import fixes
from fyke.events.schema import ALWAYS, arrow_schema
from fyke.events.store import count_events

BATCH_ROWS = 50_000  # at most: a block of plausible events has some 14,000


class RetisPart:
    """One file. Raises InputError when it is no event file; `batches` raises it at the line of damage.

    columns: what is wanted of it; of other columns most values are left null. Damage is found in them, too.
    least: how many events of a shape make it worth learning (see `fast.py`); a test may have its own opinion.
    """

    format = RETIS_JSON
    complete = True  # such a file has no end marker

    def __init__(
        self,
        path: str,
        file: BinaryIO,
        columns: Collection[str] | None = None,
        *,
        least: int = LEAST_EVENTS,
    ) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.unknown_sections: Counter[str] = Counter()
        self.schema = arrow_schema()
        self._file = file
        self._line = 1
        self._events = 0
        self._series = 0
        self._begin: int | None = None  # where reading begins, when texts are kept
        try:
            first = parse(self._first_line())
            event = first[-1] if isinstance(first, list) and first else first
            is_sorted = isinstance(first, list)
            if not isinstance(event, dict) or not isinstance(event.get(STARTUP), dict):
                raise BadEvent("it doesn't begin with a startup event")
            version = event[STARTUP].get(RETIS_VERSION)
            if not isinstance(version, str):
                raise BadEvent("there is no Retis version in its startup event")
            self._converter = Converter(is_sorted, fixes(version))
            for fix in self._converter.fixes:
                fix.apply(event)
            self.facts = facts_of(event, "journey" if is_sorted else "time")
        except ValueError as error:
            why = printable(str(error)[:200])
            raise InputError(
                f"{path} is not an event file: {why}", "files of Retis 1.5 and later can be read"
            ) from error
        wanted = self.schema.names if columns is None else {*columns, *ALWAYS}
        self._fast = FastReader(self._converter, wanted, least)

    def keep_codes(self) -> None:
        """Change nothing: these files have no codes."""

    def keep_texts(self, columns: Collection[str]) -> Texts | None:
        """See `EventSource`."""
        if self._converter.sorted or self._converter.fixes:
            return None
        texts = Texts.of(self.path, self._file)
        if texts is not None:
            self.schema = self.schema.append(pa.field(COLUMN, PLACES))
            self._fast.leave({*columns, *ALWAYS})
            self._begin = self._file.tell()
        return texts

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the events, batch by batch, in the columns of `schema`."""
        try:
            for block in lines.blocks(self._file, self._line):
                self._line = block.first + len(block.starts)
                for batch in self._block(block):
                    self._events += count_events(batch)
                    yield batch
        except lines.LongLine as error:
            self._damaged(self._line, error)

    def _first_line(self) -> bytes:
        """Return the first line that isn't blank. Raises ValueError when there is none."""
        while line := self._file.readline(lines.MAX_LINE + 1):
            self._line += 1
            if len(line) > lines.MAX_LINE:
                raise lines.LongLine("the line is longer than any event")
            if not line.isspace():
                return line
        raise BadEvent("it doesn't begin with a startup event")

    def _block(self, block: Block) -> Iterator[pa.RecordBatch]:
        found = self._fast.read(block)
        while True:
            rest = Rest(block, found.lines, self._converter, arrow_schema(), self._series)
            series = self._series + np.cumsum(rest.has_rows) - 1
            batch, right = found.batch(arrow_schema(), series)
            if right.all():
                break
            found.refuse(~right)
        self._series += int(rest.has_rows.sum())
        self.unknown_sections.update(rest.unknown())
        batch, row_lines = merged(batch, found.row_lines(), rest)
        if self._begin is not None:
            batch = batch.append_column(
                self.schema.field(COLUMN), _places(block, found, row_lines, self._begin)
            )
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)
        if rest.problem is not None:
            self._damaged(block.first + rest.end, rest.problem)

    def _damaged(self, line: int, why: BaseException) -> NoReturn:
        reason = printable(str(why)[:200])
        raise InputError(
            f"{self.path} is damaged at line {line}, after {self._events} events: {reason}",
            "what comes before was read; a collection that was killed, or a full disk, can leave such a file",
        ) from why


def _places(block: Block, found: Found, lines: Places, begin: int) -> pa.StructArray:
    """Return where the rows' events are in the file; null of those that are not left there.

    lines: of the rows. begin: where reading of the file began.
    """
    left = found.lines[lines] if found.are_left else np.zeros(len(lines), np.bool_)
    starts = block.starts[lines] + (begin + block.offset - len(PAD))
    lengths = (block.ends[lines] - block.starts[lines]).astype(np.int32)
    columns = [indices_of(starts), pa.array(lengths), bools_of(found.insides()[lines])]
    return pa.StructArray.from_arrays(columns, fields=list(PLACES), mask=bools_of(~left))
