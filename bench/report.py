"""What a measurement says: one line a number, with the aim it has."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Line:
    """One number. at_most, at_least: what it should be; neither: it is only looked at.

    note: what one must know to judge the number.
    """

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None when there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    def facts(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self) | {"met": self.met}

    def __str__(self) -> str:
        aim = ""
        if self.at_most is not None:
            aim = f"at most {number(self.at_most)}"
        elif self.at_least is not None:
            aim = f"at least {number(self.at_least)}"
        verdict = {True: "met", False: "NOT MET", None: ""}[self.met]
        text = f"{self.what:<52} {number(self.value):>10} {self.unit:<12} {aim:<18} {verdict:<8} {self.note}"
        return text.rstrip()


def number(value: float) -> str:
    """Return a number with three or four digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Return the range of repeated measurements, for a note."""
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(values))
