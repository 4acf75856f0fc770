"""PySpark in an environment of its own, kept in the user's cache: half a gigabyte that nothing else needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ("pyspark==4.3.0", f"sqlglot=={version('sqlglot')}")
LEAST_JAVA = 17
SECONDS = 1200


def java() -> str | None:
    """Return why Spark can't run here, None if it can."""
    if shutil.which("java") is None:
        return "no java"
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    digits = told.partition('version "')[2].partition(".")[0].strip('"\n')
    if not digits.isdigit() or int(digits) < LEAST_JAVA:
        return f"java is older than {LEAST_JAVA}: {told.partition(chr(10))[0]}"
    return None


def python() -> Path:
    """Return the interpreter of the environment, made anew where what it should hold has changed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(base) / "fyke" / "spark"
    made_from = json.dumps([sys.version, *REQUIREMENTS])
    marker = home / "made-from"
    if not marker.exists() or marker.read_text() != made_from:
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        _run([str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--use-pep517", *REQUIREMENTS])
        marker.write_text(made_from)
    return home / "bin/python"


def rows(jobs: list[dict[str, Any]], folder: Path) -> list[dict[str, list[Any]]]:
    """Return what the queries of each job say (spark_rows.py), all in one start of Spark."""
    given, told = folder / "jobs.json", folder / "results.json"
    given.write_text(json.dumps(jobs))
    _run([str(python()), str(Path(__file__).with_name("spark_rows.py")), str(given), str(told)])
    result: list[dict[str, list[Any]]] = json.loads(told.read_text())
    return result


def _run(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SPARK_LOCAL_IP": "127.0.0.1"}
    environment["PYSPARK_PYTHON"] = command[0]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
