"""Two recordings side by side: which paths only one has, where they part, how hop times moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fyke.journeys.named_sql import statements

if TYPE_CHECKING:
    from fyke.journeys.views import Views

Path = tuple[str, ...]
_ARROW = " > "


@dataclass(frozen=True)
class PathCount:
    """A path, how many journeys took it on each side, and where the other side's nearest path leaves it.

    nearest: for a path of one side, the other's path with the longest beginning in common; None without one.
    common: the number of points of that beginning.
    """

    path: Path
    left: int
    right: int
    nearest: Path | None = None
    common: int = 0


@dataclass(frozen=True)
class HopChange:
    """A hop that both sides have; times in nanoseconds."""

    from_symbol: str
    to_symbol: str
    left_count: int
    right_count: int
    left_p50_ns: float
    right_p50_ns: float
    left_p99_ns: float
    right_p99_ns: float

    @property
    def ratio(self) -> float:
        """How many times as long the median is on the right."""
        return self.right_p50_ns / self.left_p50_ns if self.left_p50_ns else float("inf")


@dataclass(frozen=True)
class Difference:
    """What differs. lost: events lost on each side, which may make a path look shorter than it was."""

    left_only: list[PathCount]
    right_only: list[PathCount]
    both: list[PathCount]
    hops: list[HopChange]
    lost: tuple[int, int]


def difference(left: Views, right: Views) -> Difference:
    """Compare two recordings. Raises as `Views.run` does."""
    sql = statements("diff.sql")
    sides = [{name: views.table(text).to_pylist() for name, text in sql.items()} for views in (left, right)]
    paths = [{_path(row["path"]): row["count"] for row in side["paths"]} for side in sides]
    return Difference(
        _alone(paths[0], paths[1], right=False),
        _alone(paths[1], paths[0], right=True),
        _shared(*paths),
        _hop_changes(*(side["hops"] for side in sides)),
        (sides[0]["lost"][0]["count"], sides[1]["lost"][0]["count"]),
    )


def _path(text: str) -> Path:
    return tuple(text.split(_ARROW))


def _alone(here: dict[Path, int], there: dict[Path, int], *, right: bool) -> list[PathCount]:
    """Return the paths of one side that the other lacks, each with where its nearest relative leaves it."""
    found = []
    relatives = _beginnings(there)
    for path, count in here.items():
        if path in there:
            continue
        common = next(n for n in range(len(path), -1, -1) if n == 0 or path[:n] in relatives)
        nearest = relatives.get(path[:common])
        counts = (0, count) if right else (count, 0)
        found.append(PathCount(path, *counts, nearest, common))
    return sorted(found, key=lambda p: (-(p.left + p.right), p.path))


def _beginnings(paths: dict[Path, int]) -> dict[Path, Path]:
    """Return every beginning of the paths -> the most frequent path that has it."""
    found: dict[Path, Path] = {}
    for path in paths:  # most frequent first
        for length in range(1, len(path) + 1):
            found.setdefault(path[:length], path)
    return found


def _shared(left: dict[Path, int], right: dict[Path, int]) -> list[PathCount]:
    return [PathCount(path, count, right[path]) for path, count in left.items() if path in right]


def _hop_changes(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> list[HopChange]:
    """Return the hops of both, those first whose total time moved most."""
    others = {(row["from_symbol"], row["to_symbol"]): row for row in right}
    changes = []
    for row in left:
        other = others.get((row["from_symbol"], row["to_symbol"]))
        if other is not None:
            changes.append(
                HopChange(
                    row["from_symbol"],
                    row["to_symbol"],
                    row["count"],
                    other["count"],
                    row["p50_ns"],
                    other["p50_ns"],
                    row["p99_ns"],
                    other["p99_ns"],
                )
            )
    moved = [
        (abs(c.right_p50_ns - c.left_p50_ns) * min(c.left_count, c.right_count), c.from_symbol, c.to_symbol)
        for c in changes
    ]
    order = sorted(range(len(changes)), key=lambda n: (-moved[n][0], moved[n][1:]))
    return [changes[n] for n in order]
