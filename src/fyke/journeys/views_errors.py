"""What DuckDB says went wrong, as one sentence with the place; and queries that Ctrl-C can stop."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb
import pyarrow as pa

from fyke.errors import FykeError, RunError, UsageError
from fyke.events.escape import printable
from fyke.journeys.spool import spool_folder
from fyke.journeys.views_columns import VIEWS

T = TypeVar("T")

# While a result is fetched, errors come through Arrow, which has its own kinds.
ERRORS = (duckdb.Error, pa.ArrowException, OSError)
_KIND = re.compile(r"([A-Za-z ]+) Error: ")
_LACKING = ("Out of Memory", "IO")
_PLACE = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)
_CANDIDATES = re.compile(r"^(?:Candidate (?:bindings|tables)|Did you mean)(.*)$", re.MULTILINE)
_MOST_NEAR = 40  # characters of the SQL that are quoted


class Worker:
    """Runs calls of one connection in a thread, so that Ctrl-C reaches this program and stops them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, "fyke-query")

    def do(self, call: Callable[[], T]) -> T:
        """Return what a call returns, or raise what it raises."""
        running = self._thread.submit(call)
        try:
            return running.result()
        except KeyboardInterrupt:
            self._connection.interrupt()
            running.exception()  # until it has stopped
            raise

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


def query_error(error: BaseException) -> FykeError:
    """Return what is wrong with a query, with the place in the SQL, and what may be meant."""
    text = str(error).strip()
    kind = _KIND.search(text)
    what = printable(text[kind.end() if kind else 0 :].partition("\n")[0].rstrip(".!"))
    if kind and kind[1].strip() in _LACKING:
        hint = f"allow it more with --memory, or free some space in {spool_folder()}, or set TMPDIR"
        return RunError(f"the query failed: {what}", hint)
    if found := _PLACE.search(text):
        number, line, blank = found.groups()
        near = line[max(len(blank) - len(f"LINE {number}: "), 0) :][:_MOST_NEAR].strip()
        what += f", in line {number} at '{printable(near)}'" if near else f", in line {number} at its end"
    candidates = re.findall(r'"([^"]+)"', "".join(_CANDIDATES.findall(text)))
    if candidates:
        return UsageError(what, f"did you mean {' or '.join(map(printable, candidates[:3]))}?")
    return UsageError(what, f"views: {', '.join(v.name for v in VIEWS)}; their columns: fyke schema --views")
