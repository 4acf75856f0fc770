"""PySpark in an environment of its own, kept in the user's cache: half a gigabyte that nothing else needs."""

from __future__ import annotations

import json
import os
import re
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


def check_java() -> None:
    """Raise RuntimeError where Java is missing or too old for Spark."""
    if shutil.which("java") is None:
        raise RuntimeError(f"Spark needs Java {LEAST_JAVA}: there is none")
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    number = re.search(r'version "(\d+)', told)
    if number is None or int(number[1]) < LEAST_JAVA:
        raise RuntimeError(f"Spark needs Java {LEAST_JAVA} or later: {told.partition(chr(10))[0]}")


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
