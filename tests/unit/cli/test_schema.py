"""`fyke schema`."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from cli_samples import ROOT, fyke

from fyke.cli.main import main
from fyke.events.json_schema import event_schema
from fyke.journeys.dialects import DIALECTS, views_script


def test_the_schema_is_printed_to_be_read() -> None:
    done = fyke("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == event_schema()
    assert done.stdout.startswith('{\n  "$schema": ')


def test_the_views_are_the_page_of_the_documentation() -> None:
    done = fyke("schema", "--views")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "docs" / "views.md").read_text()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_sql_of_the_views_is_a_script(dialect: str) -> None:
    done = fyke("schema", "--views", "--sql", dialect)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == views_script(dialect)


def test_the_script_for_duckdb_runs_there(tmp_path: Path) -> None:
    table = tmp_path / "a.parquet"
    demo = str(ROOT / "tools" / "demo.arrow")
    assert main(["query", "SELECT * FROM recorded", demo, "-o", str(table)]) == 0
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW recorded AS FROM '{table}'")
        connection.execute(views_script("duckdb"))
        drops = connection.sql("SELECT reason, count(*) FROM drops GROUP BY ALL ORDER BY ALL").fetchall()
    assert drops == [("NOT_SPECIFIED", 1), ("NO_SOCKET", 2)]


def test_wrong_use() -> None:
    done = fyke("schema", "extra")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    done = fyke("schema", "--sql", "oracle")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'oracle'" in done.stderr
