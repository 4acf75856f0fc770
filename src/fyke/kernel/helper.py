"""Processes of ours that do what this one can't: end with a library that ends them, outlive it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

_BOOT = """
import sys
from importlib import import_module
sys.path.append(sys.argv[1])
getattr(import_module(sys.argv[2]), sys.argv[3])(*sys.argv[4:])
"""


def start(module: str, function: str, *arguments: str, stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that calls a function of fyke with texts, in the namespaces of this thread.

    Only Python's own library is there besides fyke: no site, no file of the current directory. Ctrl-C in a
    terminal isn't for it. Raises OSError.
    """
    packages = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, packages, module, function, *arguments],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
