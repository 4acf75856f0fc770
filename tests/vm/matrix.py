"""Runs the live tests of tests/host in the kernels of kernels.toml, two guests at a time.

usage: matrix.py [KERNEL...] [-k EXPRESSION] [--update-skips]

It ends in the line `N passed, N failed`. A guest that doesn't end its tests counts as a failure, and so does
a test whose skip isn't the expected one. What each guest left is in build/vm/KERNEL.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import guest
import openvswitch
from kernels import FetchError, Kernel, fetch, matrix
from results import (
    Report,
    ran_into_old_breakpoint,
    read_expected,
    read_report,
    skip_surprises,
    skipped_everywhere,
    write_expected,
)
from userland import SITE, userland

_CHECKOUT = Path(__file__).resolve().parents[2]
_BUILD = _CHECKOUT / "build"
_TEST_SECONDS = 240
"""For one test in an emulated kernel, where a second of the host's can be ten."""

_COMPLAINT = re.compile(r"WARNING: CPU|kernel BUG at|Oops:|BUG: (unable|KASAN|scheduling)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kernel's run came to. broken: why there is no whole report, empty when there is."""

    report: Report
    broken: str
    surprises: list[str]

    @property
    def failures(self) -> int:
        return len(self.report.failed) + len(self.surprises) + bool(self.broken)


def main() -> int:
    """Run the kernels asked for, or all. Exit code 1 when something failed, 2 for an unknown kernel."""
    known = {kernel.name: kernel for kernel in (*matrix(), *matrix("arm64"))}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(known)}; without: all of amd64"
    )
    parser.add_argument("-k", dest="expression", default="", help="pytest's, to run some of the tests")
    parser.add_argument(
        "--update-skips", action="store_true", help="write down the skips as the expected ones"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.kernels if name not in known]:
        print(f"error: no kernel {', '.join(unknown)} in kernels.toml: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.kernels] or matrix()
    _BUILD.mkdir(exist_ok=True)
    if not _build_openvswitch():
        return 1
    with (_BUILD / "vm.lock").open("w") as lock:
        _wait_for(lock)
        outcomes = _run_all(chosen, options.expression, update=options.update_skips)
    everywhere = _skipped_everywhere(outcomes) if chosen == matrix() and not options.expression else []
    for name in everywhere:
        print(f"  FAIL    {name} is skipped on every kernel: nobody runs it", flush=True)
    passed = sum(len(outcome.report.passed) for outcome in outcomes)
    failed = sum(outcome.failures for outcome in outcomes) + len(everywhere)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _build_openvswitch() -> bool:
    try:
        openvswitch.build()
    except FetchError as error:
        print(f"error: Open vSwitch can't be built: {error}", file=sys.stderr)
        return False
    return True


def _wait_for(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("  VM      waiting for another run in this checkout to end", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _run_all(chosen: list[Kernel], expression: str, *, update: bool) -> list[Outcome]:
    copies = _copy_sources()
    # One guest is one Python most of the time, so that two share two cores; more would wait for each other.
    # Those that take longest begin.
    ordered = sorted(chosen, key=_is_end, reverse=True)
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda kernel: _run(kernel, copies, expression, update=update), ordered))


def _copy_sources() -> dict[Path, Path]:
    """Copy what is tested, so that all guests test the same though somebody goes on editing.

    It also holds what Python compiles, which a guest would else do again, since it can't write it down.
    """
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(_CHECKOUT / "src")], check=False)
    shutil.rmtree(_BUILD / "vm", ignore_errors=True)
    copies = {_CHECKOUT / name: _BUILD / "vm" / "copy" / name for name in ("src", "tests")}
    for folder, copy in copies.items():
        shutil.copytree(folder, copy)
    return copies


