"""Reports as text: aligned columns, durations with units, bars. Names are made safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fyke.events.escape import printable

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))
BAR_WIDTH = 40
MAX_NAME = 60


def duration(ns: float) -> str:
    """Return nanoseconds with three digits and the unit that fits: `950 ns`, `12.3 us`."""
    size = abs(ns)
    for factor, unit in _UNITS:
        if size >= factor or factor == 1:
            value = ns / factor
            if unit == "ns":
                return f"{value:.0f} ns"
            return f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f} {unit}"
    raise AssertionError("every size has a unit")


def aligned(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return lines of a table: the first `left` columns aligned to the left, the others to the right."""
    cells = [list(heads), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def histogram(buckets: dict[int, int]) -> list[str]:
    """Return lines for powers of two of nanoseconds -> count, a bar each; empty ones between are shown."""
    if not buckets:
        return []
    most = max(buckets.values())
    rows = []
    for bucket in range(min(buckets), max(buckets) + 1):
        count = buckets.get(bucket, 0)
        bar = "█" * max(round(BAR_WIDTH * count / most), 1 if count else 0)
        rows.append((f"{duration(1 << bucket)} to {duration(2 << bucket)}", str(count), bar))
    width = max(len(name) for name, _, _ in rows), max(len(count) for _, count, _ in rows)
    return [f"{name:>{width[0]}}  {count:>{width[1]}} {bar}".rstrip() for name, count, bar in rows]


def more(count: int, top: int, what: str) -> list[str]:
    """Return the line that says how many are not shown, if any."""
    return [f"  and {count - top} {what} more (--top)"] if count > top else []


def way(points: Sequence[str]) -> str:
    """Return the points of a path in a line."""
    return printable(" > ".join(points))
