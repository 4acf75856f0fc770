"""Compiles the BPF sources with clang into one object for each architecture, stripped to what loading needs.

`make bpf` runs this file, and so does the build of a wheel, where fyke itself isn't there yet: it imports
nothing of it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["ARCHITECTURES", "BuildError", "build", "find_tools", "object_path", "sources"]

ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64"}
"""The machines (as `uname -m` says) that get an object, and what libbpf's headers call them."""

_HERE = Path(__file__).resolve().parent
_PACKAGE = _HERE.parent
_MAIN = _HERE / "fyke.bpf.c"


class BuildError(Exception):
    """An object can't be made: a tool is missing, or clang refused a source. The text is for the user."""


def object_path(machine: str) -> Path:
    """Where the object of a machine (`x86_64`, `aarch64`) is."""
    return _HERE / "objects" / f"fyke.{machine}.bpf.o"


def sources() -> list[Path]:
    """Every file that an object is made of, this one included, since it holds the flags."""
    return [Path(__file__).resolve(), *sorted(_PACKAGE.rglob("*.bpf.[ch]"))]


def find_tools() -> tuple[str, str]:
    """Return clang and llvm-strip, by $CLANG and $LLVM_STRIP or on PATH. BuildError says what to install."""
    clang = shutil.which(os.environ.get("CLANG", "clang"))
    if clang is None:
        raise BuildError(
            "clang isn't installed, and fyke's BPF programs are compiled with it "
            "(Debian and Ubuntu: apt install clang llvm libbpf-dev)"
        )
    # Debian's versioned packages (clang-19) have no plain names, but the tool is beside the real clang.
    beside = Path(clang).resolve().with_name("llvm-strip")
    strip = shutil.which(os.environ.get("LLVM_STRIP", "llvm-strip")) or (
        str(beside) if beside.exists() else None
    )
    if strip is None:
        raise BuildError(
            "llvm-strip isn't installed; it comes with clang (Debian and Ubuntu: apt install llvm)"
        )
    return clang, strip


def build(
    *,
    force: bool = False,
    announce: Callable[[str], None] = lambda line: None,
    run: Callable[[list[str]], None] | None = None,
) -> list[Path]:
    """Make the objects that are older than a source (all of them with force) and return their paths.

    announce gets one short line per object made. BuildError when clang is missing or refuses.
    """
    newest = max(path.stat().st_mtime_ns for path in sources())
    made = []
    for machine, target in ARCHITECTURES.items():
        out = object_path(machine)
        if not force and out.exists() and out.stat().st_mtime_ns > newest:
            continue
        clang, strip = find_tools()
        announce(f"  BPF     {out.name}")
        _compile([clang, *_flags(target)], [strip, "-g"], out, run or _run)
        made.append(out)
    return made


def _compile(clang: list[str], strip: list[str], out: Path, run: Callable[[list[str]], None]) -> None:
    out.parent.mkdir(exist_ok=True)
    # Beside the object, then renamed: whoever loads it meanwhile finds the old or the new one, never a half.
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        run([*clang, "-c", str(_MAIN), "-o", str(half)])
        # Without DWARF, which nothing reads, an object is a quarter smaller; BTF stays.
        run([*strip, str(half)])
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


def _flags(target: str) -> list[str]:
    return [
        *("-target", "bpf", "-g", "-O2", "-mcpu=v3", f"-D__TARGET_ARCH_{target}"),
        *("-I", str(_HERE), "-I", str(_PACKAGE), *_system_includes()),
        *("-Wall", "-Werror"),
    ]


def _system_includes() -> list[str]:
    """Debian keeps asm/ in a folder of the host's architecture, where `-target bpf` doesn't look."""
    folders = sorted(Path("/usr/include").glob("*-linux-gnu"))
    mine = [folder for folder in folders if folder.name.startswith(os.uname().machine)]
    return [part for folder in mine or folders for part in ("-I", str(folder))]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    if done.returncode:
        raise BuildError(
            f"{done.stderr.strip()}\n{Path(command[0]).name} failed; the command was: {shlex.join(command)}"
        )


def _run_verbosely(command: list[str]) -> None:
    print(shlex.join(command), flush=True)
    _run(command)


def main() -> int:
    """Build as `make bpf` does; V=1 in the environment shows the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--force", action="store_true", help="also make what is up to date")
    options = parser.parse_args()
    verbose = os.environ.get("V", "0") not in ("", "0")
    try:
        build(
            force=options.force,
            announce=lambda line: None if verbose else print(line, flush=True),
            run=_run_verbosely if verbose else _run,
        )
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
