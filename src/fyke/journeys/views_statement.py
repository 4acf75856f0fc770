"""Whether a statement only reads, before DuckDB runs it."""

from __future__ import annotations

import contextlib

import duckdb

from fyke.errors import UsageError

EXAMPLE = "SELECT symbol, count(*) FROM events GROUP BY symbol"
# What DuckDB calls a PIVOT without its values: it makes a type of them first, then it reads.
_PIVOT = "MULTI"


def reading_kind(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the kind of the one statement that the text holds: SELECT, or EXPLAIN of one.

    Raises UsageError for all else, and DuckDB's errors where it is no SQL.
    """
    statements = connection.extract_statements(sql)
    if not statements:
        raise UsageError("there is no SQL statement", f"for example: {EXAMPLE}")
    if len(statements) > 1:
        raise UsageError(f"there are {len(statements)} statements", "give one at a time")
    kind = explained = statements[0].type.name
    if kind == "EXPLAIN":
        explained = _explained_kind(connection, statements[0].query)
    if explained == _PIVOT:
        raise UsageError(
            "PIVOT is not possible without its values", "name them: PIVOT ... ON reason IN ('NO_SOCKET') ..."
        )
    if explained != "SELECT":
        raise UsageError(
            f"{explained.replace('_', ' ')} is not possible: recordings are only read", "begin with SELECT"
        )
    return str(kind)


def _explained_kind(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the kind of what EXPLAIN is of (EXPLAIN ANALYZE runs it): the first end that is a statement."""
    text = sql.encode()
    places = [place for place, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    for place in places[1:]:
        rest = text[place:].decode()
        if rest[:7].upper() == "ANALYZE":
            continue
        with contextlib.suppress(duckdb.Error):  # options, in parentheses
            return str(connection.extract_statements(rest)[0].type.name)
    return "EXPLAIN"
