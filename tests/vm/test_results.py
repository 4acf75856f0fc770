"""What counts as a silent skip."""

from __future__ import annotations

from pathlib import Path

from results import Report, read_expected, read_report, skip_surprises, skipped_everywhere, write_expected

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
