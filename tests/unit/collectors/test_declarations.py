"""What collectors declare fits together: names, arguments, probes, options."""

from __future__ import annotations

import pytest
from made_kernel import made_kernel

from fyke.capture.arguments import ARGUMENTS
from fyke.capture.probe_spec import parse_probe
from fyke.collectors import COLLECTORS, Collector

IDS = [c.name for c in COLLECTORS]


def test_names_are_told_apart() -> None:
    assert len(set(IDS)) == len(IDS)
    sections = [s.name for c in COLLECTORS for s in c.sections]
    assert len(set(sections)) == len(sections)
    words = [word for c in COLLECTORS for word, _ in c.optional_sections]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("collector", COLLECTORS, ids=IDS)
def test_a_declaration_is_whole(collector: Collector) -> None:
    known = {spelled for types in ARGUMENTS.values() for spelled in types}
    assert set(collector.takes) <= known, "an argument that no program can find"
    assert all(parse_probe(text) for text in collector.probes(made_kernel()))
    names = {s.name for s in collector.sections}
    assert {section for _, section in collector.optional_sections} <= names
    assert all(column.doc and column.source for s in collector.sections for column in s.columns)


def test_every_argument_that_can_be_found_is_taken_by_some_collector() -> None:
    taken = {spelled for collector in COLLECTORS for spelled in collector.takes}
    for kind, types in ARGUMENTS.items():
        # nftables' verdicts are taken at the collector's own probe only.
        assert set(types) <= taken or kind.startswith("nft_"), kind
