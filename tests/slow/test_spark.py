"""The SQL of the views gives the same rows on Spark as on DuckDB: Retis' recordings, a made one, a fleet."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import generated
import pyarrow as pa
import pytest
import spark

from fyke.journeys.dialects import as_written, translated, views_sql
from fyke.journeys.named_sql import statements
from fyke.journeys.views import Views
from fyke.journeys.views_columns import VIEWS
from fyke.journeys.views_rows import Rows, recorded_schema

CORPUS = sorted((spark.ROOT / "tests/data/retis").glob("*/events.json"))
PAGE, BUCKET = spark.ROOT / "docs/views.md", "s3a://recordings"
EVENTS, SEED = 10_000, 9
NAMES = [path.parent.name for path in CORPUS] + ["generated", "fleet"]

Answers = dict[str, list[Any]]

spark.check_java()  # said once, before anything is worked out


def queries() -> dict[str, str]:
    """Return what is asked: all of each view, and what the commands ask, as written for DuckDB."""
    asked = {view.name: f"SELECT * FROM {view.name}" for view in VIEWS}
    for file in ("latency.sql", "diff.sql"):
        for name, sql in statements(file).items():
            asked[f"{file} {name}"] = sql.replace("{limit}", "20")
    return asked


ASKED = queries()


def for_spark() -> dict[str, str]:
    return {name: translated(sql, "spark")[0] for name, sql in ASKED.items()}


def plain(value: Any) -> Any:
    """Return a value as spark_rows.py writes it."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def unordered(rows: list[Any]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def alike(there: Any, here: Any) -> bool:
    """Say whether values are the same: but for the last digit of a percentile, which is interpolated."""
    if isinstance(here, float):
        return isinstance(there, float) and math.isclose(there, here, rel_tol=1e-12)
    return bool(there == here)


def example() -> str:
    """Return the Python of the page, which takes recordings out of BUCKET."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert BUCKET in code
    return str(code)


def write_parquet(recording: Path, parquet: Path) -> None:
    """Write the table as the page says."""
    sql = "SELECT * FROM recorded"
    assert f"fyke query '{sql}' web1.arrow -o web1.parquet\n" in PAGE.read_text()
    command = [sys.executable, "-m", "fyke", "query", sql, str(recording), "-o", str(parquet)]
    subprocess.run(
        command, check=True, timeout=300, env={**os.environ, "PYTHONPATH": str(spark.ROOT / "src")}
    )


def recorded(path: Path) -> pa.Table:
    rows = Rows(str(path))
    table = pa.Table.from_batches(rows.batches(), rows.schema)
    rows.close()
    return table


def fleet_table(tables: list[tuple[str, pa.Table]]) -> pa.Table:
    """Return recordings, each with where it is, as one, as the example does: numbers begin anew in each."""
    schema = recorded_schema()
    rows = []
    for n, (path, table) in enumerate(sorted(tables, key=lambda pair: pair[0])):
        for row in table.to_pylist():
            row["file"] = f"file://{path}"
            row["number"] += n * 10**12
            if row["journey"] is not None:
                row["journey"]["id"] += n * 10**12
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema)


def duckdb_of_table(table: pa.Table) -> Answers:
    with duckdb.connect() as connection:
        connection.register("recorded", table)
        connection.execute(as_written())
        return {name: plain(connection.sql(sql).to_arrow_table().to_pylist()) for name, sql in ASKED.items()}


def duckdb_of_file(path: Path) -> Answers:
    with Views(Rows(str(path))) as views:
        return {name: plain(views.table(sql).to_pylist()) for name, sql in ASKED.items()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Answers, Answers]]:
    """What both engines say, DuckDB first, of each recording; Spark is started once for all."""
    folder = tmp_path_factory.mktemp("spark")
    (folder / "parquet").mkdir()
    paths = {path.parent.name: path for path in CORPUS}
    paths["generated"] = generated.record(folder / "generated.arrow", EVENTS, SEED)
    jobs, ours, tables = [], [], []
    for name, path in paths.items():
        parquet = folder / "parquet" / f"{name}.parquet"
        write_parquet(path, parquet)
        jobs.append({"parquet": str(parquet), "statements": views_sql("spark"), "queries": for_spark()})
        ours.append(duckdb_of_file(path))
        tables.append((str(parquet), recorded(path)))
    (folder / "fleet.py").write_text(example().replace(BUCKET, str(folder / "parquet")))
    jobs.append({"script": str(folder / "fleet.py"), "queries": for_spark()})
    ours.append(duckdb_of_table(fleet_table(tables)))
    return dict(zip(NAMES, zip(ours, spark.rows(jobs, folder), strict=True), strict=True))


@pytest.mark.parametrize("query", ASKED)
@pytest.mark.parametrize("name", NAMES)
def test_spark_says_what_duckdb_says(
    answers: dict[str, tuple[Answers, Answers]], name: str, query: str
) -> None:
    here, there = (side[query] for side in answers[name])
    if query in {view.name for view in VIEWS}:
        assert unordered(there) == unordered(here)
    else:
        assert [list(row) for row in there] == [list(row) for row in here]
        pairs = zip(there, here, strict=True)  # these are ordered
        differ = [(t, h) for t, h in pairs if not all(alike(t[name], h[name]) for name in h)]
        assert not differ


def test_what_is_compared_has_something_of_everything(answers: dict[str, tuple[Answers, Answers]]) -> None:
    here, _ = answers["generated"]
    assert len(here["events"]) == EVENTS
    assert all(len(rows) > 1 for query, rows in here.items() if query != "diff.sql lost")
    assert any(row["start_ns"] >= 2**63 for row in here["journeys"])
    assert any(row["start_ns"] < 2**63 for row in here["journeys"])
    assert any(
        row["packet_id"] and row["packet_id"].endswith("ffff8880", -16, -8) for row in here["journeys"]
    )
    for column in ("parent_id", "drop_reason", "drop_symbol", "devices", "netns", "tuple"):
        told = [row[column] for row in here["journeys"]]
        assert None in told
        assert any(text is not None for text in told)
