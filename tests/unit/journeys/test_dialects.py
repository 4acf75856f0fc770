"""The views in the SQL of other engines. On Spark itself they run in tests/slow."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot.errors import ErrorLevel

from fyke.errors import Unsupported, UsageError
from fyke.journeys.dialects import DIALECTS, as_written, translated, views_script, views_sql
from fyke.journeys.views import Views
from fyke.journeys.views_columns import CONNECTIONS, DROPS, EVENTS, HOPS, JOURNEYS, LOSSES, VIEWS
from fyke.journeys.views_rows import Rows

RECORDING = Path(__file__).parents[2] / "data" / "retis" / "nft-verdicts" / "events.json"
ORDER = (EVENTS, HOPS, JOURNEYS, DROPS, CONNECTIONS, LOSSES)  # in which views.sql has them
# What Spark has and DuckDB hasn't: digits of a number in another base.
CONV = "CREATE MACRO conv(digits, base, other) AS hex(CAST(digits AS UBIGINT))"


def back(sql: str) -> str:
    (statement,) = sqlglot.transpile(sql, read="spark", write="duckdb", unsupported_level=ErrorLevel.RAISE)
    return statement


def parsed(sql: str, dialect: str) -> list[Any]:
    return [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]


def rows_of(statements: list[str]) -> dict[str, list[Any]]:
    """Return the rows of each view, made by these statements in DuckDB."""
    rows = Rows(str(RECORDING))
    table = pa.Table.from_batches(rows.batches(), rows.schema)
    rows.close()
    with duckdb.connect() as connection:
        connection.register("recorded", table)
        connection.execute(CONV)
        for statement in statements:
            connection.execute(statement)
        return {v.name: _sorted(connection.sql(f"SELECT * FROM {v.name}").fetchall()) for v in VIEWS}


def _sorted(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=repr)


@pytest.fixture(scope="module")
def wanted() -> dict[str, list[Any]]:
    """The rows of each view as fyke itself has them."""
    with Views(Rows(str(RECORDING))) as views:
        tables = {view.name: views.table(f"SELECT * FROM {view.name}") for view in VIEWS}
    return {n: _sorted([tuple(row.values()) for row in t.to_pylist()]) for n, t in tables.items()}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rows_are_the_same_after_the_way_there_and_back(dialect: str, wanted: dict[str, list[Any]]) -> None:
    statements = views_sql(dialect)
    assert rows_of([back(sql) for sql in statements] if dialect == "spark" else statements) == wanted
    assert wanted["events"]


@pytest.mark.parametrize(("dialect", "how"), [("duckdb", ""), ("spark", "OR REPLACE TEMPORARY ")])
def test_there_is_a_statement_for_each_view(dialect: str, how: str) -> None:
    made = views_sql(dialect)
    assert [sql.partition(" AS ")[0] for sql in made] == [f"CREATE {how}VIEW {v.name}" for v in ORDER]
    assert all(len(sqlglot.parse(sql, read=dialect)) == 1 for sql in made)
    assert not any(sign in sql for sql in made for sign in ("--", "/*", ";", "\n"))
    assert not any("COLLECT_LIST" in sql for sql in made), "it has no order in Spark"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_script_for_people_says_the_same_in_lines(dialect: str) -> None:
    script = views_script(dialect)
    wanted = views_sql("spark") if dialect == "spark" else [as_written()]
    assert parsed(script, dialect) == [tree for sql in wanted for tree in parsed(sql, dialect)]
    assert script.startswith("-- The views of ")
    assert script.endswith(";\n")
    assert max(map(len, script.splitlines())) < 200


@pytest.mark.parametrize(
    ("sql", "there"),
    [
        ("SELECT hex(a)", "SELECT CONV(CAST(a AS STRING), 10, 16)"),
        ("SELECT lower(hex(a))", "SELECT LOWER(CONV(CAST(a AS STRING), 10, 16))"),
        ("SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY a)", "SELECT PERCENTILE(a, 0.9)"),
        (
            "SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY a) FILTER (WHERE b)",
            "SELECT PERCENTILE(a, 0.9) FILTER(WHERE b)",
        ),
        ("SELECT min_by(a, b)", "SELECT MIN_BY(a, b) FILTER(WHERE NOT a IS NULL)"),
        (
            "SELECT max_by(a, b) FILTER (WHERE c OR d)",
            "SELECT MAX_BY(a, b) FILTER(WHERE (c OR d) AND NOT a IS NULL)",
        ),
        ("SELECT a FROM b ORDER BY a", "SELECT a FROM b ORDER BY a NULLS LAST"),
        ("CREATE VIEW a AS SELECT '\\'", "CREATE OR REPLACE TEMPORARY VIEW a AS SELECT '\\\\'"),
    ],
)
def test_what_spark_does_otherwise(sql: str, there: str) -> None:
    assert translated(sql, "spark") == [there]


@pytest.mark.parametrize(
    ("sql", "dialect", "says"),
    [
        ("SELECT 1", "oracle", "the views aren't there for 'oracle'"),
        ("SELECT FROM WHERE (", "spark", "the SQL can't be written for spark: "),
        ("SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY a DESC)", "spark", "ascending order only"),
    ],
)
def test_errors_say_what_is_wrong(sql: str, dialect: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        translated(sql, dialect)
    assert says in raised.value.message
    assert "\n" not in raised.value.message
    assert "\x1b" not in raised.value.message


def test_without_sqlglot_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "sqlglot":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    assert views_script("duckdb").startswith("-- The views of a recording.")
    with pytest.raises(Unsupported, match="sqlglot can't be imported") as raised:
        views_script("spark")
    assert raised.value.hint == "install it: pip install 'fyke[sql]'"
