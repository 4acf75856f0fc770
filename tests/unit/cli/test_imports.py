"""pandas, YAML, and threads for matrices, are no business of the commands."""

import subprocess
import sys
from pathlib import Path

from cli_samples import ROOT, environment

DEMO = ROOT / "tools" / "demo.arrow"
CODE = f"""
import os, sys
from fyke.__main__ import entry
sys.argv = ["fyke", "print", {str(DEMO)!r}]
try:
    entry()
except SystemExit as end:
    assert not end.code, end.code
assert "pyarrow" in sys.modules
assert "pandas" not in sys.modules
assert "yaml" not in sys.modules, "only profiles need it"
tasks = "/proc/self/task"
assert not os.path.isdir(tasks) or len(os.listdir(tasks)) <= 2, "more than ours and pyarrow's"
import pyarrow
from fyke.cli.imports import users_environment
assert pyarrow.default_memory_pool().backend_name == "system"
assert not {"OPENBLAS_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL"} & users_environment().keys()
from fyke.cli.main import main
assert main(["python", "-i", {str(DEMO)!r}, "script.py"]) == 0
"""


def test_only_scripts_have_pandas_and_threads(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("__version__ = '0'")
    (tmp_path / "script.py").write_text(
        "import os, pandas; print('script has', pandas.__version__, os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    command = [sys.executable, "-c", CODE]
    path = f"{tmp_path}:{ROOT / 'src'}"
    env = environment(PYTHONPATH=path)
    for name in ("OPENBLAS_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL"):
        env.pop(name, None)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
    assert done.stderr == ""
    assert done.stdout.endswith("\nscript has 0 None\n")
