"""Runs in the environment that has PySpark: makes views over Parquet files, and writes what queries say.

usage: spark_rows.py JOBS RESULTS, both JSON. Of each job: `parquet`, a file to be the table `recorded`,
and `statements` to run over it; or `script`, a Python file that does all that; then `queries`, name -> SQL.
"""

from __future__ import annotations

import json
import runpy
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyspark.sql import Row, SparkSession


def plain(value: Any) -> Any:
    """Return a value of Spark's as JSON has it; numbers stay exact."""
    if isinstance(value, Row):
        return {name: plain(item) for name, item in value.asDict().items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, Decimal):
        if value != value.to_integral_value():
            raise TypeError(f"{value} should be whole")
        return int(value)
    return value


def done(spark: SparkSession, job: dict[str, Any]) -> dict[str, list[Any]]:
    if "script" in job:
        runpy.run_path(job["script"])
    else:
        spark.read.parquet(job["parquet"]).createOrReplaceTempView("recorded")
        for statement in job["statements"]:
            spark.sql(statement)
    return {name: plain(spark.sql(sql).collect()) for name, sql in job["queries"].items()}


def main() -> None:
    jobs, results = map(Path, sys.argv[1:])
    builder = SparkSession.builder.master("local[2]").appName("fyke")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
    }.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        told = [done(spark, job) for job in json.loads(jobs.read_text())]
    finally:
        spark.stop()
    results.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
