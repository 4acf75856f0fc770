"""Of which connections `--ct-events` tells: the filters are of packets, and these events have none."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.capture.filters import FilterOptions, Filters, ParsedFilters

NOTED_ENTRIES = 1 << 16


@dataclass(frozen=True)
class Connections:
    """Which ones: all, unless noted or netns says otherwise.

    noted: those of packets that passed the filters. netns: inode of the namespace whose they are, 0: of any.
    """

    noted: bool = False
    netns: int = 0

    @property
    def noted_entries(self) -> int:
        """How many can be noted at once; the ones seen longest ago give way."""
        return NOTED_ENTRIES if self.noted else 1


def plan_connections(parsed: ParsedFilters, filters: Filters) -> Connections:
    """Decide it from the filters."""
    if parsed.options.netns is not None and parsed.options == FilterOptions(netns=parsed.options.netns):
        from fyke.filters.fields.everyday import resolve_netns

        return Connections(netns=resolve_netns(parsed.options.netns))
    return Connections(noted=bool(filters))
