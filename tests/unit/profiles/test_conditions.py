"""Conditions of variants: they hold where they hold in Retis, for its own tests' cases among others."""

from __future__ import annotations

import pytest
from profile_samples import MadeMachine

from fyke.profiles.conditions import KernelVersion, SymbolCondition, VersionCondition

# Release -> what Retis makes of it; where Retis refuses, what is plainly meant.
RELEASES = {
    "6.2.14-300.fc38.x86_64": ((6, 2, 14), 300),
    "6.2.0-20-generic": ((6, 2, 0), 20),
    "6.2.14.fc38.x86_64": ((6, 2, 14), None),
    "6.4.12-arch1-1": ((6, 4, 12), 1),
    "6.1.0-rc3+": ((6, 1, 0), None),
    "5.10.0-33-amd64": ((5, 10, 0), 33),
    "6.12.57+deb13-amd64": ((6, 12, 57), None),
    "6.2": ((6, 2, 0), None),
    "7": ((7, 0, 0), None),
    "": ((0, 0, 0), None),
    "x.y.z-²": ((0, 0, 0), None),
    "6.1.1-99999999999999999999": ((6, 1, 1), None),
}

FEDORA = "6.2.14-300.fc38.x86_64"
VERSIONS: list[tuple[str, str, bool]] = [
    (FEDORA, "= 6.2.14-300", True),
    (FEDORA, "= 6.2.14", True),
    (FEDORA, "= 6.2.15", False),
    (FEDORA, "= 6.2", True),
    (FEDORA, "= 6", True),
    (FEDORA, "= 7", False),
    (FEDORA, "!= 6.2.14-301", True),
    (FEDORA, "!= 6.3", True),
    (FEDORA, "!= 5", True),
    (FEDORA, "!= 6.2.14", False),
    (FEDORA, "> 6.2.14-200", True),
    (FEDORA, "> 6.1", True),
    (FEDORA, "> 5", True),
    (FEDORA, "> 6.2", False),  # what isn't written isn't compared
    (FEDORA, ">= 6.2.14-200", True),
    (FEDORA, ">= 6.2.14-300", True),
    (FEDORA, ">= 6.2.10", True),
    (FEDORA, ">= 6.2", True),
    (FEDORA, ">= 5.14", True),
    (FEDORA, "< 6.2.14-301", True),
    (FEDORA, "<= 6.2.14-299", False),
    (FEDORA, "<6", False),
    ("4.6.1", "=4.6.1", True),
    ("4.6.2", "=4.6.1", False),
    ("4.6.1", ">4.6.1", False),
    ("4.6.2", ">4.6.1", True),
    ("4.6.1", ">4.6.1, <5.1.1", False),
    ("5.1.0", ">4.6.1, <5.1.1", True),
    ("5.1.1", ">4.6.1, <5.1.1", False),
    (FEDORA, "> 6.0.0 <= 7", True),
    ("8.0.0", "> 6.0.0 <= 7", False),
    ("6.2.0", ">= 6.2.0-10", True),  # no build is later than any
    ("6.2.0", "= 6.2.0-10", False),
    ("6.10.0", "> 6.9", True),
    ("6.3.1", ">6,<6.5,!=6.4", False),  # 6 is equal to 6
    ("7.3.1", ">6,<8,!=7.4", True),
    ("6.3.1", "= 6.3.*", True),
]


@pytest.mark.parametrize(("release", "expected"), RELEASES.items())
def test_releases(release: str, expected: tuple[tuple[int, int, int], int | None]) -> None:
    version = KernelVersion.parse(release)
    assert (version.parts, version.build) == expected


@pytest.mark.parametrize(("release", "text", "holds"), VERSIONS)
def test_versions(release: str, text: str, holds: bool) -> None:
    condition = VersionCondition.parse(text)
    assert condition is not None
    why = condition.why_not(MadeMachine(release))
    assert (why is None) == holds
    if why:
        assert why == f"the kernel {release} is not {text}"


@pytest.mark.parametrize(
    "text",
    ["", "  ", "6.2", "~ 6.2", "> x", ">", "> 6.2,", ", > 6", "> 6.2 foo", ">6 ,, <7", "> 6.2.3.4.5", "=>6"],
)
def test_what_compares_with_nothing_is_no_condition(text: str) -> None:
    assert VersionCondition.parse(text) is None


def test_symbols() -> None:
    machine = MadeMachine()
    assert SymbolCondition("consume_skb").why_not(machine) is None
    assert SymbolCondition("foo").why_not(machine) == "foo is nowhere"
    assert SymbolCondition("foo", exists=False).why_not(machine) is None
    assert SymbolCondition("consume_skb", exists=False).why_not(machine) == "consume_skb can be probed"