def _run(kernel: Kernel, copies: dict[Path, Path], expression: str, *, update: bool) -> Outcome:
    results = _BUILD / "vm" / kernel.name
    native = kernel.architecture == "amd64"
    try:
        installed = fetch(kernel)
        root = Path("/") if native else userland(kernel.architecture)
    except FetchError as error:
        _say(kernel, f"can't be fetched: {error}")
        return Outcome(Report(), str(error), [])
    _say(kernel, f"Linux {installed.release}")
    command = [
        *(
            sys.executable if native else "python3",
            "-m",
            "pytest",
            "-v",
            "--color=no",
            "--tb=short",
            "--durations=12",
            "-m",
            _marks(kernel),
        ),
        # Neither could write down what it remembers.
        *("-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
        *("--timeout", str(_TEST_SECONDS), "--junit-xml", "/run/results/junit.xml", *kernel.tests),
        *(("-k", expression) if expression else ()),
    ]
    path = "" if native else f"export PYTHONPATH=src:{SITE}; "
    script = f"{path}exec {shlex.join(command)}"
    start = partial(
        guest.run,
        installed,
        script,
        results,
        copies=copies,
        minutes=kernel.minutes,
        root=root,
        in_turn=kernel.in_turn,
    )
    run = start()
    if run.why and _is_emulators(run, results):
        _say(kernel, f"{run.why}, and nothing of ours did that: it is booted once more")
        run = start()
    outcome = _judge(kernel, run, results / "junit.xml", whole=not expression, update=update)
    report = outcome.report
    _say(
        kernel,
        f"{len(report.passed)} passed, {outcome.failures} failed, {len(report.skipped)} skipped"
        f" in {run.seconds:.0f} s ({run.boot_seconds:.0f} s to boot)",
    )
    return outcome


def _is_emulators(run: guest.Run, results: Path) -> bool:
    """Say whether a guest went down before anything of ours ran, or of a fault that no kernel has."""
    console = (results / "console.log").read_text(errors="replace")
    return run.why == guest.NOT_UP or ran_into_old_breakpoint(console)


def _is_end(kernel: Kernel) -> bool:
    """Say whether it is the oldest or the newest of the matrix."""
    known = [row.name for row in matrix(kernel.architecture)]
    return kernel.name in (known[0], known[-1])


def _marks(kernel: Kernel) -> str:
    """Return which tests are for this kernel, as pytest's -m has it."""
    return "not host_only" if _is_end(kernel) else "not host_only and not ends_only"


def _judge(kernel: Kernel, run: guest.Run, junit: Path, *, whole: bool, update: bool) -> Outcome:
    report = Report()
    broken = run.why
    if not broken:
        try:
            report = read_report(junit)
        except (OSError, SyntaxError) as error:
            broken = f"left no report: {error}"
        else:
            # 0: all passed, 1: some failed. Anything else, such as no test at all, isn't in the report.
            if run.exit_code not in (0, 1) or not report.all:
                broken = f"pytest ended with {run.exit_code}"
            elif complaints := _complaints(junit.with_name("dmesg")):
                broken = f"the kernel complained: {complaints[0]}"
    if update and whole and not broken:
        write_expected(_expected(kernel), report)
    surprises = [] if broken else skip_surprises(report, read_expected(_expected(kernel)), whole=whole)
    if broken or report.failed:
        shown = "\n".join(f"    {line}" for line in run.last_lines)
        _say(
            kernel, f"{broken or 'tests failed'}; its last lines (all: {junit.parent}/console.log):\n{shown}"
        )
    for line in surprises:
        _say(kernel, line)
    return Outcome(report, broken, surprises)


def _complaints(dmesg: Path) -> list[str]:
    """Return the lines in which the kernel reports an error of its own; what fyke loads could provoke one."""
    lines = dmesg.read_text(errors="replace").splitlines() if dmesg.exists() else []
    return [line for line in lines if _COMPLAINT.search(line)]


def _expected(kernel: Kernel) -> Path:
    return Path(__file__).parent / "expected_skips" / f"{kernel.name}.txt"


def _skipped_everywhere(outcomes: list[Outcome]) -> list[str]:
    if any(outcome.broken for outcome in outcomes):
        return []  # that is said already, and the rest wouldn't be the whole picture
    reports = [outcome.report for outcome in outcomes]
    host = _BUILD / "host.xml"
    if host.exists():
        reports.append(read_report(host))
    return skipped_everywhere(reports)


def _say(kernel: Kernel, text: str) -> None:
    print(f"  VM      {kernel.name}: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
