"""Writes docs/columns.md from the schema: `python -m fyke.events.docs docs/columns.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from fyke.events.column import Column, Section
from fyke.events.schema import FACTS_KEY, HEADER, sections

_INTRODUCTION = f"""\
# The columns of an event file

<!-- Generated from the schema by `python -m fyke.events.docs docs/columns.md`. -->

An event file is an [Arrow IPC stream](https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format):
pyarrow, pandas, polars, DuckDB and Spark open it as it is. Each row is one event. A section is a struct
column that is null where an event has no such data, so `dev.name` is the column `name` inside the column
`dev`. Every file has all columns, in this order; a file of a later version may have more.

Strings are by number, as dictionary columns (16 bits, new dictionaries replace old ones): tools show them as
strings, some call them categories. Files of earlier versions have them as they are; both are read.

The facts of the collection (command line, machine, clock, probes) are JSON in the schema's metadata, under
the key `{FACTS_KEY.decode()}`. A timestamp plus the fact `clock_monotonic_offset_ns` is nanoseconds since the
Unix epoch.

```python
import pyarrow as pa, polars as pl, duckdb

table = pa.ipc.open_stream("fyke.arrow").read_all()
frame = pl.read_ipc_stream("fyke.arrow")
events = pa.ipc.open_stream("fyke.arrow")  # a reader DuckDB can query by its name
duckdb.sql("SELECT dev.name, count(*) FROM events GROUP BY ALL")
```
"""


def columns_page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION, _part("Of every row", "Columns outside any section.", HEADER, "")]
    parts.extend(_part(f"`{s.name}`", _note(s), s.columns, f"{s.name}.") for s in sections())
    return "\n".join(parts)


def _note(section: Section) -> str:
    owner = _collector(section)
    return f"{section.doc} Collector: {owner}." if owner else section.doc


def _collector(section: Section) -> str:
    from fyke.collectors import COLLECTORS

    return next((f"`{c.name}`" for c in COLLECTORS if section in c.sections), "")


def _part(title: str, doc: str, columns: tuple[Column, ...], prefix: str) -> str:
    return "\n".join([f"## {title}", "", doc, "", *table_rows(columns, prefix), ""])


def table_rows(columns: tuple[Column, ...], prefix: str) -> list[str]:
    """Return the lines of a Markdown table that describes columns."""
    lines = ["| column | type | unit | what it is |", "|---|---|---|---|"]
    for column in columns:
        name = f"`{prefix}{column.name}`"
        lines.append(f"| {name} | {_cell(column.type)} | {column.unit} | {_cell(column.doc)} |")
    return lines


def _cell(text: str) -> str:
    r"""Return text for a table cell: Markdown would take `|` for its end and `\\` for one backslash."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(columns_page(), encoding="utf-8")
