"""What counts as a silent skip."""

from __future__ import annotations

from pathlib import Path

import pytest
from results import (
    Report,
    ran_into_old_breakpoint,
    read_expected,
    read_report,
    skip_surprises,
    skipped_everywhere,
    write_expected,
)

JUNIT = """<?xml version="1.0"?>
<testsuites><testsuite name="pytest">
<testcase classname="tests.host.test_a" name="test_good"/>
<testcase classname="tests.host.test_a" name="test_bad[1]"><failure message="no">E</failure></testcase>
<testcase classname="tests.host.test_a" name="test_odd"><skipped type="pytest.skip" message="needs
 x: no">where</skipped></testcase>
<testcase classname="tests.host.test_a" name="test_torn"/>
<testcase classname="tests.host.test_a" name="test_torn"><error message="at teardown">E</error></testcase>
</testsuite></testsuites>
"""


OOPS = """\
tests/host/test_connections.py::test_tuples [  418.235688] Oops: int3: 0000 [#1] SMP NOPTI
[  418.249655] RIP: 0010:__netif_receive_skb_core.constprop.0+0x37/0xdf0
[  418.249700] Code: d5 41 54 00 00 4c 8b 27 4c 89 64 24 28 {byte} <a1> 03 00 00 e9 59 03 00 00 49
[  418.260173] Kernel panic - not syncing: Fatal exception in interrupt
"""


def report(*, passed: str = "", skipped: str = "") -> Report:
    return Report(frozenset(passed.split()), frozenset(), dict.fromkeys(skipped.split(), "why"))


def test_a_report_is_read_by_outcome(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    found = read_report(tmp_path / "junit.xml")
    assert found.passed == {"tests.host.test_a::test_good"}
    assert found.failed == {"tests.host.test_a::test_bad[1]", "tests.host.test_a::test_torn"}
    assert found.skipped == {"tests.host.test_a::test_odd": "needs x: no"}


def test_expected_skips_survive_being_written(tmp_path: Path) -> None:
    write_expected(tmp_path / "k.txt", Report(skipped={"t::a[x # y]": "needs #1", "t::b": ""}))
    assert read_expected(tmp_path / "k.txt") == {"t::a[x # y]", "t::b"}
    assert read_expected(tmp_path / "none.txt") == frozenset()


def test_skips_must_be_the_expected_ones() -> None:
    seen = report(passed="ran", skipped="known new")
    assert skip_surprises(seen, frozenset({"known", "new"}), whole=True) == []
    lines = skip_surprises(seen, frozenset({"known", "ran", "gone"}), whole=True)
    assert [line.split(" ")[0] for line in lines] == ["new", "gone", "ran"]
    assert not [
        line
        for line in skip_surprises(seen, frozenset({"known", "new", "gone"}), whole=False)
        if "gone" in line
    ]


def test_a_test_that_nobody_runs_is_found() -> None:
    one, other = report(passed="a", skipped="b c"), report(passed="b", skipped="a c")
    assert skipped_everywhere([one, other]) == ["c"]
    assert skipped_everywhere([one, other, report(passed="c")]) == []


@pytest.mark.parametrize(("byte", "expected"), [("e9", True), ("0f", True), ("cc", False)])
def test_breakpoints_that_are_gone(byte: str, expected: bool) -> None:
    """What is patched is a jump or a nop by then; a breakpoint that is still there is a probe's."""
    assert ran_into_old_breakpoint(OOPS.format(byte=byte)) is expected


def test_other_ends() -> None:
    assert not ran_into_old_breakpoint(OOPS.format(byte="e9").replace("int3", "general protection fault"))
    assert not ran_into_old_breakpoint("")
