"""How long packets take: per hop, per path, the slowest ones, and how durations are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fyke.journeys.named_sql import statements

if TYPE_CHECKING:
    from fyke.journeys.views import Views

Row = dict[str, Any]


@dataclass(frozen=True)
class Latency:
    """Times in nanoseconds. Rows have the columns of latency.sql; histogram: power of two -> journeys."""

    hops: list[Row]
    paths: list[Row]
    slowest: list[Row]
    histogram: dict[int, int]

    def facts(self) -> dict[str, Any]:
        """Return everything as values for JSON."""
        buckets = [{"from_ns": 1 << b, "to_ns": 2 << b, "count": n} for b, n in self.histogram.items()]
        return {"hops": self.hops, "paths": self.paths, "slowest": self.slowest, "histogram": buckets}


def latency(views: Views, *, slowest: int) -> Latency:
    """Measure a recording's journeys; `slowest` of them are listed. Raises as `Views.run` does."""
    sql = statements("latency.sql")
    rows: dict[str, list[Row]] = {
        name: views.table(text.replace("{limit}", str(int(slowest)))).to_pylist()
        for name, text in sql.items()
    }
    spread = {row["bucket"]: row["count"] for row in rows["histogram"]}
    return Latency(rows["hops"], rows["paths"], rows["slowest"], spread)
