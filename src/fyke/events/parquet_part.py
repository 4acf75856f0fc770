"""One Parquet file of events, as `fyke convert` writes it, or any tool that keeps the columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fyke.errors import InputError
from fyke.events.conform import conform, conformed_schema
from fyke.events.escape import printable
from fyke.events.facts import Facts
from fyke.events.frames import MAX_BODY
from fyke.events.recognise import PARQUET
from fyke.events.schema import ALWAYS, FACTS_KEY
from fyke.events.store import count_events

_ROWS = 16_384
_MAX_FOOTER_TEXT, _MAX_FOOTER_ITEMS = 64 << 20, 1 << 20  # bytes, and elements of a list
# What pyarrow raises for bytes that aren't what they should be.
_GARBLED = (pa.ArrowException, ValueError, TypeError, LookupError, MemoryError, OverflowError, OSError)


class ParquetPart:
    """One file. Raises InputError when it is no event file; `batches` raises it at the place of damage.

    columns: what is wanted of it; other columns are left null.
    """

    format = PARQUET
    complete = True  # without its end it can't be read at all
    unknown_sections: Mapping[str, int] = MappingProxyType({})  # unknown columns are kept, not skipped

    def __init__(self, path: str, file: BinaryIO, columns: Collection[str] | None = None) -> None:
        self.path = path
        self.warnings: list[str] = []
        if not file.seekable():
            raise InputError(
                f"{path} is Parquet, which can't be read from a pipe", "write it to a file first"
            )
        limits = {
            "thrift_string_size_limit": _MAX_FOOTER_TEXT,
            "thrift_container_size_limit": _MAX_FOOTER_ITEMS,
        }
        try:
            self._file = pq.ParquetFile(file, **limits)
            stored = self._file.schema_arrow
            self.schema = conformed_schema(stored)
            self.facts = self._facts(stored)
        except _GARBLED as error:
            why = _reason(error)
            raise InputError(
                f"{path} is a Parquet file, but not of events: {why}",
                "a file that wasn't written to its end can't be read",
            ) from error
        self._columns = None if columns is None else [n for n in stored.names if n in {*columns, *ALWAYS}]

    def keep_codes(self) -> None:
        """Change nothing: these files have no codes."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows with the columns of `schema`."""
        events = 0
        metadata = self._file.metadata
        for group in range(metadata.num_row_groups):
            try:
                if not 0 <= metadata.row_group(group).total_byte_size <= MAX_BODY:
                    raise ValueError("it claims to be larger than any")
                rows = self._file.iter_batches(
                    _ROWS, row_groups=[group], columns=self._columns, use_threads=False
                )
                for batch in rows:
                    batch.validate(full=True)
                    batch = conform(batch, self.schema)
                    yield batch
                    events += count_events(batch)
            except _GARBLED as error:
                why = _reason(error)
                raise InputError(
                    f"{self.path} is damaged in row group {group}, after {events} events: {why}",
                    "what comes before was read",
                ) from error

    def _facts(self, stored: pa.Schema) -> Facts:
        found = (stored.metadata or {}).get(FACTS_KEY)
        if found is None:
            self.warnings.append(
                f"{self.path} holds no facts about its collection; another tool has written it"
            )
            return Facts()
        return Facts.from_json(found)


def _reason(error: BaseException) -> str:
    """Return the first sentence of an error of pyarrow."""
    first = str(error).partition("\n")[0].partition(". ")[0]
    return printable(first[:200].rstrip("."))
