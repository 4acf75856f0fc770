"""What a run of the live tests reports, what must be true of its skips, and what a kernel died of.

A skip is a test that nobody runs unless somebody knows of it. So the skips of each kernel are written down in
expected_skips/KERNEL.txt, and a test that is skipped on every kernel and on this machine's own is a failure.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Report",
    "ran_into_old_breakpoint",
    "read_expected",
    "read_report",
    "skip_surprises",
    "skipped_everywhere",
    "write_expected",
]

_BREAKPOINT = re.compile(r"Oops: int3: .*?\bCode:[0-9a-f ]* ([0-9a-f]{2}) <[0-9a-f]{2}>", re.DOTALL)
"""A breakpoint that nobody minds: the byte before the place in angle brackets was it."""
_INT3 = "cc"


@dataclass(frozen=True, slots=True)
class Report:
    """The tests of one run by outcome; a test's name is `tests.host.test_x::test_name[parameter]`."""

    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    skipped: dict[str, str] = field(default_factory=dict)
    """With the reason."""

    @property
    def all(self) -> frozenset[str]:
        """Every test that was run or skipped."""
        return self.passed | self.failed | frozenset(self.skipped)


def read_report(path: Path) -> Report:
    """Read pytest's JUnit XML. A test with an error in its set-up or tear-down has failed."""
    passed: set[str] = set()
    failed: set[str] = set()
    skipped: dict[str, str] = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        elif (skip := case.find("skipped")) is not None:
            skipped[name] = " ".join((skip.get("message") or "").split())
        else:
            passed.add(name)
    return Report(frozenset(passed - failed), frozenset(failed), skipped)


def read_expected(path: Path) -> frozenset[str]:
    """Read a file of expected skips: a test's name a line, then two spaces, # and the reason."""
    if not path.exists():
        return frozenset()
    lines = (line.split("  #")[0].strip() for line in path.read_text().splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def write_expected(path: Path, report: Report) -> None:
    """Write a run's skips down as the expected ones."""
    path.write_text("".join(f"{name}  # {why}\n" for name, why in sorted(report.skipped.items())))


def skip_surprises(report: Report, expected: frozenset[str], *, whole: bool) -> list[str]:
    """Say, a line each, where the skips of a run aren't the expected ones.

    whole: all tests were asked for, so that an expected skip of a test that isn't there is one too many.
    """
    lines = [
        f"{name} was skipped, which isn't expected: {why}"
        for name, why in sorted(report.skipped.items())
        if name not in expected
    ]
    for name in sorted(expected - frozenset(report.skipped)):
        if name in report.all:
            lines.append(f"{name} was expected to be skipped, and ran")
        elif whole:
            lines.append(f"{name} is expected to be skipped, and there is no such test")
    return lines


def skipped_everywhere(reports: Iterable[Report]) -> list[str]:
    """Return the tests that are in some of the reports, and skipped in all in which they are."""
    skipped: set[str] = set()
    ran: set[str] = set()
    for report in reports:
        skipped |= set(report.skipped)
        ran |= report.passed | report.failed
    return sorted(skipped - ran)


def ran_into_old_breakpoint(console: str) -> bool:
    """Say whether a kernel died of a breakpoint that isn't there any more.

    A kernel that patches its code puts breakpoints there for a moment, and other CPUs wait in them. The
    emulator now and then has a CPU run into one when the patch is done and nobody minds it. A breakpoint of a
    probe that was forgotten would still be there.
    """
    found = _BREAKPOINT.search(console)
    return found is not None and found[1] != _INT3
