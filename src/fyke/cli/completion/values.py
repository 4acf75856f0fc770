"""What options take that argparse doesn't know: lists, several of whose words may be given with commas."""

from __future__ import annotations

from collections.abc import Callable

# Command and option -> the words.
LISTS: dict[tuple[str, str], Callable[[], tuple[str, ...]]] = {}


def _of(command: str, option: str) -> Callable[[Callable[[], tuple[str, ...]]], None]:
    def keep(words: Callable[[], tuple[str, ...]]) -> None:
        LISTS[command, option] = words

    return keep


@_of("collect", "--collectors")
def _collectors() -> tuple[str, ...]:
    from fyke.collectors import COLLECTORS

    return ("auto", *(collector.name for collector in COLLECTORS))


@_of("collect", "--skb-sections")
def _skb_sections() -> tuple[str, ...]:
    from fyke.collectors import COLLECTORS

    return (*(word for collector in COLLECTORS for word, _ in collector.optional_sections), "all")


@_of("collect", "--nft-verdicts")
def _nft_verdicts() -> tuple[str, ...]:
    from fyke.collectors.nft import verdicts

    return (*verdicts.VERDICTS.values(), verdicts.ALL)


@_of("collect", "--dump")
def _dump() -> tuple[str, ...]:
    from fyke.cli.collect_options import DUMP_STAGES

    return DUMP_STAGES


@_of("stats", "--parts")
def _parts() -> tuple[str, ...]:
    from fyke.journeys.stats import PARTS

    return tuple(PARTS)
