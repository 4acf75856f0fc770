"""fyke query: SQL over a recording."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fyke.cli.options import FILTERS, RECORDINGS, Option, add_options
from fyke.errors import UsageError
from fyke.events import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.journeys.views import Views

SUMMARY = "Ask a recording with SQL"
MEMORY = Option(
    ("--memory",),
    "what may be held in memory before temporary files are used (default: half of the machine's)",
    {"metavar": "SIZE"},
)
MOST_SQL_BYTES = 1 << 20
OPTIONS = (
    Option(
        ("sql",),
        "a query over the views events, journeys, hops, drops, connections, losses "
        "(without one: a prompt, or what stdin holds)",
        {"nargs": "?", "metavar": "SQL"},
    ),
    RECORDINGS,
    *FILTERS,
    Option(
        ("--format",),
        "form of the result: table, csv, json, parquet, arrow (default: table on a terminal, else csv; "
        "of a file by its name)",
        {"choices": ("table", "csv", "json", "parquet", "arrow")},
    ),
    Option(("-o", "--out"), "write the result to a file", {"metavar": "FILE"}),
    MEMORY,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Answer the query, or each that is typed; of a damaged file what is readable, then raise InputError."""
    from fyke.cli.viewing import open_views, refuse_output_over_input
    from fyke.events.output import STDOUT
    from fyke.events.reader import STDIN
    from fyke.export.tables import output_format

    sql, paths = args.sql, args.input
    if sql is not None and not paths and _is_input(sql):
        sql, paths = None, [sql]
    if args.out == STDOUT:
        args.out = None
    if args.out is not None:
        output_format(args.out, args.format)
    if sql is None and STDIN in paths:
        raise UsageError("standard input can't be the SQL and the recording", "give the SQL as an argument")
    prompt = sql is None and sys.stdin is not None and sys.stdin.isatty()
    with open_views(args, paths) as views:
        if sql is None and not prompt:
            sql = _from_stdin()
        refuse_output_over_input(args.out, views.rows)
        if prompt:
            from fyke.cli.query_prompt import Prompt

            Prompt(views.names, lambda text: _answer_all(args, views, text)).run()
        else:
            _answer_all(args, views, sql)
    return 0


def _answer_all(args: argparse.Namespace, views: Views, sql: str) -> None:
    statements = views.statements(sql)
    if args.out is not None and len(statements) > 1:
        raise UsageError(f"there are {len(statements)} statements for one file", "give one at a time")
    for number, statement in enumerate(statements):
        _answer(args, views, statement, first=not number)


def _answer(args: argparse.Namespace, views: Views, sql: str, *, first: bool) -> None:
    """Run one statement and write what it gives."""
    from fyke.export.new_file import new_file
    from fyke.export.tables import output_format, refuse_terminal, write_table

    if args.out is not None:
        schema, batches = views.run(sql)
        with new_file(args.out) as stream:
            write_table(schema, batches, stream, output_format(args.out, args.format))
        return
    kind = args.format or ("table" if sys.stdout.isatty() else "csv")
    refuse_terminal(kind, sys.stdout)
    schema, batches = views.run(sql)
    with _shown_alone(batches) as batches:
        sys.stdout.flush()
        if kind == "table" and not first:
            sys.stdout.buffer.write(b"\n")
        write_table(schema, batches, sys.stdout.buffer, kind)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _shown_alone(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Wait for the first batch of a result; from then on a terminal doesn't show how far reading is."""
    begun = list(itertools.islice(batches, 1))
    if not sys.stdout.isatty():
        yield itertools.chain(begun, batches)
        return
    progress.watcher.hush()
    try:
        yield itertools.chain(begun, batches)
    finally:
        progress.watcher.allow()


def _is_input(word: str) -> bool:
    """Say whether the only argument is a file rather than SQL."""
    if word == "-" or os.path.exists(word):
        return True
    return not set(word) & set(" \n\t;(") and ("." in word or "/" in word)  # such SQL says nothing


def _from_stdin() -> str:
    """Return the SQL on stdin. Raises UsageError when there is none."""
    text = sys.stdin.buffer.read(MOST_SQL_BYTES + 1) if sys.stdin is not None else b""
    if len(text) > MOST_SQL_BYTES:
        raise UsageError(f"there are more than {MOST_SQL_BYTES >> 20} MiB of SQL on stdin", "give less")
    if not text.strip():
        raise UsageError("there is no SQL", "fyke query 'SELECT symbol, count(*) FROM events GROUP BY 1'")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the SQL on stdin is no UTF-8 at byte {error.start}", "is it a text file?"
        ) from error
