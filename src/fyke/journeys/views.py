"""The views of a recording (views.sql), run by DuckDB, which may read nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from fyke.errors import UsageError
from fyke.journeys.dialects import as_written
from fyke.journeys.spool import spool_folder
from fyke.journeys.views_columns import VIEWS
from fyke.journeys.views_errors import ERRORS, Worker, query_error
from fyke.journeys.views_rows import Recorded
from fyke.journeys.views_statement import EXAMPLE, reading_kind

CHUNK_ROWS = 16_384
LEAST_MEMORY_BYTES = 64 << 20
_NO_ACCESS: dict[str, Any] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a table's name is never a variable of this program
}


def default_memory_bytes() -> int:
    """Return what a query may hold in memory before it goes to disk: half of what the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class Views:
    """A recording to be queried: events, journeys, hops, drops, connections, losses.

    rows: of the recording, or of several as one; closed with the views. memory_bytes: what a query may hold
    before it goes to temporary files. A query reads lazily, and only the columns it needs.
    """

    def __init__(self, rows: Recorded, *, memory_bytes: int | None = None) -> None:
        self.rows = rows
        self._cleanup = contextlib.ExitStack()
        self._cleanup.callback(rows.close)
        try:
            folder = tempfile.TemporaryDirectory(prefix="fyke-query-", dir=spool_folder())
            self._cleanup.enter_context(folder)
            memory = default_memory_bytes() if memory_bytes is None else memory_bytes
            settings = {**_NO_ACCESS, "memory_limit": f"{memory}B", "temp_directory": folder.name}
            self._connection = duckdb.connect(config=settings)
            self._cleanup.callback(self._connection.close)
            # It writes one to standard output, among the results, where it takes its program for a prompt.
            self._connection.execute("SET enable_progress_bar = false")
            self._worker = Worker(self._connection)
            self._cleanup.callback(self._worker.close)
            rows.prepare(())
            self._connection.register("recorded", rows)
            self._connection.execute(as_written())
            self._connection.execute("SET lock_configuration = true")
            self._plans_tell = self._needed("SELECT cpu FROM recorded WHERE timestamp_ns > 1") == {
                "cpu",
                "timestamp_ns",
            }
        except BaseException:
            self._cleanup.close()
            raise

    def run(self, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Begin one statement; return the schema of its result, and the batches.

        Only one query can run at a time. Where the recording is damaged, the result is of what comes before:
        look at `rows.problem` afterwards. Raises UsageError for SQL that is wrong or does more than read,
        RunError when memory or disk don't suffice; so do the batches.
        """
        with self._explained():
            kind = reading_kind(self._connection, sql)
            needed = self._needed(sql) if self._plans_tell and kind == "SELECT" else None
            self._worker.do(lambda: self.rows.prepare(needed))
            result = self._worker.do(lambda: _arrow_reader(self._connection.sql(sql)))
            return result.schema, self._batches(result)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(view.name for view in VIEWS)

    def statements(self, sql: str) -> list[str]:
        """Return the statements of a text, at least one. Raises UsageError."""
        with self._explained():
            found = [statement.query for statement in self._connection.extract_statements(sql)]
        if not found:
            raise UsageError("there is no SQL statement", f"for example: {EXAMPLE}")
        return found

    def table(self, sql: str) -> pa.Table:
        """Return the whole result of one statement; see `run`."""
        schema, batches = self.run(sql)
        return pa.Table.from_batches(batches, schema=schema)

    def close(self) -> None:
        """Free memory and disk."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _batches(self, result: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with self._explained():
            while (batch := self._worker.do(lambda: next(result, None))) is not None:
                yield batch

    def _needed(self, sql: str) -> set[str] | None:
        """Return the columns of `recorded` that a query looks at, as its plan tells; None for all."""
        plan = self._connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1]
        known, needed = set(self.rows.schema.names), set[str]()
        for scan in _scans(json.loads(plan)):
            told = scan.get("Projections", [])
            for name in [told] if isinstance(told, str) else told:
                column = str(name).partition(".")[0].strip('"')
                if column not in known:
                    return None
                needed.add(column)
            needed |= known & set(re.findall(r"\w+", str(scan.get("Filters", ""))))
        return needed

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn DuckDB's errors into ours."""
        try:
            yield
        except ERRORS as error:
            if self.rows.failure is not None:  # it comes out of DuckDB as one of its own
                raise self.rows.failure from None
            raise query_error(error) from error


def _arrow_reader(result: duckdb.DuckDBPyRelation) -> pa.RecordBatchReader:
    # DuckDB 2 renamed it, and warns about the old name.
    read = getattr(result, "to_arrow_reader", None) or result.fetch_arrow_reader
    return read(CHUNK_ROWS)


def _scans(nodes: Any) -> Iterator[dict[str, Any]]:
    """Yield what a plan says of each reading of an Arrow stream."""
    for node in nodes:
        if "ARROW_SCAN" in node["name"]:
            yield node.get("extra_info", {})
        yield from _scans(node["children"])
